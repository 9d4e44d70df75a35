"""How many examples: few and always the same by default, thousands with ``MCVAR_FUZZ=full``."""

import os

from hypothesis import HealthCheck, settings

_WANTED = os.environ.get("MCVAR_FUZZ", "quick")
_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
settings.register_profile("mcvar quick", max_examples=10, derandomize=True, **_COMMON)
settings.register_profile("mcvar full", max_examples=2000, print_blob=True, **_COMMON)

#: Decorator of a fuzz test.
fuzz = settings.get_profile(f"mcvar {_WANTED}")

#: The same where an example takes a tenth of a second and more.
slow_fuzz = settings(fuzz, max_examples=fuzz.max_examples // 5)
