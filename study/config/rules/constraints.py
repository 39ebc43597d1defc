"""Constraints on results: bounds on metrics that the sampler respects in addition to the two objectives."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from trainables.choices import choose

METRICS = (
    "val_accuracy",
    "float_val_accuracy",
    "bits_per_weight",
    "index_bits_per_weight",
    "entropy_bits_per_weight",
    "artifact_bytes",
)
"""Metrics that a constraint may bound: numbers that every trial with its full budget has."""

SAMPLERS_WITH_CONSTRAINTS = ("tpe", "optuna-tpe", "nsga2", "gp")
"""Samplers that respect constraints."""

_FORM = re.compile(r"\s*(?P<metric>\w+)\s*(?P<relation>>=|<=)\s*(?P<bound>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric of a trial's last epoch.

    Attributes:
        metric: name of the metric, one of `METRICS`.
        relation: whether the bound is the least or the greatest allowed value.
        bound: the bound, in the unit of the metric.
    """

    metric: str
    relation: Literal[">=", "<="]
    bound: float

    @classmethod
    def parse(cls, text: str, name: str = "constraints") -> "Constraint":
        """Return the constraint written as `METRIC >= NUMBER` or `METRIC <= NUMBER`.

        Args:
            text: the constraint.
            name: key of the configuration that holds it, for messages.

        Raises:
            ValueError: the text has another form or names an unknown metric; one line.
        """
        form = _FORM.fullmatch(text)
        if form is None:
            raise ValueError(
                f"{name} must be METRIC >= NUMBER or METRIC <= NUMBER, got {text!r}; for example 'val_accuracy >= 0.9'"
            )
        choose(f"metric in {name}", form["metric"], METRICS)
        return cls(form["metric"], ">=" if form["relation"] == ">=" else "<=", float(form["bound"]))

    def __str__(self) -> str:
        """Return the constraint as `parse` reads it."""
        return f"{self.metric} {self.relation} {self.bound:g}"

    def violation(self, metrics: dict[str, Any]) -> float:
        """Return the amount by which metrics violate the constraint: above 0 if they do, infinite without the metric.

        The amount is relative to the bound (absolute if the bound is 0), since samplers add the violations of all
        constraints, which have different units.

        Args:
            metrics: metrics of a trial's last epoch, by name.
        """
        value = metrics.get(self.metric)
        if value is None or value != value:
            return float("inf")
        missed = self.bound - value if self.relation == ">=" else value - self.bound
        return float(missed / (abs(self.bound) or 1.0))


def check(constraints: list[str], sampler: str) -> None:
    """Check that constraints can be read and that the sampler respects constraints.

    Args:
        constraints: constraints as text.
        sampler: name of the sampler.

    Raises:
        ValueError: a constraint can't be read, or the sampler ignores constraints; one line.
    """
    for text in constraints:
        Constraint.parse(text)
    if constraints and sampler not in SAMPLERS_WITH_CONSTRAINTS:
        raise ValueError(
            f"sampler must be one of {list(SAMPLERS_WITH_CONSTRAINTS)} where there are constraints, got {sampler!r}; "
            "choose one of them or leave constraints out"
        )
