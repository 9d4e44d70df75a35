"""Safety campaigns: proposals, simulators, logs on disk, tables, reports, rates."""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import mcvar
from mcvar import safety
from mcvar.safety import overtaking
from tests.fuzz.outcome import all_finite, outcome
from tests.fuzz.profile import fuzz, slow_fuzz
from tests.fuzz.strategies import ODD, arrays, mostly

HOSTILE = st.one_of(
    st.sampled_from(
        ["<script>alert(1)</script>", "'; DROP TABLE scenario; --", "&amp;<b>", '" onload="x',
         "]]>", "\\", "\u202e", "e\u0301", "$\\frac{", "{0}", "%s", "a\nb", ""]
    ),
    st.text(max_size=12).filter(lambda text: "\0" not in text),
)  # fmt: skip
PROBABILITIES = mostly(
    st.sampled_from([[0.9, 0.1], [0.5, 0.5], [1.0, 0.0], [0.25] * 4]),
    st.sampled_from(
        [[0.9, 0.2], [-0.1, 1.1], [np.nan, 1.0], [], [[0.5, 0.5]], None, "half", 1.0, [1e300, 0.0]]
    ),
)
CHALLENGES = mostly(
    st.sampled_from([0.0, 0.5, 1.0, 1e-3, 1e-300]),
    st.sampled_from([-0.1, 1.1, np.nan, np.inf, None, "much", [0.5], [0.5] * 3]),
)
CONTROLS = mostly(st.sampled_from(["auto", "none", "global", "stratified", "ordinal", "value"]))


class Walk:
    """One scenario at a time: a walk that crashes now and then, and misbehaves as told."""

    version = "walk 1"

    def __init__(self, trouble=None, first=(0.0, 1.0), names=("a", "b"), steps=3):
        self.trouble, self.first, self.steps = trouble, first, steps
        self.state_names = names

    def reset(self, rng):
        self._rng, self._t = rng, 0
        return self.first

    def step(self, action):
        self._t += 1
        if self.trouble is not None and self._rng.random() < 0.3:
            return self.trouble
        crash = bool(action == 1 and self._rng.random() < 0.3)
        return (float(self._t), 1.0), crash or self._t == self.steps, crash


TROUBLES = st.sampled_from(
    [None] * 8
    + [((np.nan, 1.0), False, False), ((1.0,), True, False), ((1.0, 2.0), True, "crash")]
    + [((1.0, 2.0), False, True), 3, (), ("a", "b", "c"), ((1.0, np.inf), True, False)]
    + [(((1.0, 2.0),), True, False), ((1.0, 2.0), 1, 0), ((1.0, 2.0), True, True, "soon")]
    + [((1.0, 2.0), True, False, -np.inf), ((1e308, -1e308), True, True, np.nan)]
)


@st.composite
def proposals(draw):
    """Proposals with surrogates that are mostly in order."""
    p, q = draw(PROBABILITIES), [draw(CHALLENGES) for _ in range(draw(st.integers(0, 2)))]
    surrogates = [
        lambda state, a, value=value: (
            value * (np.asarray(a) == 1) if isinstance(value, float) else value
        )
        for value in q
    ]
    options = {}
    if draw(st.integers(0, 4)) == 0:
        options["epsilon"] = draw(mostly(st.sampled_from([0.0, 0.5, 1.0, [0.5], [0.1, 0.2]])))
    if draw(st.integers(0, 4)) == 0:
        options["mixture"] = draw(mostly(st.sampled_from([[1.0], [0.5, 0.5], [0.5, 0.6], None])))
    if draw(st.integers(0, 4)) == 0:
        options["defensive"] = draw(mostly(st.sampled_from([0.0, 0.5, 1e-300, 0.999])))
    if draw(st.integers(0, 4)) == 0:
        options["threshold"] = draw(mostly(st.sampled_from([0.0, 0.2, 0.999])))
    return outcome(
        safety.AdversarialProposal, lambda state: p, draw(mostly(st.just(surrogates))), **options
    )


def _check_rate(rate):
    if rate is None:
        return
    repr(rate)
    rate.summary()
    numbers = np.isfinite([rate.value, rate.standard_error]).all()
    assert numbers or rate.flags, rate
    low, high = rate.confidence_interval(0.9)
    assert 0 <= low <= high <= 1 or not numbers, rate


