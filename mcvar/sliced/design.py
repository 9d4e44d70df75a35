"""How directions are laid out: independent randomisations of one good set.

The error bar comes from the spread of the randomisations' means, so there are at least eight of
them; in d = 3, where larger sets gain most, three are accepted when directions are few: three
sets of 21 lines beat four of 16 on most shapes by half, and their intervals hold as well. Sizes of
sets differ by one where the number of directions asks for it; the last frame may be cut short.
"""

from dataclasses import dataclass

import numpy as np

from mcvar._checks import known_name
from mcvar._typing import FloatArray
from mcvar.samplers.base import REPLICATES, stream_seed
from mcvar.sliced.directions import KINDS, draw_directions

_GOOD_SIZE = 21  # directions a set, below which d = 3 takes fewer sets instead
_FEWEST = 3
_FEWEST_2D = 6  # errors of equal angles have an arcsine law: intervals from three sets miss 10 %
_LARGEST_BANK_3D = 128  # the spiral takes over, and needs no optimiser
_MOST_LINES = 256


@dataclass(frozen=True)
class Design:
    """Independent sets of directions of one kind in dimension d.

    Attributes
    ----------
    kind : str
        One of the kinds of `mcvar.sliced.directions`.
    d : int
        Dimension.
    sizes : tuple of int
        Directions of each set.
    """

    kind: str
    d: int
    sizes: tuple[int, ...]

    @property
    def replicates(self) -> int:
        """Number of sets."""
        return len(self.sizes)

    @property
    def n(self) -> int:
        """Directions in all."""
        return sum(self.sizes)

    def extends(self, other: "Design") -> bool:
        """Whether the sets of `other` are the first ones of this design."""
        return self.kind == other.kind and self.sizes[: other.replicates] == other.sizes

    def draw(self, root: int, first: int = 0, stream: int = 0) -> FloatArray:
        """Return the sets from number `first` on, one below another, shape (k, d).

        A pure function of the root and the number of the random stream.
        """
        rng = np.random.default_rng(stream_seed(root, 0, stream))
        sizes = self.sizes[first:]
        if self.kind == "montecarlo" or (self.kind == "orthogonal" and max(sizes) == self.d):
            # Independent directions, and whole frames with a last one cut short.
            return draw_directions(sum(sizes), self.d, self.kind, rng)
        return np.concatenate([draw_directions(size, self.d, self.kind, rng) for size in sizes])

    def __str__(self) -> str:
        least, most = min(self.sizes), max(self.sizes)
        size = f"{least}" if least == most else f"{least} to {most}"
        return f"{self.kind}, {self.replicates} sets of {size}"


def independent_design(d: int, n: int) -> Design:
    """Lay out n independent directions."""
    return Design("montecarlo", d, (1,) * n)


def lay_out(method: str, n: int, d: int, points: int | None = None) -> Design:
    """Lay out n directions in dimension d.

    Parameters
    ----------
    method : str
        "auto", or one of the kinds of `mcvar.sliced.directions`.
    n, d : int
        Directions and dimension.
    points : int, optional
        Points of the larger cloud, which decide whether frames are worth their cost.
    """
    known_name("method", method, ("auto", *KINDS))
    if method == "montecarlo" or n < (2 * _FEWEST_2D if d == 2 else 8):
        kind = "montecarlo" if method == "auto" else method
        return Design(kind, d, (1,) * n)
    replicates = REPLICATES
    if d == 3 and n < REPLICATES * _GOOD_SIZE:
        replicates = max(_FEWEST, n // _GOOD_SIZE)
    replicates = min(replicates, n // 2)
    kind = method
    if method == "auto":
        kind = best_kind(n // replicates, d, points)
        if kind == "montecarlo":
            return independent_design(d, n)
    if kind == "orthogonal":
        # Frames beyond the first are independent: each counts as a randomisation. Asked for by
        # name they are whole where two fit, as published, though fewer of them judge the error.
        size = d if method == "orthogonal" and n >= 2 * d else min(d, n // replicates)
        rest = (n % size,) if n % size else ()
        return Design(kind, d, (size,) * (n // size) + rest)
    if kind == "bank":
        replicates = max(replicates, -(-n // _MOST_LINES))
    size, larger = divmod(n, replicates)
    return Design(kind, d, (size + 1,) * larger + (size,) * (replicates - larger))


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
