"""Simulators in a process of their own, spoken to in lines of JSON.

To the simulator: ``{"reset": seed}`` and ``{"action": k}``. From it, one line each:
``{"state": [...]}`` and ``{"state": [...], "done": false, "crash": false}``, with
``"time_to_collision"`` where it is known. A line that nobody asked for ends the scenario, as all
answers after it would be taken for those to other questions.
"""

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcvar.execution.store import parsed
from mcvar.safety.identity import identity
from mcvar.safety.processes import end_with_children, has_ended
from mcvar.safety.simulate import SimulatorDied, Step

_LONGEST_LINE = 1_000_000  # bytes
_AT_ONCE = 65_536
_WAITING = 4  # lines read ahead, after which a program has to wait
_TAIL = 500  # bytes of the error stream that go into the log
_FIRST_ANSWERS, _FIRST_PAUSE = 8, 0.01  # answers after which there is time for a line too many
_LAST_PAUSE = 0.001  # the same at the end of every scenario


class SubprocessSimulator:
    """A simulator that is a program.

    It is started at the first scenario, without a shell; again after it died, was killed for not
    answering within `timeout`, or said what nobody asked for. It leads a process group of its own,
    and is ended with all of it.

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
    ...     if "reset" in json.loads(line):
    ...         print(json.dumps({"state": [0.0]}), flush=True)
    ...     else:
    ...         print(json.dumps({"state": [0.0], "done": True, "crash": False}), flush=True)
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
        self._program: _Program | None = None

    def __reduce__(self) -> Any:
        return SubprocessSimulator, (self.command, self.timeout, self.version)

    def reset(self, rng: np.random.Generator) -> Any:
        """Begin a scenario."""
        if self._program is not None and self._program.has_ended:
            self.close()
        if self._program is None:
            self._program = _Program(self.command)
        answer = self._ask({"reset": int(rng.integers(2**53))})
        if "done" in answer or "crash" in answer:
            raise self._failure("a first state without done and crash", answer)
        return answer["state"]

    def step(self, action: int) -> Step:
        """Take an action."""
        answer = self._ask({"action": int(action)})
        if "done" not in answer:
            raise self._failure("state, done and crash", answer)
        step = Step(
            answer["state"],
            answer["done"],
            answer.get("crash", False),
            float(answer.get("time_to_collision", np.nan)),
        )
        if step.done:
            self._check_silent(_LAST_PAUSE)
        return step

    def close(self) -> None:
        """End the process, and all that it started."""
        if self._program is not None:
            program, self._program = self._program, None
            program.end()

    def __del__(self) -> None:
        if getattr(self, "_program", None) is not None:
            self.close()

    def _ask(self, question: dict[str, int]) -> dict[str, Any]:
        program = self._program
        if program is None:
            raise SimulatorDied("step without reset: the simulator does not run.")
        self._check_silent(0.0)
        try:
            line = program.ask(json.dumps(question), self.timeout)
        except TimeoutError:
            self.close()
            raise TimeoutError(f"no answer to {question} within {self.timeout:g} s.") from None
        except EOFError:
            self.close()
            tail = program.last_words()
            raise SimulatorDied(f"it ended at {question}{': ' + tail if tail else '.'}") from None
        except BaseException:  # an interrupt: the answer would be taken for that to a later one
            self.close()
            raise
        try:
            answer: dict[str, Any] = parsed(line)
            if "state" not in answer:
                raise ValueError("no state in it")
        except ValueError as error:
            self.close()
            raise ValueError(f"answer {line[:80]!r} to {question}: {error}.") from None
        self._check_silent(_FIRST_PAUSE if program.n_answers <= _FIRST_ANSWERS else 0.0)
        return answer

    def _check_silent(self, pause: float) -> None:
        """Raise ValueError where the program has said more than was asked."""
        if self._program is None:
            return
        line = self._program.unasked(pause)
        if line is not None:
            self.close()
            raise ValueError(
                f"a line that was not asked for, {line[:80]!r}; expected one line an answer."
            )

    def _failure(self, expected: str, answer: dict[str, Any]) -> ValueError:
        self.close()
        return ValueError(f"answer {str(answer)[:80]}; expected {expected}.")


class _Program:
    """A running program: a line to it, a line from it, in bounded memory and time."""

    def __init__(self, command: list[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # With no terminal's group: Ctrl-C is for the campaign, and all of it can be ended.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise SimulatorDied(f"{command[0]!r} cannot be started: {error}") from error
        self.n_answers = 0
        self._answers: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._questions: queue.Queue[bytes | None] = queue.Queue(1)
        self._ended = threading.Event()
        self._errors = b""
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        # Each stream has a thread, which alone closes it: reading and closing at a time may hang.
        self._threads = [
            threading.Thread(target=work, args=(stream,), daemon=True)
            for work, stream in (
                (self._write, stdin), (self._read_answers, stdout), (self._read_errors, stderr)
            )
        ]  # fmt: skip
        for thread in self._threads:
            thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended by itself."""
        return has_ended(self._process)

    def ask(self, question: str, timeout: float) -> str:
        """Return the line that answers; TimeoutError, or EOFError where there is none."""
        deadline = time.monotonic() + timeout
        try:
            self._questions.put(f"{question}\n".encode(), timeout=timeout)
            answer = self._answers.get(timeout=max(deadline - time.monotonic(), 0.0))
        except (queue.Full, queue.Empty):
            raise TimeoutError from None
        if answer is None:
            raise EOFError
        self.n_answers += 1
        return answer

    def unasked(self, pause: float) -> str | None:
        """Return a line that came without a question, or None after a pause without one."""
        try:
            line = self._answers.get(timeout=pause) if pause else self._answers.get_nowait()
        except queue.Empty:
            return None
        if line is None:  # the end of a program, which the next question finds
            self._answers.put(None)
        return line

    def last_words(self) -> str:
        """Return the end of what it wrote to its error stream."""
        self._threads[-1].join(1.0)
        return self._errors.decode(errors="replace").strip()

    def end(self) -> None:
        """Kill the process and what it started."""
        self._ended.set()
        end_with_children(self._process)
        with contextlib.suppress(queue.Full):
            self._questions.put_nowait(None)

    def _write(self, stream: Any) -> None:
        with contextlib.suppress(OSError), stream:
            while not self._ended.is_set():
                question = self._questions.get()
                if question is None:
                    break
                stream.write(question)

    def _read_answers(self, stream: Any) -> None:
        rest = b""

        def forward(data: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._put(line[:_LONGEST_LINE].decode(errors="replace"))

        self._read(stream, forward)
        if rest:
            self._put(rest.decode(errors="replace"))
        self._put(None)

    def _read_errors(self, stream: Any) -> None:
        def keep(data: bytes) -> None:
            self._errors = (self._errors + data)[-_TAIL:]

        self._read(stream, keep)

    def _read(self, stream: Any, use: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError), stream:
            while not self._ended.is_set() and (data := os.read(stream.fileno(), _AT_ONCE)):
                use(data)

    def _put(self, line: str | None) -> None:
        """Hand on a line, waiting until the last ones were taken."""
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._answers.put(line, timeout=0.1)
                return
