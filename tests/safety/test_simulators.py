"""Simulators in processes of their own, and what step simulators may return."""

import re
import sys

import numpy as np
import pytest

from mcvar import safety
from mcvar.safety.simulate import play
from tests.safety.cases import Corridor, proposal_of

CHAIN = safety.GapChain()

PROGRAM = """
import json, sys, time
moves, gap, t, n = [-3, -1, 0, 1], 8, 0, 0
for line in sys.stdin:
    question = json.loads(line)
    if "reset" in question:
        gap, t, n = 8, 0, n + 1
        print(json.dumps({"state": [gap, t]}), flush=True)
        continue
    if HOW == "hangs" and n == 2: time.sleep(60)
    if HOW == "dies" and n == 2: sys.exit("out of fuel")
    if HOW == "babbles" and n == 2: print("hello", flush=True); continue
    gap, t = min(max(gap + moves[question["action"]], 0), 12), t + 1
    crash = gap == 0
    print(json.dumps({"state": [gap, t], "done": crash or t == 12, "crash": crash}), flush=True)
"""


def program(how):
    return [sys.executable, "-c", PROGRAM.replace("HOW", repr(how))]


def test_a_program_gives_the_same_numbers_as_the_function():
    simulator = safety.SubprocessSimulator(program("well"))
    campaign = safety.Campaign(simulator, proposal_of(CHAIN), seed=7)
    inside = safety.Campaign(Corridor(), proposal_of(CHAIN), seed=7)
    one = campaign.run(max_scenarios=60, progress=False)
    assert one.value == inside.run(max_scenarios=60, progress=False).value
    simulator.close()


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("hangs", "timeout", "no answer to .* within 5 s"),
        ("dies", "died", "out of fuel"),
        ("babbles", "failed", "answer 'hello"),
    ],
)
def test_a_program_that_fails_is_started_again(how, status, message):
    # Long enough for an interpreter to start on a busy machine.
    simulator = safety.SubprocessSimulator(program(how), timeout=5)
    # The second scenario of every process fails, and the next process starts afresh.
    records = [play(simulator, proposal_of(CHAIN), 1, [scenario])[0] for scenario in range(3)]
    simulator.close()
    assert [record.status for record in records] == ["ok", status, "ok"]
    assert re.search(message, records[1].error)


def test_programs_that_cannot_be_started():
    simulator = safety.SubprocessSimulator(["no-such-program-anywhere"])
    (record,) = play(simulator, proposal_of(CHAIN), 1, [0])
    assert record.status == "died"
    assert "cannot be started" in record.error
    with pytest.raises(TypeError, match="list of arguments"):
        safety.SubprocessSimulator("python simulator.py")
    with pytest.raises(ValueError, match="timeout"):
        safety.SubprocessSimulator(["python"], timeout=0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (3, "expected \\(state, done, crash\\)"),
        (([1.0, 1.0], False, True), "a crash but not the end"),
        (([1.0, 1.0], 1, False), "expected a bool"),
        (([[1.0]], False, False), "the state has shape"),
    ],
)
def test_steps_that_make_no_sense(answer, message):
    class Odd(Corridor):
        def step(self, action):
            return answer

    (record,) = play(Odd(), proposal_of(CHAIN), 1, [0])
    assert record.status == "failed"
    assert re.search(message, record.error)


def test_a_batch_simulator_that_forgets_a_scenario():
    def forgetful(batch):
        batch.decide(np.tile([8.0, 0.0], (batch.n, 1)))
        batch.finish([0], [False], [[8.0, 1.0]])

    records = play(forgetful, proposal_of(CHAIN), 1, range(3))
    assert [record.status for record in records] == ["ok", "failed", "failed"]
    assert "without finishing" in records[1].error


def test_a_simulator_without_end(monkeypatch):
    from mcvar.safety import simulate

    monkeypatch.setattr(simulate, "_MOST_DECISIONS", 50)

    class Endless(Corridor):
        def step(self, action):
            return [8.0, 0.0], False, False

    (record,) = play(Endless(), proposal_of(CHAIN), 1, [0])
    assert "no end after 50 decisions" in record.error
