"""Groups of a trial whose bits are allocated to layers by measured costs."""

from dataclasses import replace

from study.ledger.history import History
from trainables.config import TrialConfig
from trainables.groups.sensitivity import Sensitivity


def with_allocated_groups(config: TrialConfig, history: History) -> TrialConfig:
    """Return the configuration of a trial with the groups that its bits give, as the ledger records it.

    The same costs and bits give the same groups. A seed without measured costs, which a search uses after its space is
    exhausted, takes those of the first one.

    Args:
        config: configuration of the trial, with its seed.
        history: history of the ledger, with the costs of every layer.

    Raises:
        ValueError: no costs were measured, as in a training loop of one's own.
    """
    bits, costs = config.allocation.bits, history.sensitivities
    if config.num_levels is None or bits is None:
        return config
    if not costs:
        raise ValueError(
            "trial.allocation needs measured costs, got none; run the study with qar launch, or set trial.groups"
        )
    values = costs[config.seed if config.seed in costs else min(costs)]
    sensitivity = Sensitivity.from_dict(values)
    return replace(
        config, groups=sensitivity.groups_for(bits, config.groups, config.num_levels, config.allocation.num_levels)
    )
