"""How directions are laid out: independent randomisations of one good set.

The error bar comes from the spread of the randomisations' means, so there are at least eight of
them; in d <= 3, where larger sets gain most, three are accepted when directions are few: three
sets of 21 lines beat four of 16 on most shapes by half, and their intervals hold as well.
"""

from dataclasses import dataclass

import numpy as np

from mcvar._checks import known_name
from mcvar._typing import FloatArray
from mcvar.samplers.base import REPLICATES, stream_seed
from mcvar.sliced.directions import KINDS, draw_directions

_GOOD_SIZE = 21  # directions a set, below which d <= 3 takes fewer sets instead
_FEWEST = 3
_LARGEST_BANK_3D = 128  # the spiral takes over, and needs no optimiser
_MOST_LINES = 256


@dataclass(frozen=True)
class Design:
    """`replicates` independent sets of `size` directions of one kind in dimension d."""

    kind: str
    d: int
    replicates: int
    size: int

    @property
    def n(self) -> int:
        """Directions in all."""
        return self.replicates * self.size

    def draw(self, root: int, first: int, last: int) -> FloatArray:
        """Return sets first .. last − 1, shape (sets · size, d): a pure function of the root."""
        return np.concatenate(
            [
                draw_directions(
                    self.size, self.d, self.kind, np.random.default_rng(stream_seed(root, 0, r))
                )
                for r in range(first, last)
            ]
        )


def lay_out(method: str, n: int, d: int) -> Design:
    """Lay out at most n directions in dimension d.

    Parameters
    ----------
    method : str
        "auto", or one of the kinds of `mcvar.sliced.directions`.
    """
    known_name("method", method, ("auto", *KINDS))
    if method == "montecarlo" or n < 8:
        kind = "montecarlo" if method == "auto" else method
        return Design(kind, d, n, 1)
    replicates = REPLICATES
    if d <= 3 and n < REPLICATES * _GOOD_SIZE:
        replicates = max(_FEWEST, n // _GOOD_SIZE)
    replicates = min(replicates, n // 2)
    size = n // replicates
    kind = method
    if method == "auto":
        kind = best_kind(size, d)
    if kind == "orthogonal":
        # Frames beyond the first are independent: each counts as a randomisation. Asked for by
        # name they are whole where two fit, as published, though fewer of them judge the error.
        size = d if method == "orthogonal" and n >= 2 * d else min(d, size)
    elif kind == "bank":
        size = min(size, _MOST_LINES)
    return Design(kind, d, n // size, size)


def best_kind(size: int, d: int, points: int | None = None) -> str:
    """Return the kind of set that is best for `size` directions in dimension d.

    `points` is the size of the larger cloud. Orthogonalising k directions takes some k d / 2 ns
    each, and projecting and sorting n points by hand n (170 + 0.2 d) ns: frames that cost more than
    a sixth of that are not worth their gain beside a control, and directions are independent.
    """
    if d == 2:
        return "spiral"
    if d == 3:
        return "bank" if size <= _LARGEST_BANK_3D else "spiral"
    # Fewer lines than about d²/8 cannot balance the quadratic forms any better than a frame.
    if size > d and size >= d * d / 8:
        return "bank"
    if points is not None and d * min(size, d) > points * (50 + 0.06 * d):
        return "montecarlo"
    return "orthogonal"
