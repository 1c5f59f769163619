"""Einstein sums of one tensor, and maybe a constant, as sums of weighted entries."""

from string import ascii_letters

import numpy as np

from admm_verify.network import movement
from admm_verify.network.builder import Builder, Tensor, UnsupportedUse, Value


def einsum(builder: Builder, equation: str, operands: list[Value]) -> Tensor:
    """The sum over all letters that the result does not have of the product of the operands' entries."""
    tensors = [i for i, value in enumerate(operands) if isinstance(value, Tensor)]
    if len(operands) > 2 or len(tensors) != 1:
        raise UnsupportedUse("it multiplies several values that depend on the input, or more than two operands")
    terms, result, sizes = letters(equation, [value.shape for value in operands])
    x = operands[tensors[0]]
    assert isinstance(x, Tensor), "chosen above"
    summed = "".join(sorted(set("".join(terms)) - set(result)))
    if set(summed) - set(terms[tensors[0]]):
        raise UnsupportedUse("it sums a constant alone, whose rounding is unknown; store the sum")
    index = spread_letters(x.labels, terms[tensors[0]], result + summed, sizes)
    weight = np.ones(())
    for term, value in zip(terms, operands, strict=True):
        if isinstance(value, np.ndarray):
            weight = spread_letters(value.astype(np.float64), term, result + summed, sizes)
    shape = (*(sizes[letter] for letter in result), -1)
    wide = np.broadcast_to(weight, index.shape)
    return movement.combine(builder, x, index.reshape(shape), wide.reshape(shape))


def letters(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str, dict[str, int]]:
    """The letters of every operand's axes and of the result's, with letters of their own for an ellipsis, and the
    length along each.
    """
    terms, result = _letters(equation, [len(shape) for shape in shapes])
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size and 1 not in (size, sizes[letter]):
                raise UnsupportedUse(f"its operands have different lengths along {letter}")
            sizes[letter] = max(sizes[letter], size)
    return terms, result, sizes


def _letters(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """The letters of every operand's axes, and of the result's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks) or any(term.count("...") > 1 for term in terms):
        raise UnsupportedUse(f"its equation {equation} does not fit its {len(ranks)} operands")
    free = [letter for letter in ascii_letters if letter not in equation]
    lengths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    dots = "".join(free[: max(length for length, term in [*zip(lengths, terms, strict=True), (0, "")])])
    if not arrow:
        own = "".join(terms).replace(".", "")
        right = "..." + "".join(sorted(letter for letter in set(own) if own.count(letter) == 1))
    filled = [term.replace("...", dots[len(dots) - n :]) for term, n in zip(terms, lengths, strict=True)]
    result = right.replace("...", dots)
    fits = all(len(term) == rank for term, rank in zip(filled, ranks, strict=True))
    if not fits or len(set(result)) < len(result) or not set(result) <= set("".join(filled)):
        raise UnsupportedUse(f"its equation {equation} does not fit operands of ranks {ranks}")
    return filled, result


def spread_letters(entries: np.ndarray, term: str, order: str, sizes: dict[str, int]) -> np.ndarray:
    """Entries whose axes are named by a term, repeated along all letters in order."""
    own = "".join(letter for letter in order if letter in term)
    # Letters that stand twice take the diagonal.
    picked = np.einsum(f"{term}->{own}", entries)
    lengths = iter(picked.shape)
    wide = picked.reshape([next(lengths) if letter in own else 1 for letter in order])
    return np.broadcast_to(wide, [sizes[letter] for letter in order])
