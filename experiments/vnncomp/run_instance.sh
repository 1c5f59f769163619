#!/usr/bin/env bash
# VNN-COMP: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT
# The first line of RESULTS_FILE becomes sat, unsat, timeout, unknown or error; after sat comes the counterexample, as
# ((X_0 value) ... (Y_0 value) ...) for a VNN-LIB 1.0 query, as assignments of its tensors for a 2.0 one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $# -ne 6 || $1 != v1 ]]; then
    echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT" >&2
    exit 1
fi
onnx=$3 vnnlib=$4 results=$5 limit=$6
python=${PYTHON:-$here/env/bin/python}

note=${ADMM_VERIFY_RUNNING:-$here/.running}
answer=$(mktemp)
child=
# The child leads a process group, so this also ends what it started.
finish() {
    if [[ -n $child ]]; then kill -TERM "$child" 2>/dev/null || true; fi
    rm -f "$answer" "$note"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# The competition's clock includes the start of the interpreter and the writing of the results.
inner=$(awk -v t="$limit" 'BEGIN { m = t * 0.1; if (m > 1) m = 1; print t - m }')
started=$(date +%s.%N)
status=0
timeout --kill-after=1 "$limit" "$python" -m admm_verify verify "$vnnlib" --network "$onnx" --timeout "$inner" --quiet \
    >"$answer" &
child=$!
echo "$child" >"$note"
wait "$child" || status=$?
child=

case $status in
    0) verdict=$(head -n 1 "$answer") ;;
    124) verdict=timed-out ;;
    # Killed: by the limit when that has passed, else by something else (too little memory, a later prepare_instance.sh).
    137) verdict=$(awk -v s="$started" -v now="$(date +%s.%N)" -v t="$limit" \
        'BEGIN { print now - s >= t ? "timed-out" : "error" }') ;;
    *) verdict=error ;;
esac
case $verdict in
    sat)
        echo sat >"$results"
        if [[ $(gzip -cdf "$vnnlib" | grep -c '^[[:space:]]*([[:space:]]*vnnlib-version') -gt 0 ]]; then
            tail -n +2 "$answer" >>"$results"
        else
            awk 'NR == 1 { next }
                 /\[/ { name = $1; i = 0; next }
                 { printf "%s(%s_%d %s)", (count++ ? "\n" : "("), name, i++, $1 }
                 END { print ")" }' "$answer" >>"$results"
        fi
        ;;
    unsat | unknown) echo "$verdict" >"$results" ;;
    timed-out) echo timeout >"$results" ;;
    *) echo error >"$results" ;;
esac
