"""SUMO and highway-env, where they are installed."""

import importlib.util

import numpy as np
import pytest

from mcvar import safety
from mcvar._jit import overtaking as kernel
from mcvar.exceptions import MissingExtraError

SUMO = importlib.util.find_spec("libsumo") is not None
HIGHWAY = importlib.util.find_spec("highway_env") is not None


@pytest.mark.skipif(not SUMO, reason="libsumo is not installed (extra sumo)")
def test_the_sumo_study_end_to_end(tmp_path):
    from mcvar.safety.sumo import sumo_campaign

    alone = sumo_campaign(tmp_path / "one.sqlite", seed=1)
    rate = alone.run(safety.RelativeHalfWidth(0.3), 1_000, progress=False)
    # 1.5e-4 by a longer campaign; the crude check is in benchmarks/README.md.
    low, high = rate.confidence_interval(0.999)
    assert low < 1.45e-4 < high
    assert rate.scenarios == 300
    assert alone.replay(130).same
    assert alone.replay(31).same
    in_worker = sumo_campaign(tmp_path / "two.sqlite", seed=1, executor=1)
    in_worker.run(max_scenarios=100, progress=False)
    first = [r.states for r in _records(tmp_path / "one.sqlite", 100)]
    again = [r.states for r in _records(tmp_path / "two.sqlite", 100)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def _records(store, n):
    from mcvar.safety.log import Log

    log = Log(store)
    records = list(log.read(0, n))
    log.close()
    return records


@pytest.mark.skipif(not HIGHWAY, reason="highway-env is not installed (extra highway)")
@pytest.mark.filterwarnings("ignore")
def test_highway_env_moves_as_the_scenario_does(proposal):
    from mcvar.safety.highway import HighwayOvertaking

    campaign = safety.Campaign(HighwayOvertaking(), proposal, seed=1)
    rate = campaign.run(max_scenarios=20, progress=False)
    assert rate.failures == 0
    assert campaign.replay(7).same
    logged = campaign.replay(7).logged
    states = logged.states
    # Gaps follow from speeds, whoever computes them.
    moved = np.diff(states[:, kernel.GAP])
    speeds = 0.5 * (states[1:] + states[:-1])
    expected = speeds[:, kernel.BV_SPEED] - speeds[:, kernel.SPEED]
    np.testing.assert_allclose(moved, expected, atol=3.0)


@pytest.mark.skipif(SUMO, reason="libsumo is installed")
def test_without_sumo_the_extra_is_named():
    from mcvar.safety.sumo import sumo_campaign

    with pytest.raises(MissingExtraError, match="sumo"):
        sumo_campaign()
