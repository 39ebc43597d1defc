"""One trial: regularize a network, quantize it, finetune it, and count its bits.

Only `trainables.trainable` depends on Ray; the rest needs torch, torchvision, numpy and constriction. Importing this
package imports none of them: each public name imports its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.config import PenaltyForm, Recipe, TrialConfig
    from trainables.families import FAMILIES, Family
    from trainables.formats import load_artifact
    from trainables.result import EPOCH_COLUMNS, TRIAL_COLUMNS
    from trainables.run import CompressionRun, NonFiniteLossError
else:
    _MODULES = {
        "CompressionRun": "run",
        "EPOCH_COLUMNS": "result",
        "FAMILIES": "families",
        "Family": "families",
        "NonFiniteLossError": "run",
        "PenaltyForm": "config",
        "Recipe": "config",
        "TRIAL_COLUMNS": "result",
        "TrialConfig": "config",
        "load_artifact": "formats",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = [
    "EPOCH_COLUMNS",
    "FAMILIES",
    "TRIAL_COLUMNS",
    "CompressionRun",
    "Family",
    "NonFiniteLossError",
    "PenaltyForm",
    "Recipe",
    "TrialConfig",
    "load_artifact",
]