@given(proposal=proposals(), data=st.data())
@fuzz
def test_campaign(proposal, data):
    if proposal is None:
        return
    simulator = Walk(
        data.draw(TROUBLES),
        data.draw(mostly(st.just((0.0, 1.0)), arrays(2))),
        data.draw(mostly(st.just(("a", "b")), st.lists(HOSTILE, max_size=3))),
    )
    options = {}
    if data.draw(st.integers(0, 3)) == 0:
        after = data.draw(mostly(st.sampled_from([(10,), (5, 15), (15, 5), ()])))
        options["adapt"] = outcome(
            safety.Adaptation,
            after,
            mixture=data.draw(st.booleans()),
            epsilon=data.draw(st.booleans()),
        )
    campaign = outcome(
        safety.Campaign,
        data.draw(mostly(st.just(simulator))),
        proposal,
        seed=data.draw(mostly(st.integers(0, 99))),
        executor=data.draw(mostly(st.none(), st.sampled_from([0, -1, 1.5, "two", True, []]))),
        **options,
    )
    if campaign is None:
        return
    stop = None
    if data.draw(st.booleans()):
        stop = outcome(
            safety.RelativeHalfWidth,
            data.draw(mostly(st.sampled_from([0.3, 1e-9, 1e9]))),
            data.draw(mostly(st.sampled_from([0.9, 0.5]))),
            data.draw(mostly(st.sampled_from([2, 10]))),
            data.draw(mostly(st.sampled_from([0, 5]))),
            data.draw(mostly(st.sampled_from([1.0, 4.0]))),
        )
    most = data.draw(mostly(st.sampled_from([2, 3, 30, 60])))
    if isinstance(most, int | float | np.number) and most > 1000:
        most = 60
    rate = outcome(campaign.run, stop, most, progress=False)
    _check_rate(rate)
    if campaign.scenarios >= 2:
        control = data.draw(CONTROLS)
        _check_rate(
            outcome(
                campaign.estimate,
                control,
                confidence=data.draw(mostly(st.sampled_from([0.9, 0.5]))),
                strata=data.draw(mostly(st.sampled_from(["first", "critical steps"]))),
            )
        )
        found = outcome(campaign.replay, data.draw(mostly(st.integers(0, 70))))
        assert found is None or found.record.scenario == found.logged.scenario
    if rate is not None and data.draw(st.integers(0, 4)) == 0:
        outcome(campaign.check_threshold, 20, data.draw(mostly(st.just(0.1))))
    campaign.close()


@given(data=st.data(), proposal=proposals())
@fuzz
def test_batch(data, proposal):
    """A batch, driven by a simulator that gets its arguments wrong."""
    if proposal is None:
        return
    numbers = data.draw(mostly(st.just([0, 1, 2])))
    batch = outcome(safety.Batch, proposal, data.draw(mostly(st.just(1))), numbers)
    if batch is None:
        return
    rows = data.draw(mostly(st.sampled_from([None, [0, 1, 2]]), st.one_of(ODD, st.just([7]))))
    outcome(batch.decide, data.draw(arrays(3, 2)), rows)
    outcome(batch.decide, np.zeros((3, 2)), None)
    outcome(
        batch.finish,
        data.draw(mostly(st.just([0, 1]), st.one_of(ODD, st.just([7])))),
        data.draw(mostly(st.sampled_from([[True, False], True]))),
        data.draw(arrays(2, 2)),
        data.draw(mostly(st.sampled_from([np.nan, 1.0, [1.0, np.inf]]))),
    )
    assert [record.scenario for record in batch.records()] == batch.scenarios.tolist()


@contextlib.contextmanager
def _folder():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _logged(path, seed=1, n=12, names=("a", "b")):
    proposal = safety.AdversarialProposal(
        lambda state: [0.7, 0.3], [lambda state, a: 0.5 * (a == 1)], epsilon=0.3
    )
    campaign = safety.Campaign(Walk(names=names), proposal, path, seed)
    rate = campaign.run(max_scenarios=n, progress=False)
    return campaign, rate


@given(data=st.data())
@slow_fuzz
def test_damaged_logs(data):
    """Bytes of a log are overwritten, cut off or repeated: sound numbers, or a clear error."""
    with _folder() as folder:
        path = folder / "log.sqlite"
        campaign, rate = _logged(path)
        campaign.close()
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            where = data.draw(st.integers(0, len(content) - 1))
            content[where] = data.draw(st.integers(0, 255))
        cut = data.draw(st.sampled_from([0, 0, 0, 0, 1, 100, 4096, len(content)]))
        path.write_bytes(content[: len(content) - cut])
        again = None
        with contextlib.suppress(OSError):  # SQLite may take damage for a disk that fails
            again = outcome(safety.estimate, path)
        if again is not None:
            assert (again.value, again.scenarios) == (rate.value, rate.scenarios)


_COLUMNS = (
    "proposal", "component", "status", "crash", "decisions", "states", "actions", "taken",
    "time_to_collision", "seconds", "error", "checksum", "id",
)  # fmt: skip
_UPDATES = {name: f"UPDATE scenario SET {name} = ? WHERE id = ?" for name in _COLUMNS}


@given(data=st.data())
@slow_fuzz
def test_rows_written_by_others(data):
    """A log whose rows were changed by hand, past the checksums."""
    with _folder() as folder:
        path = folder / "log.sqlite"
        campaign, _ = _logged(path)
        campaign.close()
        column = data.draw(st.sampled_from(_COLUMNS))
        value = data.draw(
            st.sampled_from([None, -1, 0, 3, 2**62, 1.5, "x", "", b"", b"123", float("inf")])
        )
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TRIGGER scenario_UPDATE")
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(_UPDATES[column], (value, 3))
            connection.commit()
        _check_rate(outcome(safety.estimate, path))


