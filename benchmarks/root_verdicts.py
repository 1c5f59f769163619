"""`verify` on every competition instance of the shared data set: verdicts against known truths, decided at the root."""

import argparse
import csv
import json
import os
import time
from collections import Counter
from pathlib import Path

import admm_verify as av

SHARED = Path(os.environ.get("ADMM_VERIFY_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds per instance")
    parser.add_argument("--json", default="benchmarks/results/root_verdicts.json")
    options = parser.parse_args()
    with open(SHARED / "data" / "instances.csv", newline="", encoding="utf-8") as file:
        instances = [row for row in csv.DictReader(file) if row["category"].startswith("vnncomp_")]
    records = [_run(row, options.timeout) for row in instances]
    wrong = [r["id"] for r in records if r["answer"] in ("sat", "unsat") and r["truth"] not in (r["answer"], "unknown")]
    summary = {}
    for category in sorted({r["category"] for r in records}):
        mine = Counter(r["answer"] for r in records if r["category"] == category)
        summary[category] = dict(mine)
        print(f"{category:30s} {dict(mine)}")
    decided = sum(r["answer"] in ("sat", "unsat") for r in records)
    covered = sum(r["answer"] != "unsupported" for r in records)
    print(f"decided {decided} of {covered} supported instances; wrong: {wrong or 'none'}")
    content = {"timeout": options.timeout, "summary": summary, "wrong": wrong, "instances": records}
    Path(options.json).parent.mkdir(parents=True, exist_ok=True)
    Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _run(row: dict[str, str], timeout: float) -> dict[str, object]:
    began = time.monotonic()
    try:
        query = av.read_query(SHARED / "data" / row["spec"], str(SHARED / "data" / row["model"]))
        answer, reason = av.verify(query, timeout).verdict.value, ""
    except av.UnsupportedOperatorError as error:
        answer, reason = "unsupported", str(error).split(".")[0]
    seconds = round(time.monotonic() - began, 3)
    print(f"{row['id']:95s} {row['truth']:8s} {answer:12s} {seconds:6.2f} s", flush=True)
    record = {"id": row["id"], "category": row["category"], "truth": row["truth"], "answer": answer}
    return record | {"seconds": seconds, "reason": reason}


if __name__ == "__main__":
    main()
