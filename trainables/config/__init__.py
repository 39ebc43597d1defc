"""The configuration of one trial: plain, frozen, checked once.

Maths elsewhere takes plain arguments; only `trainables.phases`, `trainables.run` and the adapters to Ray read these
classes.
"""

from trainables.config.earlier_versions import ADDED, with_earlier_defaults
from trainables.config.penalty import PenaltyForm
from trainables.config.reading import LARGEST_INTEGER, TYPE_NAMES, remedy_for_type
from trainables.config.recipe import Recipe
from trainables.config.trial import TrialConfig

__all__ = [
    "ADDED",
    "LARGEST_INTEGER",
    "TYPE_NAMES",
    "PenaltyForm",
    "Recipe",
    "TrialConfig",
    "remedy_for_type",
    "with_earlier_defaults",
]
