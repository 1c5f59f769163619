"""Settings of the property-based tests: the same examples in every run, no deadline on a slow machine."""

from hypothesis import HealthCheck, settings


def law(examples: int):
    """A law checked on `examples` examples."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        # A law suite runs the inherited tests once per class, on purpose.
        suppress_health_check=[HealthCheck.differing_executors],
    )
