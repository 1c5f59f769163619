#!/usr/bin/env bash
# Everything that needs a GPU, in at most eight minutes: tests, kernels, scaling, root bounds.
#
#     benchmarks/gpu.sh [--device cuda|cpu] [--out FILE]
#
# Needs Python (PYTHON=..., python3 by default) with the package's dependencies; the package itself need not be
# installed. A part whose requirements are missing is skipped with the reason; a part that fails or runs out of time is
# reported, the others still run, and the exit status is 1. All results go to one file, by default
# benchmarks/results/<device name>.json.
set -uo pipefail
cd "$(dirname "$0")/.."

device=cuda out=""
while [ $# -gt 0 ]; do
    case "$1" in
        --device) device=$2; shift 2 ;;
        --out) out=$2; shift 2 ;;
        *) echo "usage: benchmarks/gpu.sh [--device cuda|cpu] [--out FILE]" >&2; exit 2 ;;
    esac
done
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if [ -d shared ]; then shared=$PWD/shared; else shared=$PWD/../shared; fi
export ADMM_VERIFY_SHARED="${ADMM_VERIFY_SHARED:-$shared}"
python=${PYTHON:-python3}
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

has() { "$python" -c "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) is None for n in sys.argv[1:]))" "$@"; }

note() { # NAME STATUS SECONDS REASON
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >> "$parts/status.tsv"
    echo "== $1: $2 ($3 s)${4:+, $4}"
}

part() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 began=$SECONDS status
    shift 2
    echo "== $name: $*"
    timeout --kill-after=10 "$limit" "$@"
    status=$?
    case $status in
        0) note "$name" passed $((SECONDS - began)) "" ;;
        124 | 137) note "$name" failed $((SECONDS - began)) "out of time after $limit s" ;;
        *) note "$name" failed $((SECONDS - began)) "exit status $status" ;;
    esac
}

"$python" -c "import admm_verify, torch" || exit 1
if [ "$device" = cuda ] && ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "torch finds no CUDA device; --device cpu tries the parts on the CPU" >&2
    exit 1
fi
if [ "$device" = cpu ]; then # a rehearsal
    rows=(1 100) widths=(64) depths=(2) elements=100000
else
    rows=(1 100 10000 100000) widths=(256 1024 4096) depths=(4 16) elements=10000000
fi

mapfile -t tests < <(grep -rl --include='test_*.py' 'pytest\.mark\.gpu' tests | sort)
if ! has hypothesis; then
    mapfile -t skipped < <(grep -l 'hypothesis' "${tests[@]}")
    mapfile -t tests < <(grep -L 'hypothesis' "${tests[@]}")
    echo "hypothesis is not installed, left out: ${skipped[*]:-nothing}"
fi
if ! has pytest; then
    note tests skipped 0 "pytest is not installed"
elif [ ${#tests[@]} -eq 0 ]; then
    note tests skipped 0 "every test file needs hypothesis, which is not installed"
else
    part tests 150 "$python" -m pytest -q -o addopts=--strict-markers -p no:cacheprovider -m gpu "${tests[@]}"
fi
if [ -f benchmarks/kernels.py ]; then
    part kernels 90 "$python" -m benchmarks.kernels --device "$device" --elements "$elements" --json "$parts/kernels.json"
else
    note kernels skipped 0 "there is no benchmarks/kernels.py"
fi
part scaling 120 "$python" -m benchmarks.scaling --device "$device" --rows "${rows[@]}" --widths "${widths[@]}" \
    --depths "${depths[@]}" --json "$parts/scaling.json"
if [ -d "$ADMM_VERIFY_SHARED/data" ]; then
    only="" # all instances
    if [ "$device" = cpu ] || ! has onnx; then only=mnist_deepsplit_fc; fi # the one network not stored as ONNX
    part root_bounds 100 "$python" -m benchmarks.root_bounds --device "$device" --runs 1 --only "$only" \
        --json "$parts/root_bounds.json"
else
    note root_bounds skipped 0 "the shared data set is missing"
fi

"$python" - "$parts" "$device" "$out" << 'END'
import json, platform, re, sys
from pathlib import Path

import torch

parts, device, out = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
path = Path(out) if out else Path("benchmarks/results") / (re.sub(r"\W+", "_", name).strip("_").lower() + ".json")
lines = [line.split("\t") for line in (parts / "status.tsv").read_text().splitlines()]
status = {part: {"status": s, "seconds": int(t), "reason": reason} for part, s, t, reason in lines}
results = {file.stem: json.loads(file.read_text()) for file in sorted(parts.glob("*.json"))}
versions = {"python": platform.python_version(), "torch": str(torch.__version__), "cuda": torch.version.cuda}
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps({"device": name, "environment": versions, "parts": status, **results}, indent=1) + "\n")
print(f"\n{name}, torch {torch.__version__}: {path}")
for part, found in status.items():
    print(f"{part:14}{found['status']:10}{found['seconds']:5d} s  {found['reason']}")
sys.exit(any(found["status"] == "failed" for found in status.values()))
END
