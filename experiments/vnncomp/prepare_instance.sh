#!/usr/bin/env bash
# VNN-COMP: prepare_instance.sh v1 CATEGORY ONNX VNNLIB
# Ends what an earlier instance left running, warms the caches, and exits with 0 if the instance is supported.
# It reads the two files but does no analysis of them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $# -ne 4 || $1 != v1 ]]; then
    echo "usage: prepare_instance.sh v1 CATEGORY ONNX VNNLIB" >&2
    exit 1
fi
onnx=$3 vnnlib=$4
python=${PYTHON:-$here/env/bin/python}

# run_instance.sh notes its process here (two harnesses on one machine name files of their own). Nothing else is ended: other runs on this machine are none of our business.
note=${ADMM_VERIFY_RUNNING:-$here/.running}
if [[ -f $note ]]; then
    leftover=$(<"$note")
    if [[ $leftover =~ ^[0-9]+$ ]] && ps -o args= -p "$leftover" | grep -q admm_verify; then
        kill -KILL -- "-$leftover" || true
    fi
    rm -f "$note"
fi

PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}" "$python" -m experiments.vnncomp.prepare "$onnx" "$vnnlib"
