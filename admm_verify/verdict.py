"""Verdicts: on queries, and on everything else that may hold or not."""

from admm_verify.run import Advised, Ended


class Verdict(Advised):
    """What a verification run found out; the values are the words of the VNN-LIB solver interface."""

    SAT = "sat", ""
    """A confirmed input satisfies the query: the property it negates is violated."""
    UNSAT = "unsat", ""
    """No input satisfies the query: every disjunct is excluded by a certified bound."""
    UNKNOWN = "unknown", "Raise max_subproblems where it is given, or try another method."
    """Neither was shown."""
    TIMED_OUT = "timed-out", Ended.TIMED_OUT.advice
    """Neither was shown within the time given."""


class Answer(Advised):
    """What is known of a statement, such as a requirement, or that no input near an image changes its class."""

    VERIFIED = "verified", ""
    """It holds: certified bounds say so."""
    FALSIFIED = "falsified", ""
    """It does not, as an input or a trajectory shows."""
    UNKNOWN = "unknown", "Try tightened bounds, more passes or more cells."
    """Neither was shown."""
    TIMED_OUT = "timed-out", Ended.TIMED_OUT.advice
    """Neither was shown before the time was up or the run was stopped."""
