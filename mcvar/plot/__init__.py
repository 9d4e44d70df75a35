"""Pictures of results (extra ``plot``).

Every picture takes the axes to draw on as `ax`, makes a figure where there is none, and returns the
axes. Results have pictures of their own, too: ``estimate.plot()``, ``table.plot()``. Nothing here
opens a window: ``axes.figure.savefig("name.png")`` works on machines without a screen.
"""

from mcvar.plot.curves import convergence
from mcvar.plot.importance import weights
from mcvar.plot.rows import compare, forest, gain
from mcvar.plot.tasks import correlations

__all__ = ["compare", "convergence", "correlations", "forest", "gain", "weights"]
