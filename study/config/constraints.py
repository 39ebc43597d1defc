"""Constraints on results: what a study asks of its trials besides its two objectives."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from trainables.families import choose

METRICS = (
    "val_accuracy",
    "float_val_accuracy",
    "bits_per_weight",
    "index_bits_per_weight",
    "entropy_bits_per_weight",
    "artifact_bytes",
)
"""Metrics that a constraint may be on: numbers that every trial with its full budget has."""

SAMPLERS_WITH_CONSTRAINTS = ("tpe", "optuna-tpe", "nsga2", "gp")

_FORM = re.compile(r"\s*(?P<metric>\w+)\s*(?P<relation>>=|<=)\s*(?P<bound>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric of a trial's last epoch, in the metric's own unit."""

    metric: str
    relation: Literal[">=", "<="]
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Reads `METRIC >= NUMBER` or `METRIC <= NUMBER`; raises ValueError, one line, if it is anything else."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise ValueError(
                f"constraints must be METRIC >= NUMBER or METRIC <= NUMBER, got {text!r}; "
                "for example 'val_accuracy >= 0.9'"
            )
        choose("metric in constraints", form["metric"], METRICS)
        return cls(form["metric"], ">=" if form["relation"] == ">=" else "<=", float(form["bound"]))

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.bound:g}"

    def violation(self, metrics: dict[str, Any]) -> float:
        """By how much it is missed: above 0 if it is, infinite if the trial did not get as far as to have the metric.

        A share of the bound (absolute if that is 0): samplers add up those of all constraints, whatever their units.
        """
        value = metrics.get(self.metric)
        if value is None or value != value:
            return float("inf")
        missed = self.bound - value if self.relation == ">=" else value - self.bound
        return float(missed / (abs(self.bound) or 1.0))


def check(constraints: list[str], sampler: str) -> None:
    """Raises ValueError, one line, if a constraint can't be read or `sampler` can't take any."""
    for text in constraints:
        Constraint.parse(text)
    if constraints and sampler not in SAMPLERS_WITH_CONSTRAINTS:
        raise ValueError(
            f"sampler must be one of {list(SAMPLERS_WITH_CONSTRAINTS)} where there are constraints, got {sampler!r}; "
            "choose one of them or leave constraints out"
        )
