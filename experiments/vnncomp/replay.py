"""Replaying counterexamples, sharing nothing with the library's own confirmation but the reader of VNN-LIB files."""

import gzip
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

import admm_verify as av
from admm_verify.properties.vnnlib import read_property

CONFIRMED, REFUTED, FAILED = "confirmed", "refuted", "failed"

_ELEMENTS = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class _RefutedError(Exception):
    """The counterexample is none."""


class _FailedError(Exception):
    """Nothing could be replayed."""


def replay(model: Path, query: Path, witness: Sequence[Fraction] | None) -> tuple[str, str]:
    """Confirmed, refuted or failed (nothing could be replayed), with the reason for the last two.

    As in the competition, a box must hold the witness exactly as printed, with no tolerance, and the model file runs in
    onnxruntime at the witness rounded to its element type; output constraints are exact.
    """
    try:
        _check(model, query, witness)
    except _RefutedError as error:
        return REFUTED, str(error)
    except (_FailedError, av.QueryError) as error:
        return FAILED, str(error)
    return CONFIRMED, ""


def _check(model: Path, query: Path, witness: Sequence[Fraction] | None) -> None:
    if witness is None:
        raise _RefutedError("no counterexample was printed, or what was is no list of finite numbers")
    found = read_property(query)
    inputs, outputs = found.networks[0].inputs[0].size, found.networks[0].outputs[0].size
    if len(witness) != inputs:
        raise _RefutedError(f"the counterexample has {len(witness)} entries where the query declares {inputs}")
    try:
        output = _run(model, witness)
    except Exception as error:
        # onnxruntime's error types are not public; nothing was replayed, whatever it raised.
        raise _FailedError(f"{type(error).__name__}: {error}") from error
    if len(output) != outputs:
        raise _FailedError(f"the model has {len(output)} outputs, the query declares {outputs}")
    if not np.isfinite(output).all():
        raise _RefutedError("the output is not finite")
    y = [Fraction(float(value)) for value in output]
    inside = [disjunct for disjunct in found.disjuncts if disjunct.box.holds(witness)]
    if not inside:
        raise _RefutedError("the counterexample lies outside of every input box")
    if not any(all(atom.holds(y) for atom in disjunct.atoms) for disjunct in inside):
        raise _RefutedError("the output satisfies no disjunct")


def _run(model: Path, witness: Sequence[Fraction]) -> np.ndarray:
    """The flat output at the witness, rounded to the model's element type."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # External data lies beside the model, which bytes do not tell.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(model.parent))
    with open(model, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    data = gzip.decompress(model.read_bytes()) if compressed else str(model)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in source.shape]
    x = np.array([float(value) for value in witness]).astype(_ELEMENTS[source.type])
    return np.asarray(session.run(None, {source.name: x.reshape(shape)})[0]).reshape(-1)
