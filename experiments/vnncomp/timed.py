"""Run one command with a hard time limit and say how long it took and how much memory it held.

    python timed.py SECONDS STDOUT STDERR COMMAND...

A process of its own, and a small one: Linux counts the memory of the process that starts a command into the peak of
that command, and this one holds nothing. It also times without waiting for anybody's interpreter lock.
"""

import json
import os
import signal
import sys
import time

RUSAGE_PER_MB = 2**20 if sys.platform == "darwin" else 2**10


def main() -> None:
    """Print {"status", "seconds", "cpu_seconds", "peak_mb", "killed"}; SIGTERM ends the command and its children."""
    limit, (out, err), command = float(sys.argv[1]), sys.argv[2:4], sys.argv[4:]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_OPEN, number, path, flags, 0o644) for number, path in ((1, out), (2, err))]
    killed = False
    ends = (signal.SIGALRM, signal.SIGTERM)
    # Blocked until there is a process to kill.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    began = time.monotonic()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=actions, setpgroup=0, setsigmask=[])

    def kill(number: int, frame: object) -> None:
        nonlocal killed
        killed = True
        os.killpg(child, signal.SIGKILL)

    for number in ends:
        signal.signal(number, kill)
    signal.setitimer(signal.ITIMER_REAL, limit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
    # Waiting without reaping: the id stays ours until no signal can ask to kill it any more.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    seconds = time.monotonic() - began
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    _, status, usage = os.wait4(child, 0)
    found = {"status": os.waitstatus_to_exitcode(status), "seconds": seconds, "killed": killed}
    found |= {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / RUSAGE_PER_MB}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
