"""Configurations that earlier versions stored: the fields they lack, and the values that match what was done then."""

from collections.abc import Mapping
from typing import Any

ADDED: dict[str, dict[str, Any]] = {
    "": {
        "model_options": {},
        "initial_weights": None,
        "sources": None,
        "groups": {},
        "allocation": {"bits": None, "num_levels": []},
    },
    "recipe": {
        "penalty_application": "coupled",
        "lam_unit": "gradient",
        "statistics": "recalibrated",
        "coding": "huffman",
    },
    "penalty": {
        "interval": "minmax",
        "interval_sigmas": 2.5,
        "interval_quantile": 0.005,
        "temperature_spacing": "initial",
        "entropy_weight": 1.0,
    },
}
"""Fields that a later version added, by section; the section "" is the trial itself.

With these values a trial is what it was before they existed. Hashes leave them out at these values, so that a stored
configuration keeps the hash of its version.
"""

EARLIER_DEFAULTS: dict[str, dict[str, Any]] = {
    "recipe": {"finetune_learning_rate": 1e-3, "decay_quantized": False, "recalibration_batches": 0} | ADDED["recipe"],
    "penalty": {"temperature": 0.25, "final_temperature": 0.025, "initial": "quantiles"} | ADDED["penalty"],
}
"""Values of fields that a stored configuration lacks, by section, where they differ from today's defaults."""


def with_earlier_defaults(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored `TrialConfig`, as a dictionary, with the values that its version used for what it lacks.

    Every version stores all of its fields, so a field that is missing was added by a later version. What is no mapping
    is left as it is, for the reader to refuse.
    """
    filled = dict(trial)
    for section, defaults in EARLIER_DEFAULTS.items():
        stored = filled.get(section, {})
        filled[section] = defaults | dict(stored) if isinstance(stored, Mapping) else stored
    return filled
