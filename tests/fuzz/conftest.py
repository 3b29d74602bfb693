"""The number of examples: the usual one in a test run, and many with `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

if os.environ.get("PUSHROD_FUZZ"):
    settings.register_profile(
        "fuzz", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    settings.load_profile("fuzz")
