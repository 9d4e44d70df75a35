"""Campaigns: resumed, distributed, killed, mistreated; always the same numbers, nothing lost."""

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mcvar import safety
from mcvar.safety.log import Log
from tests.safety.cases import Corridor, Distorted, Troubled, proposal_of

CHAIN = safety.GapChain()


def contents(store):
    """Return everything in a log that must not depend on how it came about."""
    query = "SELECT id, proposal, component, status, crash, states, actions, taken FROM scenario"
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


def campaign_of(store=None, simulator=CHAIN, executor=None, **options):
    return safety.Campaign(
        simulator, proposal_of(CHAIN, Distorted(CHAIN)), store, 7, executor, **options
    )


def run(campaign, n=600, **options):
    try:
        return campaign.run(max_scenarios=n, progress=False, **options)
    finally:
        campaign.close()


def test_an_interrupted_campaign_ends_as_an_uninterrupted_one(tmp_path):
    whole, parts = tmp_path / "whole.sqlite", tmp_path / "parts.sqlite"
    first = run(campaign_of(whole))
    for n in (2, 130, 131, 600):
        second = run(campaign_of(parts), n)
    assert first.summary() == second.summary()
    assert contents(whole) == contents(parts)
    assert safety.estimate(parts, "value").value == safety.estimate(whole, "value").value


@pytest.mark.parametrize(("simulator", "executor"), [(CHAIN, 2), (Corridor(), 3)])
def test_results_do_not_depend_on_workers(tmp_path, executor, simulator):
    alone, many = tmp_path / "alone.sqlite", tmp_path / "many.sqlite"
    n = 600 if simulator is CHAIN else 60
    one = run(campaign_of(alone, simulator), n)
    two = run(campaign_of(many, simulator, executor), n)
    assert one.summary() == two.summary()
    assert contents(alone) == contents(many)


