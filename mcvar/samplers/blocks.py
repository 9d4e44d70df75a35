"""Where blocks of consecutive draws begin and end.

That depends on the position alone: not on the number of workers, on how long the integrand takes or
on how far the run will go. Blocks are small at the start, so that a short run of a slow integrand
has something to share out, and grow with the run, so that a long one does not have millions.
"""

from dataclasses import dataclass

_MOST = 2**18  # draws: some 10 milliseconds of the cheapest integrands


@dataclass(frozen=True)
class Blocks:
    """A block has at most 1/`share` of the draws before it, between two bounds.

    >>> blocks = Blocks(256, 8)
    >>> blocks.at(100), blocks.at(5000)
    ((0, 256), (4608, 5120))
    """

    least: int
    share: int = 1
    most: int = _MOST

    def at(self, position: int) -> tuple[int, int]:
        """Return the first draw of the block at a position, and the one after its last."""
        size = self.least
        if self.least < self.most:
            # Powers of two change at multiples of themselves, so that blocks meet there.
            wanted = 1 << max((position // self.share).bit_length() - 1, 0)
            size = max(self.least, min(self.most, wanted))
        start = position - position % size
        return start, start + size
