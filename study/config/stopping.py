"""The section `stop`: rules that end a study before its last trial."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from study.config.rules.constraints import Constraint
from study.config.section import Section
from study.config.sections import Count

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Plateau(Section):
    """A front that has hardly grown for a number of trials.

    Attributes:
        trials: number of ended trials to look back.
        hypervolume: growth of the front's hypervolume over these trials, below which the study ends. The reference
            point is accuracy 0 and 32 bits per weight, and the whole area is 1, as in reports.
    """

    trials: Count
    hypervolume: Positive


class StopRules(Section):
    """Rules that end a study, whichever is met first. The time between two sessions counts nowhere.

    Attributes:
        hours: duration of all sessions together.
        gpu_hours: GPU-hours of training, those of float networks and of repeated epochs included.
        cost: money for training, at `price` an hour.
        price: price of an hour of a trial's resources, in the unit of `cost`.
        plateau: growth of the front that is too small to go on.
        target: bounds that a trial with its full budget meets, joined by `and`, such as
            `val_accuracy >= 0.9 and bits_per_weight <= 2`.
        running: what becomes of the trials that run when a rule is met. `finish`: they are trained to their end; `cut`:
            they end as PRUNED after their next epoch.
    """

    hours: Positive | None = None
    gpu_hours: Positive | None = None
    cost: Positive | None = None
    price: Positive | None = None
    plateau: Plateau | None = None
    target: str | None = None
    running: Literal["finish", "cut"] = "finish"

    @property
    def bounds(self) -> list[Constraint]:
        """Bounds of `target`."""
        return [] if self.target is None else [Constraint.parse(text, "stop.target") for text in _parts(self.target)]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not any((self.hours, self.gpu_hours, self.cost, self.plateau, self.target)):
            raise ValueError(
                "stop must hold a rule: hours, gpu_hours, cost, plateau or target, got none; add one, or leave stop out"
            )
        if (self.cost is None) != (self.price is None):
            raise ValueError(f"price must be given with cost, and only then, got {self.price}; set both or none")
        self.bounds  # noqa: B018 - raises if it can't be read
        return self


def _parts(target: str) -> list[str]:
    return target.split(" and ")
