"""What is known of values whatever the ranges of what they are made of, as of those of a normalisation."""

from dataclasses import dataclass

from admm_verify.arrays import SameArray, namespace


@dataclass(frozen=True)
class Limits:
    """What is known of an activation's values whatever its operands' ranges, in real numbers.

    entry: bounds |y_i|. norm: bounds the 2-norm of all values together that have one common factor.
    """

    entry: float
    norm: float = float("inf")

    def cut(self, low: SameArray, high: SameArray) -> tuple[SameArray, SameArray]:
        """Ends of intervals of values, inside the limits."""
        xp = namespace(low)
        most = xp.full_like(low, self.entry)
        return xp.minimum(xp.maximum(low, -most), most), xp.maximum(xp.minimum(high, most), -most)
