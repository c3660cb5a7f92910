"""How many examples a test of Hypothesis has that wants more or fewer than the others."""

from collections.abc import Collection

from hypothesis import HealthCheck, settings

USUAL, FEWEST = 100, 5
"""Examples of a test that says nothing, and those that no profile goes below."""


def examples(many: int = USUAL, but: Collection[HealthCheck] = ()) -> settings:
    """`many` examples where a usual test has 100, in proportion where the profile gives that one fewer.

    `but` are the health checks that the test does without.
    """
    share = many * settings.default.max_examples // USUAL
    return settings(max_examples=max(min(many, FEWEST), share), suppress_health_check=but)
