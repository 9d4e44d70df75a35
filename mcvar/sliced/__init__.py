"""Sliced Wasserstein distances."""
from mcvar.sliced.directions import directions
from mcvar.sliced.distance import sliced_wasserstein
