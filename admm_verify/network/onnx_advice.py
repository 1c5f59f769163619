"""What to do about ONNX operators that are not read, by the family that they belong to."""

from admm_verify.network.onnx_checks import CLASSIC, DOMAINS

_QUANTISED = ("Quantize", "Dequantize", "QLinear", "DynamicQuantize", "ConvInteger", "MatMulInteger")
_FORESTS = ("TreeEnsemble", "SVM")


def advice(domain: str, kind: str) -> str:
    """A sentence for an operator of a domain, with a space before it; empty where there is nothing to say."""
    if domain.startswith("com.microsoft"):
        return (
            " It is one of onnxruntime's own: give the model from before its optimizer or quantizer, or quantise "
            "it in the QDQ format."
        )
    if domain == CLASSIC and kind.startswith(_FORESTS):
        return " Trees and support vector machines are no neural networks: give one of those."
    if domain == CLASSIC:
        return " Leave steps before the numbers out: give the part of the pipeline that takes them."
    if domain not in DOMAINS:
        return " It is none of the standard's: export the model with standard operators alone."
    if kind.startswith(_QUANTISED):
        return (
            " It computes in whole numbers: quantise the model in the QDQ format, of QuantizeLinear and "
            "DequantizeLinear alone, or give it from before its quantisation, in float32."
        )
    return ""
