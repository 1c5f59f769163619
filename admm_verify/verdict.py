"""Answers to a query."""

from enum import Enum


class Verdict(Enum):
    """What a verification run found out; the values are the words of the VNN-LIB solver interface."""

    SAT = "sat"
    """A confirmed input satisfies the query: the property it negates is violated."""
    UNSAT = "unsat"
    """No input satisfies the query: every disjunct is excluded by a certified bound."""
    UNKNOWN = "unknown"
    """Neither was shown."""
    TIMED_OUT = "timed-out"
    """Neither was shown within the time given."""
