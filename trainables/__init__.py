"""One trial: regularize a network, quantize it, finetune it, and count its bits.

Only `trainables.trainable` and `trainables.pack_member` depend on Ray; the rest needs torch, torchvision, numpy and
constriction. Importing this package imports none of them: each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from trainables.config import PenaltyForm, Recipe, TrialConfig
    from trainables.errors import NonFiniteLossError
    from trainables.families import FAMILIES, Family
    from trainables.formats import load_artifact
    from trainables.result import EPOCH_COLUMNS, TRIAL_COLUMNS
    from trainables.run import CompressionRun
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "CompressionRun": "run",
            "EPOCH_COLUMNS": "result",
            "FAMILIES": "families",
            "Family": "families",
            "NonFiniteLossError": "errors",
            "PenaltyForm": "config",
            "Recipe": "config",
            "TRIAL_COLUMNS": "result",
            "TrialConfig": "config",
            "load_artifact": "formats",
        },
    )


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
