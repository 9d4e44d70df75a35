"""Programs that are simulators and do what they please: each costs its scenario, nothing more."""

import os
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mcvar import safety
from mcvar.safety.jsonlines import _LONGEST_LINE, _WAITING
from mcvar.safety.simulate import play
from tests.execution import damage
from tests.safety.cases import Corridor, proposal_of

CHAIN = safety.GapChain()
TIMEOUT = 2.0
PROGRAM = """
import json, os, subprocess, sys, time
moves, gap, t = [-3, -1, 0, 1], 8, 0
def say(answer): print(json.dumps(answer), flush=True)
def fill(stream=sys.stdout, end="\\n"):
    while True: print("x" * 100_000, end=end, file=stream, flush=True)
@START
for line in sys.stdin:
    question = json.loads(line)
    if "reset" in question:
        gap, t = 8, 0
        say({"state": [gap, t]})
        @RESET
        continue
    gap, t = min(max(gap + moves[question["action"]], 0), 12), t + 1
    crash = gap == 0
    done = crash or t == 12
    answer = {"state": [gap, t], "done": done, "crash": crash}
    @BEFORE
    say(answer)
    @AFTER
"""
# What a program does, and where; "failed" is what its scenario becomes.
DEEDS = {
    "says all twice": ("AFTER", "say(answer)", "failed"),
    "says all twice, the second time late": ("AFTER", "time.sleep(0.005); say(answer)", "failed"),
    "says more at the end": ("AFTER", "done and say(answer)", "failed"),
    "greets": ("START", "say({'state': [1, 2]})", "failed"),
    "greets with a step": ("START", "say({'state': [1, 2], 'done': False})", "failed"),
    "greets in words": ("START", "print('welcome', flush=True)", "failed"),
    "says more at the start": ("RESET", "say({'state': [8, 0]})", "failed"),
    "floods": ("START", "fill()", "failed"),
    "floods with answers": ("BEFORE", "[say(answer) for _ in iter(int, 1)]", "failed"),
    "floods without a line's end": ("BEFORE", "fill(end='')", "failed"),
    "floods its error stream": ("BEFORE", "fill(sys.stderr)", "timeout"),
    "nests brackets": ("BEFORE", "print('[' * 400_000, flush=True)", "failed"),
    "nests a state": (
        "BEFORE", "print(('{' + json.dumps('state') + ':') * 60_000, flush=True)", "failed"
    ),
    "says a huge number": (
        "BEFORE", "print('{' + json.dumps('state') + ': [' + '9' * 9_000 + ']}', flush=True)",
        "failed",
    ),
    "says NaN": ("BEFORE", "answer['state'] = [float('nan'), 1]", "failed"),
    "says null": ("BEFORE", "answer['state'] = None", "failed"),
    "has no end": ("BEFORE", "answer.pop('done')", "failed"),
    "has large states": ("BEFORE", "answer['state'] = [1.0] * 90_000", "failed"),
    "writes bytes": ("BEFORE", "sys.stdout.buffer.write(bytes(range(256)) + b'\\n')", "failed"),
    "is silent": ("BEFORE", "time.sleep(600)", "timeout"),
    "does not listen": ("START", "time.sleep(600)", "timeout"),
    "closes its input": ("START", "os.close(0); time.sleep(600)", "timeout"),
    "closes its output": ("START", "os.close(1); time.sleep(600)", "died"),
    "ends": ("BEFORE", "sys.exit('out of fuel')", "died"),
    "leaves a child and ends": (
        "START", "subprocess.Popen(['sleep', '600']); os._exit(1)", "timeout"
    ),
    "has a child that is silent": ("START", "subprocess.run(['sleep', '600'])", "timeout"),
    "has a child in a session of its own": (
        "START", "subprocess.run(['sleep', '600'], start_new_session=True)", "timeout"
    ),
    "ignores signals": (
        "START",
        "import signal; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(600)",
        "timeout",
    ),
}  # fmt: skip


def program(place=None, deed="pass"):
    text = PROGRAM
    for name in ("START", "RESET", "BEFORE", "AFTER"):
        text = text.replace(f"@{name}", deed if name == place else "pass")
    return [sys.executable, "-c", text]


