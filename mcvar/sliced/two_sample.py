"""two_sample_test(): could two clouds have been drawn from one law?

Under the null hypothesis every relabelling of the pooled points is equally likely, whatever the
law, the statistic and its directions. The pooled points are projected and sorted once: a
permutation then takes one pass over the sorted values a direction.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import as_count, root_entropy
from mcvar._jit.wasserstein import permuted_costs, uniform_pattern
from mcvar._typing import FloatArray, Seed
from mcvar.plot.style import BLUE, ORANGE, axes, tidy
from mcvar.samplers import stream_seed
from mcvar.sliced.design import lay_out
from mcvar.sliced.distance import as_exponent
from mcvar.sliced.labels import aligned
from mcvar.sliced.projection import Cloud, Pair, as_cloud, blocks_of, project, sort_carrying

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TIED = 1e-12  # relative difference of statistics that rounding alone makes


@dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """A permutation test.

    Attributes
    ----------
    statistic : float
        SW_p^p between the clouds, along the directions of the test.
    pvalue : float
        Share of relabellings, the observed one included, with a statistic as large.
    null_distribution : ndarray, shape (n_permutations,)
        Statistics of random relabellings.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> x = np.random.default_rng(1).normal(size=(60, 4))
    >>> found = mcvar.sliced.two_sample_test(x[:30], x[30:], 199, rng=1)
    >>> found.pvalue > 0.05, found.null_distribution.shape
    (True, (199,))
    """

    statistic: float
    pvalue: float
    null_distribution: FloatArray

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the null distribution and the observed statistic.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        """
        ax = axes(ax, figsize=(5.5, 3.5))
        ax.hist(self.null_distribution, bins="auto", color=BLUE, alpha=0.6, label="relabelled")
        ax.axvline(self.statistic, color=ORANGE, label=f"observed, p = {self.pvalue:.3g}")
        ax.set(xlabel="statistic", ylabel="relabellings")
        ax.legend(frameon=False)
        return tidy(ax)


def two_sample_test(
    x: Any,
    y: Any,
    n_permutations: int = 999,
    *,
    p: float = 2,
    n: int = 128,
    method: str = "auto",
    rng: Seed = None,
) -> TwoSampleTest:
    """Return the p-value of the hypothesis that two clouds were drawn from one law.

    Parameters
    ----------
    x, y : array_like, shapes (n_x, d) and (n_y, d)
        Independent draws, at least two of each.
    n_permutations : int
        Random relabellings; the least p-value is 1/(n_permutations + 1).
    p : float
        Exponent, at least 1.
    n : int
        Directions.
    method : str
        How directions are made, as in `mcvar.sliced_wasserstein`.
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).

    Returns
    -------
    TwoSampleTest
        ``statistic``, ``pvalue``, ``null_distribution``, ``plot()``.

    Raises
    ------
    ValueError, TypeError
        Anything `mcvar.sliced_wasserstein` refuses; a cloud of a single point.

    References
    ----------
    Phipson & Smyth, "Permutation p-values should never be zero", Stat. Appl. Genet. Mol. Biol. 9
    (2010), eq. 2; Wang, Gao & Xie, "Two-sample test using projected Wasserstein distance", ISIT
    2021, for projections as statistics.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(80, 5)), 1.5 * rng.normal(size=(90, 5))
    >>> mcvar.sliced.two_sample_test(x, y, 199, rng=1).pvalue
    0.005
    """
    exponent = as_exponent(p)
    count = as_count("n_permutations", n_permutations)
    pair = Pair(as_cloud("x", x), as_cloud("y", aligned("y", y, x, "x")), exponent)
    n_x, n_y = pair.x.n, pair.y.n
    if min(n_x, n_y) < 2:
        raise ValueError(
            f"a permutation test needs at least two points of each cloud, got {n_x} and {n_y}."
        )
    root = root_entropy(rng)
    design = lay_out("montecarlo" if pair.ndim == 1 else method,
                     1 if pair.ndim == 1 else as_count("n", n), pair.ndim, n_x + n_y)  # fmt: skip
    theta = design.draw(root)
    labels = np.zeros((count + 1, n_x + n_y), np.int64)
    labels[:, :n_x] = 1
    shuffle = np.random.default_rng(stream_seed(root, 1))
    labels[1:] = shuffle.permuted(labels[1:], axis=1)
    pooled = Cloud(np.concatenate([pair.x.columns, pair.y.columns], axis=1))
    i_of, j_of, mass = uniform_pattern(n_x, n_y)
    places = np.arange(n_x + n_y, dtype=np.int32)
    costs = np.zeros(count + 1)
    for part in blocks_of(len(theta), n_x + n_y):
        values = project(pooled, theta[part])
        order = sort_carrying(values, places)
        permuted_costs(values, order, labels, i_of, j_of, mass, exponent, costs)
    costs /= len(theta)
    observed, null = float(costs[0]), costs[1:]
    as_large = int((null >= observed * (1 - _TIED)).sum())
    return TwoSampleTest(observed, (1 + as_large) / (1 + count), null)
