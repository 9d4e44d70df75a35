"""The overtaking study: everything set for evaluating one driver."""

from concurrent.futures import Executor
from pathlib import Path

from mcvar.safety.adapt import Adaptation
from mcvar.safety.campaign import Campaign
from mcvar.safety.overtaking.drivers import Driver
from mcvar.safety.overtaking.identify import identify_driver
from mcvar.safety.overtaking.scenario import Overtaking
from mcvar.safety.overtaking.surrogate import overtaking_proposal

PILOT = 100  # scenarios after which the driver is identified


def overtaking_campaign(
    driver: Driver | str,
    store: str | Path | None = None,
    seed: int = 0,
    executor: int | Executor | None = None,
    *,
    adapt: bool = True,
    timeout: float | None = None,
) -> Campaign:
    """Return a campaign that evaluates `driver` in the overtaking scenario.

    Parameters
    ----------
    driver : callable or str
        As of `Overtaking`.
    store, seed, executor, timeout
        As of `Campaign`.
    adapt : bool
        Whether a surrogate is identified from the first hundred scenarios, which are then spent.
        Without it only drivers like the registered surrogates are evaluated in few scenarios.

    Examples
    --------
    >>> from mcvar import safety
    >>> from mcvar.safety.overtaking import overtaking_campaign
    >>> def careful(speed, gap, closing_speed):
    ...     return min(0.3 * (gap - 3 - 1.5 * speed) - closing_speed, 1.0)
    >>> campaign = overtaking_campaign(careful, seed=1)
    >>> campaign.scenarios
    0
    """
    adaptation = Adaptation((PILOT,), identify_driver, mixture=False) if adapt else None
    return Campaign(
        Overtaking(driver),
        overtaking_proposal(),
        store,
        seed,
        executor,
        adapt=adaptation,
        timeout=timeout,
    )
