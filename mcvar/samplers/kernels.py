"""When compiled functions take over from NumPy in making points."""

_FREE_COORDINATES = 2**26  # NumPy makes them in less than the time that loading Numba takes
_made = 0  # in this process


def kernels_pay(coordinates: int) -> bool:
    """Whether this process has made so many coordinates that loading a kernel pays.

    Either way the points have the same bits.
    """
    global _made
    _made += coordinates
    return _made > _FREE_COORDINATES
