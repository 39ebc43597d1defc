"""The configuration of one trial: plain, frozen, checked once.

Maths elsewhere takes plain arguments; only `trainables.phases`, `trainables.run` and the adapters to Ray read these
classes.
"""

from trainables.config.allocation import DEFAULT_CHOICES, Allocation
from trainables.config.earlier_versions import ADDED, with_earlier_defaults
from trainables.config.groups import FLOAT, KEYWORDS, LayerGroup, effective_groups
from trainables.config.penalty import PenaltyForm
from trainables.config.reading import LARGEST_INTEGER, TYPE_NAMES, remedy_for_type
from trainables.config.recipe import Recipe
from trainables.config.trial import TrialConfig

__all__ = [
    "ADDED",
    "DEFAULT_CHOICES",
    "FLOAT",
    "KEYWORDS",
    "LARGEST_INTEGER",
    "TYPE_NAMES",
    "Allocation",
    "LayerGroup",
    "PenaltyForm",
    "Recipe",
    "TrialConfig",
    "effective_groups",
    "remedy_for_type",
    "with_earlier_defaults",
]
