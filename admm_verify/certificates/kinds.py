"""Every kind of activation that can be checked: the checker's own table, which owes nothing to the relaxations."""

from admm_verify.certificates.bends import CheckedExp, CheckedLog, CheckedReciprocal, CheckedSqrt, CheckedSquare
from admm_verify.certificates.bent_kinds import (
    CheckedAtan,
    CheckedCos,
    CheckedErf,
    CheckedGelu,
    CheckedGeluTanh,
    CheckedHardSwish,
    CheckedMish,
    CheckedPower,
    CheckedSilu,
    CheckedSin,
    CheckedSoftsign,
    CheckedTan,
)
from admm_verify.certificates.curve_differences import CheckedSigmoidDifference, CheckedTanhDifference
from admm_verify.certificates.curves import CheckedElu, CheckedSigmoid, CheckedSoftplus, CheckedTanh
from admm_verify.certificates.differences import CheckedReluDifference
from admm_verify.certificates.hyperbolic import (
    CheckedAcosh,
    CheckedAsin,
    CheckedAsinh,
    CheckedAtanh,
    CheckedCosh,
    CheckedSinh,
)
from admm_verify.certificates.jumps import CheckedCeil, CheckedFloor, CheckedHeaviside, CheckedRound, CheckedSign
from admm_verify.certificates.lines import CheckedKind
from admm_verify.certificates.pieces import CheckedClip, CheckedPRelu, CheckedRelu
from admm_verify.certificates.products import CheckedProduct
from admm_verify.errors import CertificateError, InputError
from admm_verify.network.graph import Activation, Network

CHECKED_KINDS: dict[str, type[CheckedKind]] = {
    "relu": CheckedRelu,
    "prelu": CheckedPRelu,
    "clip": CheckedClip,
    "elu": CheckedElu,
    "sigmoid": CheckedSigmoid,
    "product": CheckedProduct,
    "relu_difference": CheckedReluDifference,
    "sigmoid_difference": CheckedSigmoidDifference,
    "tanh_difference": CheckedTanhDifference,
    "softplus": CheckedSoftplus,
    "tanh": CheckedTanh,
    "sign": CheckedSign,
    "heaviside": CheckedHeaviside,
    "floor": CheckedFloor,
    "ceil": CheckedCeil,
    "round": CheckedRound,
    "acosh": CheckedAcosh,
    "asin": CheckedAsin,
    "asinh": CheckedAsinh,
    "atan": CheckedAtan,
    "atanh": CheckedAtanh,
    "cos": CheckedCos,
    "cosh": CheckedCosh,
    "erf": CheckedErf,
    "exp": CheckedExp,
    "gelu": CheckedGelu,
    "gelu_tanh": CheckedGeluTanh,
    "hardswish": CheckedHardSwish,
    "log": CheckedLog,
    "mish": CheckedMish,
    "power": CheckedPower,
    "reciprocal": CheckedReciprocal,
    "silu": CheckedSilu,
    "sin": CheckedSin,
    "sinh": CheckedSinh,
    "softsign": CheckedSoftsign,
    "sqrt": CheckedSqrt,
    "square": CheckedSquare,
    "tan": CheckedTan,
}


def checked_kind(node: Activation) -> CheckedKind:
    """What the checker knows of a node's function.

    Raises: CertificateError for a kind that it does not know, or parameters with which nothing is checked.
    """
    if node.kind not in CHECKED_KINDS:
        raise CertificateError(
            f"Activations of the kind {node.kind!r} cannot be checked; only {', '.join(CHECKED_KINDS)} can."
        )
    given = node.parameters if node.limits is None else (node.limits.entry,)
    found = CHECKED_KINDS[node.kind](*given)
    fault = found.fault()
    if fault is not None:
        raise CertificateError(f"{fault}; no certificate of it can be checked.")
    return found


def check_kinds(network: Network, exact: bool = False) -> None:
    """Raise InputError for activations of which no certificate could ever be checked, or not in exact numbers."""
    for node in network.functions:
        try:
            found = checked_kind(node)
        except CertificateError as error:
            raise InputError(f"{network.name} can have no certificate. {error} Leave the certificate out.") from error
        if exact and found.curved:
            raise InputError(
                f"Exact numbers have no {node.kind}, which {network.name} computes; check the certificate in float64."
            )
