"""ONNX files: one self-contained model in memory, whatever files its weights are spread over."""

import os
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

from admm_verify.errors import ModelError
from admm_verify.network.external_data import ExternalData, is_external, tensors_of
from admm_verify.network.file_content import SIZE_LIMIT, file_content
from admm_verify.network.nnet_files import is_nnet, nnet_in
from admm_verify.network.onnx_layered import layered_model
from admm_verify.options import file_path


class ModelProto(Protocol):
    """A model in memory, as the package onnx makes them."""

    def SerializeToString(self) -> bytes:
        """Its bytes."""
        ...


ModelSource = str | os.PathLike[str] | ModelProto
"""Where an ONNX model comes from: the path of its file, or itself."""


@dataclass(frozen=True, eq=False)
class Model:
    """A parsed ONNX model and the very bytes it was parsed from, or equals; it refers to no other file.

    name is for messages; proto is an onnx.ModelProto.
    """

    name: str
    data: bytes
    proto: Any


def read_model(source: ModelSource) -> Model:
    """The model in an ONNX file (.onnx, or gzip-compressed), external data of its tensors included, or in memory.

    External data is read once, from regular files in the model's folder or below it. A file named .nnet or .nnet.gz is
    in the text format of that name, and becomes the model of the same layers.

    Raises: ModelError naming the file and what is wrong with it; InputError for what is neither path nor model.
    """
    if is_model(source):
        return model_from_bytes(_serialised(source), source.graph.name or "the model")
    path = file_path(source, "The network", f" .onnx{_advice(source)}")
    data = file_content(path, "an ONNX model")
    if is_nnet(path):
        found = nnet_in(data, path.name)
        return model_from_bytes(layered_model(found.weights, found.biases), path.name)
    proto = _parsed(data, path.name)
    outside = [tensor for tensor in tensors_of(proto) if is_external(tensor)]
    if not outside:
        return Model(path.name, data, proto)
    ExternalData(path.parent, path.name, SIZE_LIMIT - len(data)).embed(outside)
    return Model(path.name, proto.SerializeToString(), proto)


def is_model(given: object) -> TypeGuard[Any]:
    """Whether something is a ModelProto, whatever implementation of protobuf made it."""
    return any(base.__name__ == "ModelProto" and base.__module__.startswith("onnx") for base in type(given).__mro__)


def _serialised(proto: Any) -> bytes:
    try:
        return proto.SerializeToString()
    except Exception as error:
        # Errors of protobuf's implementations have no common type; whatever it raises, there are no bytes.
        raise ModelError(
            f"The model in memory cannot be turned into bytes: {error}. Save it with external data, and give the path: "
            'onnx.save(model, "net.onnx", save_as_external_data=True).'
        ) from error


def _advice(given: object) -> str:
    """What to do instead where something else than a path or a model was given."""
    bases = [f"{base.__module__}.{base.__name__}" for base in type(given).__mro__]
    if "torch.nn.modules.module.Module" in bases:
        return "; a torch module becomes a network by av.trace(module, example_input)"
    if any(base.endswith(".ONNXProgram") for base in bases):
        return "; of what torch.onnx.export returns, give the entry model_proto"
    if any(base.startswith("onnxruntime.") for base in bases):
        return "; of a session of onnxruntime, give the file that it was made from"
    return ", or a model in memory, an onnx.ModelProto"


def model_from_bytes(data: bytes, name: str) -> Model:
    """The model in some bytes; `name` is for messages.

    Raises: ModelError where they are no model, or where a tensor's data lies in another file.
    """
    proto = _parsed(data, name)
    for tensor in tensors_of(proto):
        if is_external(tensor):
            raise ModelError(
                f"The tensor {tensor.name} of {name} keeps its data in another file, and bytes have no folder to look "
                "for it. Give the path of the model's file, or save the model with all of its weights inside."
            )
    return Model(name, data, proto)


def _parsed(data: bytes, name: str) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ModelError('Reading ONNX models needs the package onnx: pip install "admm-verify[onnx]".') from error
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(f"{name} is not an ONNX model: its bytes do not parse. Export the network again.") from error
