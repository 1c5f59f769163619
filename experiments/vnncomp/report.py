"""The results as a JSON file, a plot and a web page in one file."""

import base64
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, fields
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import admm_verify as av
from admm_verify.report.records.record import write_json
from experiments.vnncomp.cactus import cactus_plot
from experiments.vnncomp.records import COLUMNS, Record, Summary, summarised

_PACKAGES = ("numpy", "scipy", "onnx", "onnxruntime")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 0.5rem 0 2rem; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; position: sticky; top: 0; background: #fff; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.wrong { background: #fbd5d0; } tr.error { background: #fdebc8; } tr.unknown { color: #666; }
tr.total { font-weight: 600; } img { max-width: 100%; } .wide { overflow-x: auto; }
"""


def environment(options: dict[str, Any]) -> dict[str, Any]:
    """Versions, threads and options behind the figures; nothing that names the machine."""
    found: dict[str, Any] = {"admm_verify": av.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    threads = {name: os.environ.get(name, "not set") for name in _THREADS}
    return found | threads | {"processors": os.cpu_count()} | options


def write_report(folder: Path, records: Sequence[Record], behind: dict[str, Any]) -> None:
    """Write results.json, cactus.png and report.html."""
    summary = summarised(records)
    content = {
        "environment": behind,
        "summary": {name: asdict(numbers) for name, numbers in summary.items()},
        "wrong": [record.id for record in records if record.outcome == "wrong"],
        "instances": [asdict(record) for record in records],
    }
    write_json(str(folder / "results.json"), content)
    cactus_plot(folder / "cactus.png", records)
    picture = base64.b64encode((folder / "cactus.png").read_bytes()).decode("ascii")
    page = _page(records, summary, behind, picture)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _page(records: Sequence[Record], summary: dict[str, Summary], behind: dict[str, Any], picture: str) -> str:
    total = summary["all"]
    header = ["category", *(field.name.replace("_", " ") for field in fields(Summary))]
    categories = [("total" if name == "all" else "", [name, *astuple(numbers)]) for name, numbers in summary.items()]
    instances = [(record.outcome, list(astuple(record))) for record in records]
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in behind.items())
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>Verification results</title><style>{_STYLE}</style></head><body>",
        f"<h1>{total.decided} of {total.instances} instances decided, {total.wrong} wrong</h1>",
        f"<p>Sum of walls {total.seconds:.1f} s, where an undecided instance counts as its timeout.</p>",
        "<h2>Categories</h2>",
        _table(header, categories),
        "<h2>Decided within a time</h2>",
        f'<img alt="Number of instances decided over wall time" src="data:image/png;base64,{picture}">',
        "<h2>Instances</h2>",
        _table([name.replace("_", " ") for name in COLUMNS], instances),
        f"<p>{escape(facts)}</p></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Iterable[tuple[str, Sequence[Any]]]) -> str:
    """A table whose rows carry a class."""
    lines = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in header) + "</tr>"]
    lines += [f'<tr class="{kind}">' + "".join(map(_cell, row)) + "</tr>" for kind, row in rows]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.2f}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"
