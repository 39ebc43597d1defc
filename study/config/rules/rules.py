"""Rules of a study's configuration that concern several keys."""

from typing import TYPE_CHECKING

from study.config.groups import check_groups_of
from study.config.rules.constraints import check as check_constraints
from study.config.rules.credentials import refuse_credentials
from study.config.rules.packs import check_packs
from study.config.rules.space_check import check_space
from study.config.sections import MOST_LEVELS
from trainables.config import LARGEST_INTEGER

MOST_BASELINES = 1000
"""Largest number of float networks, each of which is trained before the first trial."""

if TYPE_CHECKING:
    from study.config.schema import StudyConfig


def check_rules(config: "StudyConfig", *, is_new: bool) -> None:
    """Check all rules of a configuration, each key of which is valid by itself.

    Args:
        config: the configuration.
        is_new: whether the study is new; studies that exist may break rules that came later.

    Raises:
        ValueError: a rule is broken; the message gives the key, the rule, the value and the remedy.
    """
    _check_initial_weights(config)
    _check_baseline(config)
    _check_grace_period(config)
    _check_stop_rules(config)
    check_constraints(config.constraints, config.sampler)
    check_groups_of(config.trial, config.space.fields, config.searched_fields)
    _check_plan(config)
    check_space(config)
    check_packs(config)
    if is_new:
        _check_limits(config)
    _check_test_split(config)


def _check_initial_weights(config: "StudyConfig") -> None:
    """Initial weights are given only where trials begin from them."""
    if config.trial["initial_weights"] is not None and config.trial["init"] != "pretrained":
        raise ValueError(
            "trial.init must be 'pretrained' where trial.initial_weights are given, got "
            f"{config.trial['init']!r}; set it so, or leave initial_weights out"
        )


def _check_baseline(config: "StudyConfig") -> None:
    """A length of the float network is given only where there is one."""
    if config.baseline_epochs is not None and config.trial["initial_weights"] is not None:
        raise ValueError(
            "baseline_epochs must be left out where trial.initial_weights are given, got "
            f"{config.baseline_epochs}; leave one of them out"
        )
    if config.baseline_epochs is not None and config.trial["init"] != "pretrained":
        raise ValueError(
            "baseline_epochs must be left out where no trial begins from the float network, got "
            f"{config.baseline_epochs} with trial.init {config.trial['init']!r}; set trial.init to 'pretrained'"
        )


def _check_grace_period(config: "StudyConfig") -> None:
    """The grace period lies within the budget of a trial."""
    if config.early_stopping.scheduler != "none" and config.early_stopping.grace_period > config.epochs:
        raise ValueError(
            f"early_stopping.grace_period must be at most the last epoch ({config.epochs}), "
            f"got {config.early_stopping.grace_period}; lower it, or train for more epochs"
        )


def _check_stop_rules(config: "StudyConfig") -> None:
    """Rules that end a study fit it."""
    if config.stop is not None and config.plan:
        raise ValueError("stop must be left out where there is a plan, whose trials are all wanted; leave it out")
    if config.stop is not None and config.stop.gpu_hours is not None and not config.resources.gpus:
        raise ValueError(
            f"stop.gpu_hours must be left out where trials use no GPU, got {config.stop.gpu_hours}; use hours or cost"
        )


def _check_plan(config: "StudyConfig") -> None:
    """A plan has valid trials, as many as the study."""
    planned = len(config.plan) * config.replicates
    if config.plan and config.trials != planned:
        product = f"{len(config.plan)} × {config.replicates} = {planned}"
        raise ValueError(f"trials must be plan × replicates ({product}), got {config.trials}; set it so")
    for place, trial in enumerate(config.plan):
        try:
            config.trial_config(trial.searched)
        except ValueError as error:
            raise ValueError(f"plan.{place}: {error}") from None


def _check_limits(config: "StudyConfig") -> None:
    """Refuse values that studies of earlier versions may hold but new studies may not."""
    levels = {"space.num_levels.high": config.space.num_levels.high}
    levels |= {f"anchors.num_levels.{i}": value for i, value in enumerate(config.anchors.num_levels)}
    levels |= {f"plan.{i}.num_levels": trial.num_levels or 0 for i, trial in enumerate(config.plan)}
    for name, value in levels.items():
        if value > MOST_LEVELS:
            raise ValueError(f"{name} must be at most {MOST_LEVELS}, whose index has 16 bits, got {value}; lower it")
    if config.earlier_versions:
        raise ValueError("earlier_versions is written by qar resume --set, got it in a new study; leave it out")
    most = LARGEST_INTEGER - max(config.trials, config.replicates)
    if config.seed > most:
        raise ValueError(
            f"seed must be at most {most}, for seed + trials is a seed too and the tables hold 64 bits, "
            f"got {config.seed}; choose another"
        )
    if config.baseline_seeds and config.replicates > MOST_BASELINES:
        raise ValueError(
            f"replicates must be at most {MOST_BASELINES} where trials begin from float networks, one for each, "
            f"got {config.replicates}; lower it"
        )
    stores = "put them where the store's own tools look for them, as into ~/.aws/credentials"
    refuse_credentials("trial.data_dir", config.trial["data_dir"], stores)
    refuse_credentials("trial.dataset", config.trial["dataset"], stores)
    refuse_credentials("trial.initial_weights", config.trial["initial_weights"], stores)
    for place, source in enumerate(config.warm_start):
        refuse_credentials(f"warm_start.{place}", source, stores)
    refuse_credentials(
        "optuna_storage", config.optuna_storage, "put them into ~/.pgpass or the environment variable PGPASSWORD"
    )


def _check_test_split(config: "StudyConfig") -> None:
    """Only a plan may evaluate the test split."""
    if config.trial["evaluate_test"] and not config.plan:
        raise ValueError(
            "trial.evaluate_test must be false in a search, got True; leave it out, and evaluate the test split "
            "with qar confirm"
        )
