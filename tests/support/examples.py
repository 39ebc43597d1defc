"""Numbers of examples of properties whose examples take long."""

from hypothesis import settings

THOROUGH = 100
"""Examples of a property that says no number of its own, in `make test-all`."""


def examples(number: int) -> settings:
    """Return settings with so many examples in `make test-all`, and with a share of them in `make test`."""
    assert settings.default is not None
    return settings(max_examples=max(1, round(number * settings.default.max_examples / THOROUGH)))
