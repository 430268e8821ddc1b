"""How many cases: a few hundred with the other tests, many with `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

# Examples are drawn anew in each long run, and are the same ones in each short run.
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
QUIET = {
    "deadline": None,  # a busy machine is no failure
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("short", derandomize=True, database=None, **QUIET)
settings.register_profile("fuzz", print_blob=True, **QUIET)


def cases(short: int, long: int) -> settings:
    """RETURNS (settings): For a test that tries so many cases."""
    profile = settings.get_profile("fuzz" if LONG else "short")
    return settings(profile, max_examples=long if LONG else short)
