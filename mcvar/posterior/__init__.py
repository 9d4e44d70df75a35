"""Posterior summaries from draws and scores that a sampler left behind."""

from mcvar.posterior.summarise import summary
from mcvar.posterior.table import PosteriorSummary

__all__ = ["PosteriorSummary", "summary"]
