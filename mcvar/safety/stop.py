"""When a campaign has seen enough."""

from dataclasses import dataclass

from mcvar._checks import as_count, as_number
from mcvar.safety.flags import FEW_CRASHES
from mcvar.safety.rate import CrashRate


@dataclass(frozen=True)
class RelativeHalfWidth:
    """Stop when half the interval is at most `target` times the rate.

    A rule that looks after every scenario stops when luck makes the error bar look small. This
    one looks after `least` scenarios and whenever their number has doubled, wants `crashes` of
    them, and while the tail of the weights forbids to trust the interval it wants one that is
    `margin` times narrower: an error bar too small by that factor still holds what was asked for.

    Parameters
    ----------
    target : float
    confidence : float
        Level of the interval.
    least : int
        Scenarios before the first look.
    crashes : int
        Least number of crashes.
    margin : float
        By which an interval must be narrower while it is flagged "heavy-tail".

    References
    ----------
    Yang, Feng, Feng & Liu (2022) stop at 0.3 with 90 %.

    Examples
    --------
    >>> stop = RelativeHalfWidth(0.3)
    >>> [stop.next_look(n) for n in (0, 200, 201, 400)]
    [200, 400, 400, 800]
    """

    target: float
    confidence: float = 0.90
    least: int = 200
    crashes: int = FEW_CRASHES
    margin: float = 4.0

    def __post_init__(self) -> None:
        if not as_number("target", self.target) > 0:
            raise ValueError(f"target must be positive, got {self.target!r}.")
        if not 0 < as_number("confidence", self.confidence) < 1:
            raise ValueError(f"confidence must lie in (0, 1), got {self.confidence!r}.")
        as_count("least", self.least, 2)
        as_count("crashes", self.crashes, 0)
        if not as_number("margin", self.margin) >= 1:
            raise ValueError(f"margin must be at least 1, got {self.margin!r}.")

    def next_look(self, n: int) -> int:
        """Return the number of scenarios after which to look next, more than `n`."""
        look = self.least
        while look <= n:
            look *= 2
        return look

    def is_look(self, n: int) -> bool:
        """Whether `n` scenarios are a number to look at."""
        return n > 0 and self.next_look(n - 1) == n

    def met(self, rate: CrashRate) -> bool:
        """Whether `rate` is good enough."""
        target = self.target / self.margin if rate.flagged("heavy-tail") else self.target
        return (
            rate.used >= self.least
            and rate.crashes >= self.crashes
            and rate.relative_half_width <= target
        )
