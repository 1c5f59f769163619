"""How a query is to be decided."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from admm_verify.bounds.arithmetic import check_arithmetic
from admm_verify.errors import InputError
from admm_verify.files import check_targets
from admm_verify.options import ANY, Settings, choice, file_path, flag
from admm_verify.settings import SearchSettings
from admm_verify.splitting.solve import METHODS as BOUND_METHODS

EXACT = "milp"
"""The method that asks mixed-integer programs and splits neurons only, which ends in finitely many parts."""

METHODS = (*BOUND_METHODS, EXACT)


@dataclass(frozen=True, repr=False)
class VerifySettings(Settings):
    """How `verify` works, beyond what it is asked.

    method: "auto" or another one of `solve` for the bounds at the root; "milp", for small networks of ReLU, leaky ReLU
    and PReLU, asks HiGHS (package highspy) for the exact minimum of every open disjunct, tries its point, and then
    splits neurons with linear programs, which ends in finitely many parts. HiGHS's word alone is never an answer.
    arithmetic: "real" bounds the network in real numbers; "float32" and "float64" add the rounding error of evaluating
    it in that type. None takes what the query declares. max_subproblems: ends branch and bound; 0 leaves it out.
    certificate: record what proves UNSAT, for `certificates.check`; takes somewhat longer. checkpoint: a file that
    keeps the state of branch and bound from time to time and at the end, so that the same call goes on where a killed
    one was; it is deleted once the query is decided. search: of branch and bound.

    Raises: InputError for a choice that does not exist, a value of another type or range, and a checkpoint beside a
    certificate or where no file can be.
    """

    method: str = "auto"
    arithmetic: str | None = None
    max_subproblems: Annotated[int | None, ANY] = None
    certificate: bool = False
    checkpoint: str | Path | None = None
    search: SearchSettings = field(default_factory=SearchSettings)

    def __post_init__(self) -> None:
        choice(self.method, "The method", METHODS)
        if self.arithmetic is not None:
            check_arithmetic(self.arithmetic)
        flag(self.certificate, "certificate")
        if self.checkpoint is not None:
            path = file_path(self.checkpoint, "The checkpoint", ", or None")
            if self.certificate:
                raise InputError(
                    "A certificate of a search that was interrupted is not supported; leave the checkpoint out."
                )
            check_targets([os.fspath(path)], [])
            object.__setattr__(self, "checkpoint", path)
        super().__post_init__()
