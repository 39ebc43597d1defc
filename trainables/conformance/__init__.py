"""Checks that a part of a user keeps the promises that the built-in parts keep; `qar check` runs them."""

from trainables.conformance.finding import Finding

__all__ = ["Finding"]
