"""The command `admm-verify` from its first moment: streams and signals are in order before anything heavy is loaded."""

import gc
import signal
import sys

from admm_verify.interrupts import handle_all, leave


def main() -> int:
    """Run the command of this process; returns the exit status."""
    handle_all(leave)
    from admm_verify.streams import divert, open_missing

    open_missing()
    divert()
    # Nothing of what imports make is garbage: collections would look at it in vain, then and ever after.
    gc.disable()
    from admm_verify.cli import load, main as run

    load(sys.argv[1:])
    gc.freeze()
    gc.enable()
    status = run()
    # All is said; while the interpreter ends, Ctrl-C would only spoil the status.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status
