#!/usr/bin/env bash
# Everything that needs a GPU, in at most eight minutes: tests, verbs, rows, tightening, certify, search, ADMM, reach.
#
#     benchmarks/gpu.sh [--device cuda|cpu] [--carried DIR] [--wheels DIR] [--out FILE]
#
# Folders that are given have to be there.
# Needs Python (PYTHON=..., python3 by default) with torch and NumPy; CuPy for the fused kernels. The package itself need
# not be installed, and nothing is downloaded: wheels of pure Python in DIR (by default carried/wheels, else wheels) are
# unpacked for this run, and what is computed on is carried/cases.npz (`python -m benchmarks.gpu_cases --wheels`
# makes both), else the shared data set. auto_LiRPA is compared where its package lies in carried/auto_LiRPA.
# A part whose requirements are missing is skipped with the reason; a part that fails or runs out of time is reported
# with what it had found, the others still run, and the exit status is 1. All results go to one file, by default
# benchmarks/results/<device name>.json, and to one table. --device cpu rehearses all parts at small sizes.
set -uo pipefail
given=$PWD
cd "$(dirname "$0")/.."

device=cuda out="" carried="" wheels=""
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$given/$1" ;; esac; }
while [ $# -gt 0 ]; do
    case "$1 ${2:-}" in
        "--device cuda" | "--device cpu") device=$2 ;;
        --carried\ ?*) carried=$(absolute "$2") ;;
        --wheels\ ?*) wheels=$(absolute "$2") ;;
        --out\ ?*) out=$(absolute "$2") ;;
        *) echo "usage: benchmarks/gpu.sh [--device cuda|cpu] [--carried DIR] [--wheels DIR] [--out FILE]" >&2; exit 2 ;;
    esac
    shift 2
done
for folder in "$carried" "$wheels"; do
    if [ -n "$folder" ] && [ ! -d "$folder" ]; then echo "there is no folder $folder" >&2; exit 2; fi
done
carried=${carried:-$PWD/carried}
if [ -z "$wheels" ]; then
    for wheels in "$carried/wheels" "$PWD/wheels"; do [ -d "$wheels" ] && break; done
fi
python=${PYTHON:-python3}
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
mkdir "$parts/site" "$parts/json"
for wheel in "$wheels"/*.whl; do
    # What is installed goes first.
    [ -e "$wheel" ] && "$python" -m zipfile -e "$wheel" "$parts/site"
done
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
echo "import sys; sys.path.append('$parts/site')" > "$parts/sitecustomize.py"
export PYTHONPATH="$PYTHONPATH:$parts"
if [ -d shared ]; then shared=$PWD/shared; else shared=$PWD/../shared; fi
export ADMM_VERIFY_SHARED="${ADMM_VERIFY_SHARED:-$shared}"

has() { "$python" -c "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) is None for n in sys.argv[1:]))" "$@"; }

note() { # NAME STATUS SECONDS REASON
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >> "$parts/status.tsv"
    echo "== $1: $2 ($3 s)${4:+, $4}"
}

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 began=$SECONDS status
    shift 2
    if [ $((SECONDS + limit)) -gt $whole ]; then limit=$((whole - SECONDS)); fi
    if [ "$limit" -lt 10 ]; then note "$name" failed 0 "no time left"; return; fi
    echo "== $name: $*"
    timeout --kill-after=5 "$limit" "$@"
    status=$?
    case $status in
        0) note "$name" passed $((SECONDS - began)) "" ;;
        124 | 137) note "$name" failed $((SECONDS - began)) "out of time after $limit s" ;;
        *) note "$name" failed $((SECONDS - began)) "exit status $status" ;;
    esac
}

bench() { # NAME SECONDS
    part "$1" "$2" "$python" -m benchmarks.gpu "$1" --device "$device" --carried "$carried" --seconds "$2" \
        "${small[@]}" --json "$parts/json/$1.json"
}

"$python" -c "import admm_verify, torch, array_api_compat" || exit 1
if [ "$device" = cuda ] && ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "torch finds no CUDA device; --device cpu tries the parts on the CPU" >&2
    exit 1
fi
# Seconds from the start of this script, less what the last lines need; the parts' limits add up to no more.
if [ "$device" = cpu ]; then
    small=(--small) elements=100000 slower=3
else
    small=() elements=10000000 slower=1
fi
whole=$((465 * slower))

mapfile -t tests < <(grep -rl --include='test_*.py' 'pytest\.mark\.gpu' tests | sort)
if has pytest hypothesis; then
    part tests $((90 * slower)) "$python" -m pytest -q -o addopts=--strict-markers -p no:cacheprovider -m gpu "${tests[@]}"
else
    note tests skipped 0 "pytest or hypothesis is neither installed nor among the wheels"
fi
if [ "$device" = cpu ] || has cupy; then
    part verbs $((35 * slower)) "$python" -m benchmarks.kernels --device "$device" --elements "$elements" \
        --json "$parts/json/verbs.json"
else
    note verbs skipped 0 "CuPy is not installed"
fi
if [ -f "$carried/cases.npz" ] || { [ -d "$ADMM_VERIFY_SHARED/baselines" ] && has onnx; }; then
    bench rows $((75 * slower))
    bench several $((25 * slower))
    bench tightening $((35 * slower))
    bench certifying $((40 * slower))
    bench search $((25 * slower))
    bench admm $((35 * slower))
    bench graphs $((20 * slower))
    bench reach $((50 * slower))
    if [ -d "$carried/auto_LiRPA" ]; then bench lirpa $((25 * slower)); else
        note lirpa skipped 0 "there is no $carried/auto_LiRPA"
    fi
else
    note rows skipped 0 "there is no $carried/cases.npz, nor the shared data set with onnx: python -m benchmarks.gpu_cases"
fi

"$python" - "$parts" "$device" "$out" << 'END'
import json, platform, re, sys
from pathlib import Path

import torch

from benchmarks.gpu import lines_of

parts, device, out = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
path = Path(out) if out else Path("benchmarks/results") / (re.sub(r"\W+", "_", f"gpu {name}").strip("_").lower() + ".json")
lines = [line.split("\t") for line in (parts / "status.tsv").read_text().splitlines()]
status = {part: {"status": s, "seconds": int(t), "reason": reason} for part, s, t, reason in lines}
results = {file.stem: json.loads(file.read_text()) for file in sorted((parts / "json").glob("*.json"))}
versions = {"python": platform.python_version(), "torch": str(torch.__version__), "cuda": torch.version.cuda}
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps({"device": name, "environment": versions, "parts": status, **results}, indent=1) + "\n")
print(f"\n{name}, torch {torch.__version__}: {path}")
for line in lines_of(results):
    print(line)
for part, found in status.items():
    print(f"{part:12}{found['status']:10}{found['seconds']:5d} s  {found['reason']}")
sys.exit(any(found["status"] == "failed" for found in status.values()))
END
