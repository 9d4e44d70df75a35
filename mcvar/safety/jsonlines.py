"""Simulators in a process of their own, spoken to in lines of JSON.

To the simulator: ``{"reset": seed}`` and ``{"action": k}``. From it, one line each:
``{"state": [...]}`` and ``{"state": [...], "done": false, "crash": false}``, with
``"time_to_collision"`` where it is known.
"""

import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from mcvar.safety.identity import identity
from mcvar.safety.simulate import SimulatorDied, Step

_LONGEST_LINE = 1_000_000
_TAIL = 500  # characters of the error stream that go into the log


class SubprocessSimulator:
    """A simulator that is a program.

    It is started at the first scenario, without a shell; again after it died or was killed for
    not answering within `timeout`.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    timeout : float
        Seconds it may take for one answer.
    version : str, optional
        What the log knows it by; the command by default.

    Examples
    --------
    >>> import sys, numpy as np
    >>> program = '''
    ... import json, sys
    ... for line in sys.stdin:
    ...     done = "action" in json.loads(line)
    ...     print(json.dumps({"state": [0.0], "done": done, "crash": False}), flush=True)
    ... '''
    >>> simulator = SubprocessSimulator([sys.executable, "-c", program])
    >>> simulator.reset(np.random.default_rng(1)), simulator.step(3).done
    ([0.0], True)
    >>> simulator.close()
    """

    def __init__(
        self, command: Sequence[str], timeout: float = 60.0, version: str | None = None
    ) -> None:
        if isinstance(command, str) or not command:
            raise TypeError(f"command must be a list of arguments, got {command!r}.")
        if not timeout > 0:
            raise ValueError(f"timeout must be positive, got {timeout!r}.")
        self.command = [str(part) for part in command]
        self.timeout = float(timeout)
        self.version = version or f"{identity(type(self))}: {json.dumps(self.command)}"
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: list[str] = []

    def __reduce__(self) -> Any:
        return SubprocessSimulator, (self.command, self.timeout, self.version)

    def reset(self, rng: np.random.Generator) -> Any:
        """Begin a scenario."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        return self._ask({"reset": int(rng.integers(2**53))})["state"]

    def step(self, action: int) -> Step:
        """Take an action."""
        answer = self._ask({"action": int(action)})
        return Step(
            answer["state"],
            answer.get("done", False),
            answer.get("crash", False),
            float(answer.get("time_to_collision", np.nan)),
        )

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with _quietly():
                        stream.close()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()

    def _start(self) -> None:
        self.close()
        try:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise SimulatorDied(f"{self.command[0]!r} cannot be started: {error}") from error
        self._process, self._lines, self._errors = process, queue.Queue(), []
        for stream, put in ((process.stdout, self._lines.put), (process.stderr, self._keep)):
            threading.Thread(target=_forward, args=(stream, put), daemon=True).start()

    def _keep(self, line: str) -> None:
        self._errors[:] = [("".join(self._errors) + line)[-_TAIL:]]

    def _ask(self, question: dict[str, int]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None:
            raise SimulatorDied("step without reset: the simulator does not run.")
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=self.timeout)
        except queue.Empty:
            self.close()
            raise TimeoutError(f"no answer to {question} within {self.timeout:g} s.") from None
        except OSError:
            line = ""
        if not line:
            self.close()
            tail = "".join(self._errors).strip()
            raise SimulatorDied(f"it ended at {question}{': ' + tail if tail else '.'}")
        try:
            answer = json.loads(line)
            if not isinstance(answer, dict) or "state" not in answer:
                raise ValueError("no state in it")
        except ValueError as error:
            self.close()  # whatever it says next may belong to another question
            raise ValueError(f"answer {line[:80]!r} to {question}: {error}.") from None
        return answer


def _forward(stream: IO[str], put: Any) -> None:
    """Pass on lines, and an empty one at the end."""
    with _quietly():
        while line := stream.readline(_LONGEST_LINE):
            put(line)
    put("")


class _quietly:
    """A stream may be closed, or broken, while it is read."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return isinstance(error, OSError | ValueError)