@given(data=st.data())
@slow_fuzz
def test_tables(data):
    """A CSV of a log, edited by a user."""
    with _folder() as folder:
        path, table = folder / "log.sqlite", folder / "log.csv"
        campaign, rate = _logged(path, n=6)
        campaign.close()
        safety.export(path, table)
        assert outcome(safety.export, path, folder / "log.txt") is None
        lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
        changed = data.draw(st.integers(0, 5))
        if changed:
            row = data.draw(st.integers(0, len(lines) - 1))
            edits = {
                1: lambda line: "",
                2: lambda line: line[: len(line) // 2] + "\n",
                3: lambda line: line.replace("1", data.draw(HOSTILE)),
                4: lambda line: line.replace("ok", "fine").replace(",", ";", 3),
                5: lambda line: data.draw(HOSTILE) + "\n",
            }
            lines[row] = edits[changed](lines[row])
        with contextlib.suppress(UnicodeEncodeError):
            table.write_text("".join(lines), encoding="utf-8")
        store = folder / "again.sqlite"
        outcome(safety.import_table, table, store)
        if store.exists():
            again = outcome(safety.estimate, store)
            if not changed:
                assert again.value == rate.value
            _check_rate(again)


@given(names=st.lists(HOSTILE, min_size=2, max_size=2))
@settings(fuzz, max_examples=max(fuzz.max_examples // 50, 1))
def test_reports_escape_text(names):
    with _folder() as folder:
        campaign, _ = _logged(folder / "log.sqlite", names=tuple(names))
        outcome(campaign.report, folder / "report.html")
        page = (folder / "report.html").read_text(encoding="utf-8")
        campaign.close()
    assert "<script" not in page.lower()


@given(data=st.data())
@fuzz
def test_counts_and_rates(data):
    counts = mostly(st.integers(0, 100))
    n = data.draw(mostly(st.integers(1, 100)))
    level = data.draw(mostly(st.floats(1e-6, 1 - 1e-6)))
    for interval in (safety.clopper_pearson, safety.wilson):
        found = outcome(interval, data.draw(counts), n, level)
        if found is not None:
            all_finite(*found)
            assert 0 <= found.low <= found.high <= 1
    chain = outcome(
        safety.GapChain,
        data.draw(mostly(st.sampled_from([0.01, 0.5, 0.0, 1.0, 2.0]))),
        data.draw(mostly(st.sampled_from([3, 0]))),
        data.draw(mostly(st.sampled_from([2, 8, 0]))),
        data.draw(mostly(st.sampled_from([5, 0]))),
    )
    if chain is not None:
        assert 0 <= chain.rate <= 1


@given(data=st.data())
@slow_fuzz
def test_overtaking(data):
    def driver(speed, gap, closing_speed):
        return answer[0]  # of a list: such a driver is not compiled

    answer = [
        data.draw(
            mostly(
                st.sampled_from([0.0, -4.0, 1.0, 1, np.float32(0.5)]),
                st.sampled_from([np.nan, np.inf, 1e300, -1e300, None, "brake", [0.0], (1, 2), 1j]),
            )
        )
    ]
    campaign = outcome(
        overtaking.overtaking_campaign,
        data.draw(mostly(st.just(driver))),
        seed=data.draw(mostly(st.integers(0, 9))),
        adapt=data.draw(st.booleans()),
    )
    if campaign is not None:
        _check_rate(outcome(campaign.run, None, 8, progress=False))
    outcome(overtaking.load_driver, data.draw(HOSTILE))
    outcome(overtaking.DriverTable, data.draw(arrays(3, 4)), data.draw(arrays(3)), "a table")
    rate = outcome(
        overtaking.crude_run,
        data.draw(mostly(st.just(driver))),
        data.draw(mostly(st.sampled_from([2, 20]), st.sampled_from([0, -1, 1.5, None, "ten"]))),
        data.draw(mostly(st.just(1))),
        confidence=data.draw(mostly(st.just(0.9))),
        threads=data.draw(mostly(st.just(1), st.sampled_from([0, -1, 1.5, "all"]))),
    )
    _check_rate(rate)


@given(data=st.data(), proposal=proposals())
@fuzz
def test_initial_states(data, proposal):
    if proposal is None:
        return
    states = data.draw(arrays(1000, 2))
    walk = Walk()
    walk.initial_states = lambda rng, n: states
    campaign = outcome(safety.Campaign, walk, proposal, seed=1)
    if campaign is not None:
        _check_rate(outcome(campaign.run, None, 10, progress=False))
        campaign.close()


def test_errors_are_value_errors():
    assert issubclass(safety.LogError, ValueError)
    assert issubclass(safety.ProposalError, ValueError)
    assert issubclass(mcvar.MagnitudeError, ValueError)
