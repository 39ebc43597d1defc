"""The search: Optuna asked for configurations and told the truth about how each trial ended."""

import json
import math
import warnings
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

from study.config import StudyConfig
from study.ledger import ASKED, DerivedFromLedger, Ledger, Trial
from study.space import ANCHOR, first_trials, suggest
from trainables.config import TrialConfig
from trainables.result import COMPLETE, FAIL, PRUNED

OBJECTIVES = ("val_accuracy", "bits_per_weight")
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)

MAX_REPEATS = 20
"""How often in a row a configuration that was run before is answered from memory before one is run again."""

_OPTUNA_STATES = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAIL: TrialState.FAIL}


def make_optuna_study(config: StudyConfig, trials: list[Trial]) -> optuna.Study:
    """An Optuna study in which the given trials have happened.

    Args:
        config: of the study.
        trials: in order of their numbers, without gaps; an unfinished one is asked for again, before anything new.
    """
    sampler = optuna.samplers.TPESampler(
        seed=config.seed + len(trials),
        multivariate=True,
        group=True,
        constant_liar=True,
    )
    optuna_study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    for trial in trials:
        user_attrs = {ANCHOR: trial.config} if trial.anchor else {}
        if trial.state in _OPTUNA_STATES:
            optuna_study.add_trial(
                create_trial(
                    state=_OPTUNA_STATES[trial.state],
                    params=trial.params,
                    distributions={
                        name: optuna.distributions.json_to_distribution(text)
                        for name, text in trial.distributions.items()
                    },
                    values=[trial.last[name] for name in OBJECTIVES] if trial.state == COMPLETE else None,
                    user_attrs=user_attrs,
                )
            )
        else:
            optuna_study.enqueue_trial(trial.params, user_attrs=user_attrs)
    for params, user_attrs in first_trials(config)[len(trials) :]:
        optuna_study.enqueue_trial(params, user_attrs=user_attrs)
    return optuna_study


class OptunaSearcher(DerivedFromLedger, Searcher):
    """Ray's searcher on Optuna's ask and tell; after a restart it goes on from what the ledger tells.

    A configuration that was run before is not trained again: Optuna is told its known result, and asked anew.
    """

    def __init__(self, config: StudyConfig, ledger: Ledger, initial_weights: str | None = None) -> None:
        """Goes on from the ledger's history; `initial_weights` is a checkpoint of the float baseline, or None."""
        super().__init__(metric=list(OBJECTIVES), mode=["max", "min"])
        self._config = config
        self._ledger = ledger
        self._initial_weights = initial_weights
        self._asked: dict[str, optuna.Trial] = {}  # by Ray's name of the trial, as long as it runs
        self._to_continue = ledger.history.unfinished
        trials = [trial for _, trial in sorted(ledger.history.trials.items())]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.optuna_study = make_optuna_study(config, trials)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        # Optuna hands out what was enqueued first and in order: the trials to continue, then the first trials.
        if self._to_continue:
            optuna_trial = self.optuna_study.ask()
            suggest(optuna_trial, self._config.space)
            trial = self._to_continue.pop(0)
        else:
            optuna_trial, config = self._ask_for_news()
            trial = self._record(optuna_trial, config)
        self._asked[trial_id] = optuna_trial
        return {
            "number": trial.number,
            "trial_id": trial.trial_id,
            "anchor": trial.anchor,
            "trial": trial.config,
            "initial_weights": self._initial_weights,
            "restore_from": self._checkpoint_of(trial),
        }

    def _checkpoint_of(self, trial: Trial) -> str | None:
        """Where the trial goes on from; None begins it anew, as a trial whose checkpoint is gone must."""
        if trial.checkpoint is None:
            return None
        path = self._ledger.path.parent.resolve() / trial.checkpoint.path
        return str(path) if path.exists() else None

    def _ask_for_news(self) -> tuple[optuna.Trial, TrialConfig]:
        """Asks until the configuration is a new one; gives in after `MAX_REPEATS`, for a space may be exhausted."""
        known = {(trial.config_hash, trial.config["seed"]): trial for trial in self._ledger.history.trials.values()}
        for repeats_left in range(MAX_REPEATS, -1, -1):
            optuna_trial = self.optuna_study.ask()
            config = self._config.trial_config(suggest(optuna_trial, self._config.space))
            earlier = known.get((config.hash, config.seed))
            if earlier is None or not repeats_left:
                break
            # Of one that still runs nothing is known; Optuna passes over a failed trial.
            self._tell(optuna_trial, earlier.state if earlier.state in _OPTUNA_STATES else FAIL, earlier.last)
        return optuna_trial, config

    def _record(self, optuna_trial: optuna.Trial, config: TrialConfig) -> Trial:
        number = len(self._ledger.history.trials)
        self._ledger.record(
            ASKED,
            number=number,
            trial_id=f"{self._config.name}-{number:05d}",
            anchor=ANCHOR in optuna_trial.user_attrs,
            params=optuna_trial.params,
            distributions={
                name: optuna.distributions.distribution_to_json(distribution)
                for name, distribution in optuna_trial.distributions.items()
            },
            config=config.to_dict(),
            config_hash=config.hash,
        )
        return self._ledger.history.trials[number]

    def _tell(self, optuna_trial: optuna.Trial, state: str, result: dict[str, Any] | None) -> None:
        values = [result[name] for name in OBJECTIVES] if result is not None and state == COMPLETE else None
        self.optuna_study.tell(optuna_trial, values, _OPTUNA_STATES[state])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        optuna_trial = self._asked.pop(trial_id, None)
        if optuna_trial is None:
            return
        state, _ = outcome(result, error, self._config.epochs)
        self._tell(optuna_trial, state, result)

    # Ray saves its searchers now and then; ours is made again from the ledger.
    def save(self, checkpoint_path: str) -> None:
        with open(checkpoint_path, "w") as file:
            json.dump({"derived_from": str(self._ledger.path)}, file)

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a study is resumed with `qar resume`, from its ledger, not from Ray's experiment state")


def outcome(result: dict[str, Any] | None, error: bool, epochs: int) -> tuple[str, str | None]:
    """How a trial ended, from its last result: its state, and the reason of a failure if the result holds one.

    Args:
        result: the last that was reported, if any.
        error: whether the trial ended by an exception or the loss of its actor.
        epochs: full budget.
    """
    if error or result is None or result.get("failure"):
        return FAIL, result.get("failure") if result else None
    for name in OBJECTIVES:
        if not math.isfinite(result.get(name, 0.0)):
            return FAIL, f"{name} is not finite: {result[name]}"
    return (COMPLETE if result["epoch"] >= epochs else PRUNED), None
