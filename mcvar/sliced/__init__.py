"""Sliced Wasserstein distances: averages of one-dimensional distances over directions.

`sliced_wasserstein` estimates one distance with an error bar, and is what to use unless one of
these fits better: `sliced_wasserstein_distance` replaces POT's function number for number,
`SlicedReference` compares many clouds with one, `pairwise_sliced_wasserstein` many with each
other, `max_sliced_wasserstein` finds the direction of the greatest distance, and
`sliced_wasserstein_gaussian` needs moments only. `two_sample_test` says whether two clouds could
come from one law. For optimisation: `sliced_wasserstein_gradient`, `gradient_flow`, `barycenter`,
`ReservoirSliced`. `StreamingSliced` takes clouds that come in batches.
"""

from mcvar.sliced.directions import directions
from mcvar.sliced.distance import sliced_wasserstein
from mcvar.sliced.flow import GradientFlow, barycenter, gradient_flow
from mcvar.sliced.gaussian import sliced_wasserstein_gaussian
from mcvar.sliced.gradient import SlicedGradient, sliced_wasserstein_gradient
from mcvar.sliced.maximum import MaxSlicedWasserstein, max_sliced_wasserstein
from mcvar.sliced.pairwise import pairwise_sliced_wasserstein
from mcvar.sliced.pot_compatible import (
    max_sliced_wasserstein_distance,
    sliced_wasserstein_distance,
)
from mcvar.sliced.reference import SlicedReference
from mcvar.sliced.reservoir import ReservoirSliced
from mcvar.sliced.result import SlicedWasserstein
from mcvar.sliced.streaming import StreamingSliced
from mcvar.sliced.two_sample import TwoSampleTest, two_sample_test

__all__ = [
    "GradientFlow",
    "MaxSlicedWasserstein",
    "ReservoirSliced",
    "SlicedGradient",
    "SlicedReference",
    "SlicedWasserstein",
    "StreamingSliced",
    "TwoSampleTest",
    "barycenter",
    "directions",
    "gradient_flow",
    "max_sliced_wasserstein",
    "max_sliced_wasserstein_distance",
    "pairwise_sliced_wasserstein",
    "sliced_wasserstein",
    "sliced_wasserstein_distance",
    "sliced_wasserstein_gaussian",
    "sliced_wasserstein_gradient",
    "two_sample_test",
]