def test_an_executor_of_ones_own(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        mine = run(campaign_of(tmp_path / "mine.sqlite", executor=pool))
    assert mine.summary() == run(campaign_of()).summary()


def test_steps_and_batches_see_the_same_randomness():
    batch, steps = campaign_of(), campaign_of(simulator=Corridor())
    # NumPy's powers of one number and of many may differ in the last bit.
    assert run(batch, 200).value == pytest.approx(run(steps, 200).value, rel=1e-12)


_KILLED = """
import os, signal, sys
import mcvar.safety.campaign
from mcvar import safety
from tests.safety.cases import Corridor, Distorted, proposal_of

mcvar.safety.campaign._COMMIT_EVERY = 0.0

class Killing(Corridor):
    def step(self, action):
        if campaign.scenarios >= 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)

chain = safety.GapChain()
campaign = safety.Campaign(Killing(), proposal_of(chain, Distorted(chain)), sys.argv[1], 7)
campaign.run(max_scenarios=600, progress=False)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_killed_with_kill_9_it_goes_on_bit_for_bit(tmp_path):
    store, whole = tmp_path / "killed.sqlite", tmp_path / "whole.sqlite"
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    process = subprocess.run(
        [sys.executable, str(script), str(store)], env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert process.returncode == -signal.SIGKILL
    done = len(contents(store))
    assert 100 <= done < 600
    resumed = run(campaign_of(store, Corridor()))
    assert resumed.summary() == run(campaign_of(whole, Corridor())).summary()
    assert contents(store) == contents(whole)
    log = Log(store)
    assert [session[1] for session in log.sessions()] == [0, done]
    log.close()


def test_replay_repeats_and_notices_change():
    campaign = campaign_of()
    campaign.run(max_scenarios=50, progress=False)
    replay = campaign.replay(17)
    assert replay.same
    assert replay.record.scenario == 17
    campaign.simulator = safety.GapChain(start=7)
    assert not campaign.replay(17).same
    with pytest.raises(ValueError, match="50 is not in the log"):
        campaign.replay(50)


@pytest.mark.parametrize(
    ("how", "status"), [("raises", "failed"), ("nan", "failed"), ("shape", "failed")]
)
def test_what_a_simulator_does_wrong_is_a_row(tmp_path, how, status):
    campaign = campaign_of(tmp_path / "log.sqlite", Troubled(how))
    rate = campaign.run(max_scenarios=300, progress=False)
    log = Log(tmp_path / "log.sqlite")
    records = list(log.read())
    bad = [record for record in records if record.status != "ok"]
    assert 20 < len(bad) == rate.failures < 120
    assert {record.status for record in bad} == {"failed"}
    assert all(record.error and len(record.action) for record in bad)
    assert rate.flagged("failures")
    assert rate.confidence_interval(0.9).high > 0.05
    assert len(records) == rate.scenarios == 300
    log.close()
    campaign.close()


@pytest.mark.parametrize(("how", "status"), [("hangs", "timeout"), ("dies", "died")])
def test_hanging_and_dying_simulators_cost_only_their_scenario(tmp_path, how, status):
    store = tmp_path / "log.sqlite"
    rate = run(campaign_of(store, Troubled(how, 12), 2, timeout=5.0), 24)
    plain = run(campaign_of(simulator=Troubled("raises", 12)), 24)
    assert 0 < rate.failures == plain.failures
    assert {row[3] for row in contents(store)} == {"ok", status}


class Batchwise:
    """A batch simulator that cannot stand scenario 3."""

    version = "batchwise"
    chunk = 4

    def __init__(self, how):
        self.how = how

    def __call__(self, batch):
        if 3 in batch.scenarios:
            if self.how == "dies":
                os._exit(1)
            raise RuntimeError("not this one")
        CHAIN(batch)


@pytest.mark.parametrize(("how", "executor"), [("raises", None), ("dies", 1)])
def test_a_batch_that_fails_is_halved_down_to_the_culprit(how, executor):
    rate = campaign_of(simulator=Batchwise(how), executor=executor).run(
        max_scenarios=8, progress=False
    )
    assert (rate.failures, rate.scenarios) == (1, 8)
    assert "first: 3)" in rate.flags[0]


def test_a_log_of_another_campaign_is_refused(tmp_path):
    store = tmp_path / "log.sqlite"
    run(campaign_of(store), 10)
    with pytest.raises(safety.LogError, match="seed was 7 and is now 8"):
        safety.Campaign(CHAIN, proposal_of(CHAIN, Distorted(CHAIN)), store, 8)
    with pytest.raises(safety.LogError, match="simulator was"):
        campaign_of(store, Corridor())
    with pytest.raises(safety.LogError, match="proposal was"):
        safety.Campaign(CHAIN, proposal_of(CHAIN), store, 7)


def test_damaged_logs_are_named(tmp_path):
    store = tmp_path / "log.sqlite"
    run(campaign_of(store))
    whole = store.read_bytes()
    store.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(safety.LogError, match="damaged"):
        safety.estimate(store)
    store.write_bytes(whole)
    connection = sqlite3.connect(store)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE scenario SET crash = 1")
    connection.execute("DROP TRIGGER scenario_UPDATE")
    connection.execute("UPDATE scenario SET crash = 1 - crash WHERE id = 123")
    connection.commit()
    connection.close()
    with pytest.raises(safety.LogError, match="checksum of scenario 123"):
        safety.estimate(store)
    store.write_bytes(b"not a database at all, whatever its name says" * 50)
    with pytest.raises(safety.LogError, match="damaged"):
        campaign_of(store)
    with pytest.raises(safety.LogError, match="no log"):
        safety.estimate(tmp_path / "none.sqlite")
    with pytest.raises(safety.LogError, match="no directory"):
        campaign_of(tmp_path / "nowhere" / "log.sqlite")


def _write(store, go, done):
    with Log(store).writing():
        done.set()
        go.wait(30)


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX")
def test_two_processes_on_one_log(tmp_path):
    store = tmp_path / "log.sqlite"
    run(campaign_of(store), 10)
    context = multiprocessing.get_context("spawn")
    go, done = context.Event(), context.Event()
    other = context.Process(target=_write, args=(store, go, done))
    other.start()
    assert done.wait(60)
    second = campaign_of(store)
    with pytest.raises(safety.LogError, match="another process"):
        second.run(max_scenarios=20, progress=False)
    assert safety.estimate(store).scenarios == 10  # reading is always allowed
    go.set()
    other.join()
    assert second.run(max_scenarios=20, progress=False).scenarios == 20


def test_a_full_disk_loses_nothing_of_what_was_committed(tmp_path):
    store = tmp_path / "log.sqlite"
    campaign = campaign_of(store)
    campaign.run(max_scenarios=100, progress=False)
    pages = campaign._log._db.execute("PRAGMA page_count").fetchone()[0]
    campaign._log._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(OSError, match=r"writing scenarios 100 to .* full"):
        campaign.run(max_scenarios=2_000, progress=False)
    campaign.close()
    assert safety.estimate(store).scenarios == 100
    assert run(campaign_of(store), 200).summary() == run(campaign_of(), 200).summary()


@pytest.mark.parametrize(
    ("actions", "surrogate", "message"),
    [
        (lambda s: [0.5, 0.4, 0.0, 0.0], lambda s, a: 0.1, "sum to 0.9"),
        (lambda s: [1.5, -0.5, 0.0, 0.0], lambda s, a: 0.1, "action 1 has probability -0.5"),
        (lambda s: [0.25] * 4, lambda s, a: np.nan, "surrogate 0 returned nan"),
        (lambda s: [0.25] * 4, lambda s, a: 1.5, "expected a probability in"),
        (lambda s: 0.25, lambda s, a: 1.5, "one probability per action"),
        (lambda s: [0.25] * 4, lambda s, a: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_wrong_proposal_names_the_scenario(actions, surrogate, message):
    proposal = safety.AdversarialProposal(actions, [surrogate])
    campaign = safety.Campaign(Corridor(), proposal)
    with pytest.raises(safety.ProposalError, match=r"scenario 0, decision 0: .*" + message):
        campaign.run(max_scenarios=10, progress=False)
    assert campaign.scenarios == 0
    with pytest.raises(safety.ProposalError, match="before scenario 0, .*" + message):
        safety.Campaign(CHAIN, proposal).run(max_scenarios=10, progress=False)


def test_a_wrong_proposal_in_a_worker_names_the_scenario():
    campaign = safety.Campaign(
        Corridor(), safety.AdversarialProposal(Halves(), [Tenth()]), executor=1
    )
    with pytest.raises(safety.ProposalError, match=r"scenario 0, decision 0: .*sum to 0.9"):
        campaign.run(max_scenarios=10, progress=False)


class Halves:
    version = "halves"

    def __call__(self, state):
        return [0.5, 0.4, 0.0, 0.0]


class Tenth:
    version = "tenth"

    def __call__(self, state, a):
        return 0.1


def test_a_proposal_that_turns_wrong_later_keeps_what_was_done():
    def actions(state):
        return CHAIN.actions(state) if state[0] > 1 else [0.3] * 4

    campaign = safety.Campaign(Corridor(), safety.AdversarialProposal(actions, [CHAIN.surrogate]))
    with pytest.raises(safety.ProposalError, match=r"scenario \d+, decision \d+: .*sum to 1.2"):
        campaign.run(max_scenarios=1_000, progress=False)
    assert campaign.scenarios > 0


def test_adapted_campaigns_resume_and_improve(tmp_path):
    poor = proposal_of(CHAIN, Distorted(CHAIN, 0.15), Distorted(CHAIN, 1.0), mixture=[0.95, 0.05])
    adapt = safety.Adaptation((300, 600))

    def campaign(store):
        return safety.Campaign(CHAIN, poor, store, 3, adapt=adapt)

    whole = run(campaign(tmp_path / "whole.sqlite"), 1_600)
    for n in (250, 450, 601, 1_600):
        parts = run(campaign(tmp_path / "parts.sqlite"), n)
    assert whole.summary() == parts.summary()
    assert (whole.scenarios, whole.used) == (1_600, 1_000)
    assert abs(whole.value - CHAIN.rate) < 4 * whole.standard_error
    fixed = safety.Campaign(CHAIN, poor, seed=3).run(max_scenarios=1_000, progress=False)
    raw = [r.standard_error * np.sqrt(r.variance_reduction) for r in (whole, fixed)]
    assert raw[0] < 0.8 * raw[1]
    replayed = campaign(tmp_path / "parts.sqlite")
    assert replayed.replay(400).same
    assert replayed.replay(1_000).same


def test_wrong_arguments():
    with pytest.raises(TypeError, match="simulator"):
        safety.Campaign(3, proposal_of(CHAIN))
    with pytest.raises(TypeError, match="proposal"):
        safety.Campaign(CHAIN, "proposal")
    with pytest.raises(TypeError, match=r"stop must be a RelativeHalfWidth, .* got 0.3"):
        campaign_of().run(0.3)
    with pytest.raises(TypeError, match="executor"):
        safety.Campaign(CHAIN, proposal_of(CHAIN), executor=1.5)
    with pytest.raises(ValueError, match="timeout"):
        safety.Campaign(CHAIN, proposal_of(CHAIN), timeout=-1)
    with pytest.raises(ValueError, match="rising"):
        safety.Adaptation((200, 100))
    campaign = campaign_of()
    with pytest.raises(safety.LogError, match="no scenario yet"):
        campaign.estimate()
    campaign.run(max_scenarios=20, progress=False)
    with pytest.raises(ValueError, match="unknown control 'valu'; did you mean 'value'"):
        campaign.estimate("valu")
    with pytest.raises(TypeError, match="pickled"):
        safety.Campaign(lambda batch: None, proposal_of(CHAIN), executor=1).run(max_scenarios=5)
