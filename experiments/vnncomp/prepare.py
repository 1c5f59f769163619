"""What prepare_instance.sh runs: is the instance supported, and the first-time costs of the tool, paid in advance.

    python -m experiments.vnncomp.prepare MODEL.onnx QUERY.vnnlib

Exit status 0 for an instance that can be read, 1 with the reason for any other.
"""

import importlib
import sys

import admm_verify as av
from admm_verify.kernels.library import native_library
from admm_verify.properties.vnnlib import parse_vnnlib
from admm_verify.report.demo import RADIUS, load_digits

_WARM_UP_SECONDS = 20.0


def main(arguments: list[str]) -> int:
    """Check and warm up; returns the exit status."""
    model, query = arguments
    try:
        av.read_query(query, model)
    except av.AdmmVerifyError as error:
        print(f"prepare: not supported: {error}", file=sys.stderr)
        return 1
    warm_up()
    return 0


def warm_up() -> av.Verdict:
    """Compile the native kernels, bring the packages into the file cache, and decide a query of the demo's size."""
    native_library()
    for name in ("onnx", "onnxruntime"):
        importlib.import_module(name)
    digits = load_digits()
    image, label = digits.images[0].reshape(-1), int(digits.labels[0])
    lines = [f"(declare-const X_{i} Real)" for i in range(len(image))]
    lines += [f"(declare-const Y_{i} Real)" for i in range(10)]
    for i, value in enumerate(image):
        lines += [f"(assert (>= X_{i} {value - RADIUS:.6f}))", f"(assert (<= X_{i} {value + RADIUS:.6f}))"]
    others = " ".join(f"(and (<= Y_{label} Y_{k}))" for k in range(10) if k != label)
    lines.append(f"(assert (or {others}))")
    query = av.Query("warm-up", parse_vnnlib("\n".join(lines)), digits.network)
    return av.verify(query, timeout=_WARM_UP_SECONDS).verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
