"""The program of the process that runs models in onnxruntime; started by path, it never imports the package.

Arguments: the file descriptor of a connected socket, and the number of the process to serve. A message is a kind, a
length and as many bytes. In come a model, an input as float32 or float64, which is answered, and the wish to forget the
model. Out go an output as float32 or float64, labels of classes as float64, or that onnxruntime is missing, lacks an
operator, or failed and why.
"""

import os
import socket
import struct
import sys
import time
from threading import Thread
from typing import Any

HEADER = struct.Struct("<cQ")
MODEL, FORGET = b"M", b"F"
MISSING, NOT_IMPLEMENTED, ERROR = b"A", b"N", b"E"


def main() -> None:
    """Answer until the other end is closed."""
    number, parent = int(sys.argv[1]), int(sys.argv[2])
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    with socket.socket(fileno=number) as connection, connection.makefile("rb") as file:
        try:
            import onnxruntime
        except ImportError:
            onnxruntime = None
        model = _ReplayedModel(b"", onnxruntime)
        while header := file.read(HEADER.size):
            kind, size = HEADER.unpack(header)
            data = file.read(size)
            if kind in (MODEL, FORGET):
                model = _ReplayedModel(data, onnxruntime)
            else:
                answer, data = model.answer(data, kind.decode())
                connection.sendall(HEADER.pack(answer, len(data)) + data)


def _end_with(parent: int) -> None:
    """End this process soon after the one that it serves, also while a model runs."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class _ReplayedModel:
    """A model's bytes, and its session once there was an input."""

    def __init__(self, data: bytes, onnxruntime: Any) -> None:
        self.data, self.onnxruntime = data, onnxruntime
        self.session: Any = None

    def answer(self, data: bytes, element: str) -> tuple[bytes, bytes]:
        """The kind and the bytes of the answer to an input."""
        if self.onnxruntime is None:
            return MISSING, b""
        try:
            output = self._run(data, element)
        except Exception as error:
            # onnxruntime's error types are not public; whatever it raises is told to the process that asked.
            kind = NOT_IMPLEMENTED if type(error).__name__ == "NotImplemented" else ERROR
            return kind, str(error).encode()
        if output.dtype.kind in "iu" and (abs(output.astype("float64")) < 2.0**53).all():
            output = output.astype("float64")
        if output.dtype.char not in "fd":
            return ERROR, f"its output is {output.dtype}".encode()
        return output.dtype.char.encode(), output.tobytes()

    def _run(self, data: bytes, element: str) -> Any:
        import numpy as np

        if self.session is None:
            options = self.onnxruntime.SessionOptions()
            # One thread: spinning threads slow every other process down, and a single sample gains nothing from more.
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            # Quantised and dequantised numbers one operator after the other, as the standard has them.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
            self.session = self.onnxruntime.InferenceSession(self.data, options, providers=["CPUExecutionProvider"])
        source = self.session.get_inputs()[0]
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in source.shape]
        x = np.frombuffer(data, dtype=element).reshape(shape)
        return np.asarray(self.session.run(None, {source.name: x})[0])


if __name__ == "__main__":
    main()
