"""Ending a program together with whatever it started."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def end_with_children(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program that leads a process group, all of its group, and what it started elsewhere.

    Where there is no /proc, what has left the group is not found; nor is, anywhere, a process that
    has left it and whose parent ended before.
    """
    if process.returncode is None:  # not waited for yet, so that its number is still its own
        end_family(process.pid)
        with contextlib.suppress(OSError, AttributeError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.wait()


def has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a program has ended, without giving its number free."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def end_family(leader: int) -> None:
    """Kill the descendants of a process, and their groups and its own where it leads one."""
    family = [leader, *_descendants(leader)]
    own = os.getpgrp() if hasattr(os, "getpgrp") else 0
    for member in family:
        with contextlib.suppress(OSError, AttributeError):
            group = os.getpgid(member)
            if group in family and group != own:
                os.killpg(group, signal.SIGKILL)
        if member != leader:
            with contextlib.suppress(OSError, AttributeError):
                os.kill(member, signal.SIGKILL)


def _descendants(leader: int) -> list[int]:
    """Children of a process and theirs, as Linux lists them."""
    found, waiting = [], [leader]
    while waiting:
        member = waiting.pop()
        for tasks in Path(f"/proc/{member}/task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):
                children = [int(word) for word in tasks.read_text(encoding="ascii").split()]
                found += children
                waiting += children
    return found