def shell(command):
    """The same behind a shell that stays."""
    return ["sh", "-c", '"$@"; true', "sh", *command]


def played(simulator, scenarios):
    proposal = proposal_of(CHAIN)
    return [play(simulator, proposal, 1, [scenario])[0] for scenario in scenarios]


@pytest.fixture(scope="module")
def truth():
    return [record.crash for record in played(Corridor(), range(8))]


@pytest.mark.skipif(os.name != "posix", reason="process groups and limits of POSIX")
@pytest.mark.parametrize("behind", ["", "shell"])
@pytest.mark.parametrize("name", DEEDS)
def test_a_program_costs_its_scenario_and_no_more(name, behind):
    """Time beyond the timeout and memory are bounded, whatever it does; nothing survives."""
    place, deed, status = DEEDS[name]
    command = program(place, deed)
    simulator = safety.SubprocessSimulator(shell(command) if behind else command, timeout=TIMEOUT)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    repeats = 4 if damage.FULL else 1
    for record in played(simulator, range(repeats)):
        # Behind a shell, which holds the program's streams as well, an end may not show.
        assert record.status in (status, "timeout" if behind else status), record.error
        assert record.error
    group = simulator._program and simulator._program._process.pid
    simulator.close()
    simulator.close()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    assert grown < 50, f"{grown:.0f} MB"
    assert not group or _ends(group)


def test_reading_ahead_is_bounded():
    assert _WAITING * _LONGEST_LINE < 10e6


@pytest.mark.skipif(os.name != "posix", reason="process groups of POSIX")
@pytest.mark.parametrize("deed", ["subprocess.Popen(['sleep', '600'])", "os.fork() or 1"])
def test_children_end_with_their_program(deed):
    """Also where they hold its streams: `close` waits for none of them."""
    simulator = safety.SubprocessSimulator(program("START", deed), timeout=30)
    simulator.reset(np.random.default_rng(1))
    group = simulator._program._process.pid
    simulator.close()
    assert _ends(group)


@pytest.mark.parametrize("how", ["", "shell"])
def test_programs_that_behave_give_the_numbers_of_the_function(truth, how):
    command = program()
    simulator = safety.SubprocessSimulator(shell(command) if how else command, timeout=30)
    records = played(simulator, range(8))
    simulator.close()
    assert [record.status for record in records] == ["ok"] * 8
    assert [record.crash for record in records] == truth


def test_a_line_too_many_does_not_move_the_rate():
    """Each answer that comes late is found out before a scenario counts."""
    done_late = program("AFTER", "done and (time.sleep(0.02), say(answer))")
    campaign = safety.Campaign(
        safety.SubprocessSimulator(done_late, timeout=30), proposal_of(CHAIN), seed=7
    )
    rate = campaign.run(max_scenarios=12, progress=False)
    inside = safety.Campaign(Corridor(), proposal_of(CHAIN), seed=7)
    inside.run(max_scenarios=12, progress=False)
    for record, true in zip(campaign._log.read(), inside._log.read(), strict=True):
        assert record.status == "failed" or record.crash == true.crash
    assert rate.flagged("failures")
    campaign.simulator.close()


def test_streams_are_closed_and_threads_end():
    before = threading.active_count()
    simulator = safety.SubprocessSimulator(program("AFTER", "sys.exit()"), timeout=30)
    played(simulator, range(3))
    simulator.close()
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_a_program_of_a_killed_worker_ends_with_it(tmp_path):
    """A worker that is overdue goes with what its simulator started."""
    file = tmp_path / "pid"
    deed = f"open({str(file)!r}, 'w').write(str(os.getpgid(0))); time.sleep(600)"
    simulator = safety.SubprocessSimulator(program("START", deed), timeout=600)
    campaign = safety.Campaign(simulator, proposal_of(CHAIN), seed=1, executor=1, timeout=3.0)
    rate = campaign.run(max_scenarios=2, progress=False)
    assert rate.failures == 2
    assert _ends(int(file.read_text()))


def _ends(group):
    """Whether no process of a group runs any more; the system may take a moment for it."""
    for _ in range(200):
        rows = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True).stdout
        found = [row.split() for row in rows.splitlines()]
        if not any(int(of) == group and not stat.startswith("Z") for of, stat in found):
            return True
        time.sleep(0.05)
    return False
