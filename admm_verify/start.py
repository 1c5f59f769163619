"""The command `admm-verify` from its first moment: streams and signals are in order before anything heavy is loaded."""

import signal

from admm_verify.interrupts import handle_all, leave


def main() -> int:
    """Run the command of this process; returns the exit status."""
    handle_all(leave)
    from admm_verify.streams import divert, open_missing

    open_missing()
    divert()
    from admm_verify.cli import main as run

    status = run()
    # All is said; while the interpreter ends, Ctrl-C would only spoil the status.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status
