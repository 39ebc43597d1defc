"""Fields of configurations that earlier versions did not have, and the values that match their behaviour."""

from typing import Any

ADDED: dict[str, dict[str, Any]] = {
    "recipe": {
        "penalty_application": "coupled",
        "lam_unit": "gradient",
        "statistics": "recalibrated",
        "coding": "huffman",
    },
    "penalty": {"interval": "minmax", "interval_sigmas": 2.5, "interval_quantile": 0.005},
}
"""Fields that a later version added, by section. With these values a trial is what it was before they existed."""
