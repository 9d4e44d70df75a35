"""How many examples: few and always the same by default, thousands with ``MCVAR_FUZZ=full``."""

import os

from hypothesis import HealthCheck, settings

from hypothesis import Phase

PH = (Phase.generate,)
_WANTED = os.environ.get("MCVAR_FUZZ", "quick")
_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
settings.register_profile("mcvar quick", max_examples=10, derandomize=True, **_COMMON)
settings.register_profile(
    "mcvar full",
    max_examples=int(os.environ.get("N", "2000")),
    print_blob=True,
    phases=PH,
    **_COMMON,
)

#: Decorator of every fuzz test.
fuzz = settings.get_profile(f"mcvar {_WANTED}")
