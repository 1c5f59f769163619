"""Replaying an input with onnxruntime, where it is installed: the network as others deploy it."""

import numpy as np

from admm_verify.errors import ModelError


def runtime_output(model: bytes, x: np.ndarray) -> np.ndarray | None:
    """The flat output of an ONNX model at a flat input, or None where onnxruntime is not installed.

    Raises: ModelError when onnxruntime cannot run the model.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    # One thread: spinning threads slow every other process down, and a single sample gains nothing from more.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        source = session.get_inputs()[0]
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in source.shape]
        return np.asarray(session.run(None, {source.name: x.reshape(shape)})[0]).reshape(-1)
    except Exception as error:
        # onnxruntime's error types are not public; whatever it raises, nothing was confirmed.
        raise ModelError(f"onnxruntime cannot replay the counterexample: {error}") from error
