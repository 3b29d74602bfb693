"""How much the tests here try: a few examples in a test run, many in each of the runs of `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile(
    "fuzz", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("fuzz" if os.environ.get("PUSHROD_FUZZ") else "quick")
