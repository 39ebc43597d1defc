"""The search: Optuna asked for configurations and told the truth about how each trial ended."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from ray.tune.search import Searcher

from study.config import StudyConfig
from study.ledger.facts import ASKED, REPEATED
from study.ledger.history import KnownResult, Trial
from study.ledger.ledger import DerivedFromLedger, Ledger
from study.search.optuna_trials import OBJECTIVES
from study.search.sampler_history import Proposal, SamplerView
from study.search.warm_start import record_priors
from study.storage.folder import StudyFolder
from trainables.config import TrialConfig
from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING

MAX_REPEATS = 20
"""How often in a row a configuration that was run before is answered from memory before one is run again."""


class OptunaSearcher(DerivedFromLedger, Searcher):
    """Ray's searcher on Optuna's ask and tell. All that it knows is in the ledger, so it can be made anew at any time.

    A trial that was begun and that nobody trains is handed out again before anything new. A configuration that was run
    as often as `replicates` says is not trained again: Optuna is told its known result, and asked anew.
    """

    def __init__(
        self,
        config: StudyConfig,
        ledger: Ledger,
        baselines: Mapping[int, str] | None = None,
        room: Callable[[], float] = lambda: math.inf,
        folder: StudyFolder | None = None,
    ) -> None:
        """Goes on from the ledger's history.

        Args:
            config: of the study.
            ledger: open for writing; all that is decided is written down there first.
            baselines: checkpoints of the float baseline by seed, if any.
            room: says how many trials may run at a time; asked anew for each.
            folder: of the study; where the ledger lies if None.

        Raises:
            ValueError: the study begins, and what it is to be warm-started from is of no use.
            DamagedFileError: the same, of a table that can't be read.
        """
        super().__init__(metric=list(OBJECTIVES), mode=["max", "min"])
        self._config = config
        self._ledger = ledger
        self._folder = folder
        self._baselines = baselines or {}
        self._room = room
        self._running: dict[str, int] = {}  # numbers of trials by Ray's names of those that train them
        self._open = {trial.number: trial for trial in ledger.history.unfinished}
        self._runs: dict[str, list[Trial]] = {}  # by hash of the configuration
        for trial in ledger.history.trials.values():
            self._runs.setdefault(trial.config_hash, []).append(trial)
        record_priors(ledger, config)
        self._view = SamplerView(config, ledger.history)

    @property
    def optuna_study(self) -> optuna.Study:
        """What the sampler is shown, up to date."""
        self._view.follow()
        return self._view.study

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The trial to go on with, or a new one.

        Returns:
            What a trial is given; None as long as there is no room for one, or none is left and one that runs might be
            lost and come back; `Searcher.FINISHED` when all have ended.
        """
        if len(self._running) >= self._room():
            return None
        trial = self._left_behind()
        if trial is None and len(self._ledger.history.trials) < self._config.trials:
            trial = self._new_trial()
        if trial is None:
            return None if self._running else Searcher.FINISHED
        self._running[trial_id] = trial.number
        return {
            "number": trial.number,
            "trial_id": trial.trial_id,
            "anchor": trial.anchor,
            "trial": trial.config,
            "initial_weights": self._baselines.get(trial.config["seed"]),
            "restore_from": self._checkpoints_of(trial),
            "attempt": trial.losses,
        }

    def _left_behind(self) -> Trial | None:
        """The first trial that was begun and has not ended, and that no trial of Ray's trains."""
        self._open = {number: trial for number, trial in self._open.items() if trial.state == RUNNING}
        held = set(self._running.values())
        return next((trial for number, trial in self._open.items() if number not in held), None)

    def _checkpoints_of(self, trial: Trial) -> list[str]:
        return (self._folder or StudyFolder(self._ledger.path.parent)).checkpoints_of(trial)

    def _new_trial(self) -> Trial:
        """Asks until there is something to run; gives in after `MAX_REPEATS`, for a space may be exhausted."""
        while True:
            proposal = self._view.propose()
            config = self._config.trial_config(proposal.searched)
            runs = self._runs.get(config.hash, [])
            if len(runs) < self._config.replicates or self._repeats_in_a_row() >= MAX_REPEATS:
                # Where trials begin from a baseline, there is one for each of the first seeds alone.
                place = len(runs) % len(self._baselines) if self._baselines else len(runs)
                seeded = self._config.trial_config(proposal.searched | {"seed": self._config.seed + place})
                return self._begin(proposal, seeded)
            self._repeat(proposal, runs)

    def _repeats_in_a_row(self) -> int:
        proposals = self._ledger.history.proposals
        latest = proposals[: -MAX_REPEATS - 1 : -1]
        others = (
            place
            for place, proposal in enumerate(latest)
            if not (isinstance(proposal, KnownResult) and proposal.number is not None)
        )
        return next(others, len(latest))

    def _begin(self, proposal: Proposal, config: TrialConfig) -> Trial:
        number = len(self._ledger.history.trials)
        self._ledger.record(
            ASKED,
            number=number,
            trial_id=f"{self._config.name}-{number:05d}",
            anchor=proposal.anchor,
            params=proposal.params,
            distributions=proposal.distributions,
            config=config.to_dict(),
            config_hash=config.hash,
            sampler_state=proposal.sampler_state,
        )
        trial = self._ledger.history.trials[number]
        self._open[number] = trial
        self._runs.setdefault(config.hash, []).append(trial)
        return trial

    def _repeat(self, proposal: Proposal, runs: list[Trial]) -> None:
        """Records that a configuration was proposed once more, and what is known of it.

        Of one that still runs that is nothing, which Optuna hears as a failure, for it passes over those.
        """
        known = next((run for state in (COMPLETE, PRUNED, FAIL) for run in runs if run.state == state), runs[0])
        ended = known.state != RUNNING
        self._ledger.record(
            REPEATED,
            number=known.number,
            state=known.state if ended else FAIL,
            failure=known.failure if ended else f"trial {known.number} was training this configuration",
            metrics=known.last if ended else {},
            params=proposal.params,
            distributions=proposal.distributions,
            sampler_state=proposal.sampler_state,
        )

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Lets go of a trial. How it ended is in the ledger: Optuna is told before it is asked again."""
        self._running.pop(trial_id, None)

    # Ray saves its searchers now and then; ours is made again from the ledger.
    def save(self, checkpoint_path: str) -> None:
        with open(checkpoint_path, "w") as file:
            json.dump({"derived_from": str(self._ledger.path)}, file)

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a study is resumed with `qar resume`, from its ledger, not from Ray's experiment state")


def outcome(result: dict[str, Any] | None, epochs: int) -> tuple[str, str | None]:
    """How a trial ended, from its last result: its state, and the reason of a failure if the result holds one.

    Args:
        result: the last that was reported, if any.
        epochs: full budget.
    """
    if result is None or result.get("failure"):
        return FAIL, result.get("failure") if result else None
    for name in OBJECTIVES:
        if not math.isfinite(result.get(name, 0.0)):
            return FAIL, f"{name} is not finite: {result[name]}"
    return (COMPLETE if result["epoch"] >= epochs else PRUNED), None
