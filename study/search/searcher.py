"""The searcher: asks Optuna for configurations, records them, and hands them to Ray."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from ray.tune.search import Searcher

from study.config import StudyConfig
from study.ledger.facts import ASKED, REPEATED, STOPPED, Enqueued
from study.ledger.history import KnownResult, Trial
from study.ledger.ledger import DerivedFromLedger, Ledger
from study.search.allocation import with_allocated_groups
from study.search.enqueued import distributions_in_space, params_in_space
from study.search.optuna_trials import OBJECTIVES
from study.search.sampling.sampler_history import Proposal, SamplerView
from study.search.stopping import StopWatch
from study.search.warm_start import record_priors
from study.storage.folder import StudyFolder
from study.storage.liveliness import rule_met
from trainables.config import TrialConfig
from trainables.result import END_STATES, TrialState

MAX_REPEATS = 20
"""Most proposals in a row that are answered with known results; after these, a known configuration runs again."""


class OptunaSearcher(DerivedFromLedger, Searcher):
    """Ray searcher on Optuna's ask and tell, whose state is in the ledger, so that it can be rebuilt at any time.

    Unfinished trials that no actor trains come before new ones. A configuration that was run `replicates` times is not
    trained again: Optuna receives its known result and proposes another.
    """

    def __init__(
        self,
        config: StudyConfig,
        ledger: Ledger,
        baselines: Mapping[int, str] | None = None,
        room: Callable[[], float] = lambda: math.inf,
        folder: StudyFolder | None = None,
        most_ahead: int = 1,
    ) -> None:
        """Continue from the ledger's history; a new study records the priors of its warm start.

        Args:
            config: configuration of the study.
            ledger: ledger of the study, open for writing. Every decision is recorded before Ray receives it.
            baselines: addresses of the float networks' checkpoints by seed; None for none.
            room: function that returns how many trials may run at the same time; called before each suggestion.
            folder: folder of the study; None for the folder of the ledger.
            most_ahead: most trials to propose together, without the results of one another. With 1, a suggestion waits
                until it is durable; with more, Ray has to ask again.

        Raises:
            ValueError: the warm start of a new study can't be read.
        """
        super().__init__(metric=list(OBJECTIVES), mode=["max", "min"])
        self._config = config
        self._ledger = ledger
        self._most_ahead = most_ahead
        self._folder = folder
        self._baselines = baselines or {}
        self._room = room
        self._running: dict[str, int] = {}  # numbers of trials by Ray's names of those that train them
        self._needs: dict[int, int] = {}  # by number of a trial that is to start: the last fact that must be durable
        self._open = {trial.number: trial for trial in ledger.history.unfinished}
        self._runs: dict[str, list[Trial]] = {}  # by hash of the configuration
        for trial in ledger.history.trials.values():
            self._runs.setdefault(trial.config_hash, []).append(trial)
        record_priors(ledger, config)
        self._view = SamplerView(config, ledger.history)
        self._watch = StopWatch(config, ledger.history)

    @property
    def optuna_study(self) -> optuna.Study:
        """Optuna's study as the sampler sees it now."""
        self._view.follow()
        return self._view.study

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of an unfinished trial, or of a new one.

        Args:
            trial_id: Ray's name of the trial.

        Returns:
            Configuration of Ray's trial. None while the most trials run, or while no trial is left to start but one
            still runs and may be lost. `Searcher.FINISHED` when all trials have ended.
        """
        if len(self._running) >= self._room():
            return None
        trial = self._orphaned_trial()
        if trial is None:
            self._propose_ahead()
            trial = self._orphaned_trial()
        if trial is None:
            return None if self._running else Searcher.FINISHED
        if not self._is_durable(trial):
            return None  # Ray asks again; meanwhile the driver handles the results of other trials
        self._running[trial_id] = trial.number
        folder = self._folder or StudyFolder(self._ledger.path.parent)
        seed = trial.config["seed"]
        baseline, baseline_sum = self._baselines.get(seed), self._ledger.history.baseline_sums.get(seed)
        baseline_sums = {baseline: baseline_sum} if baseline and baseline_sum else {}
        return {
            "number": trial.number,
            "trial_id": trial.trial_id,
            "anchor": trial.anchor,
            "trial": trial.config,
            "initial_weights": baseline,
            "restore_from": folder.checkpoints_of(trial),
            "checksums": folder.checkpoint_sums(trial) | baseline_sums,
            "attempt": trial.losses,
        }

    def stops(self) -> bool:
        """Whether a rule of the section `stop` has ended the study; records the rule when it is met."""
        if self._config.stop is None:
            return False
        if rule_met(self._ledger.history, self._config) is None and (reason := self._watch.reason()) is not None:
            rules = self._config.stop.model_dump(mode="json")
            self._ledger.record(STOPPED, reason=reason, trials=self._config.trials, rules=rules)
        return rule_met(self._ledger.history, self._config) is not None

    def _orphaned_trial(self) -> Trial | None:
        """Return the first unfinished trial that no trial of Ray trains; None if there is none."""
        self._open = {number: trial for number, trial in self._open.items() if trial.state == TrialState.RUNNING}
        held = set(self._running.values())
        return next((trial for number, trial in self._open.items() if number not in held), None)

    def _propose_ahead(self) -> None:
        """Record new trials, which one commit makes durable."""
        left = self._config.trials - len(self._ledger.history.trials)
        if left <= 0 or self.stops():
            return
        free = self._room() - len(self._running)
        for _ in range(int(min(left, free, self._most_ahead))):
            request = next(iter(self._ledger.history.enqueued.values()), None)
            if request is None:
                self._new_trial()
            else:
                self._enqueued_trial(request)

    def _is_durable(self, trial: Trial) -> bool:
        """Whether all that a trial starts from is durable; wait for that unless Ray has something else to do.

        A new trial starts from the fact that records it; one that has lost its worker also from a checkpoint.
        """
        fact = self._needs.setdefault(trial.number, self._ledger.written)
        if fact > self._ledger.durable and (not self._running or self._most_ahead == 1):
            self._ledger.commit()
        if fact > self._ledger.durable:
            return False
        del self._needs[trial.number]
        return True

    def _enqueued_trial(self, request: Enqueued) -> Trial:
        """Record the trial that a user has asked for; a known configuration is trained with another seed."""
        params = params_in_space(request.searched, self._config)
        proposal = Proposal(
            searched=request.searched,
            params=params,
            distributions=distributions_in_space(params, self._config),
            sampler_state={},
            anchor=False,
        )
        config = self._config.trial_config(request.searched)
        return self._record_trial(proposal, self._seeded(proposal, config), request.request)

    def _seeded(self, proposal: Proposal, config: TrialConfig) -> TrialConfig:
        """Return a configuration with the seed of its next replicate."""
        runs = self._runs.get(config.hash, [])
        # Trials that start from a float network use its seeds, one for each replicate.
        place = len(runs) % len(self._baselines) if self._baselines else len(runs)
        seeded = self._config.trial_config(proposal.searched | {"seed": self._config.seed + place})
        return with_allocated_groups(seeded, self._ledger.history)

    def _new_trial(self) -> Trial:
        """Ask for proposals until one is to be trained, and record the trial.

        After `MAX_REPEATS` known configurations in a row the next one is trained again, since the space may be
        exhausted.
        """
        while True:
            proposal = self._view.propose()
            config = self._config.trial_config(proposal.searched)
            runs = self._runs.get(config.hash, [])
            if len(runs) < self._config.replicates or self._repeats_in_a_row() >= MAX_REPEATS:
                return self._record_trial(proposal, self._seeded(proposal, config))
            self._record_repeat(proposal, runs)

    def _repeats_in_a_row(self) -> int:
        proposals = self._ledger.history.proposals
        latest = proposals[: -MAX_REPEATS - 1 : -1]
        others = (
            place
            for place, proposal in enumerate(latest)
            if not (isinstance(proposal, KnownResult) and proposal.number is not None)
        )
        return next(others, len(latest))

    def _record_trial(self, proposal: Proposal, config: TrialConfig, request: str | None = None) -> Trial:
        number = len(self._ledger.history.trials)
        self._needs[number] = self._ledger.submit(
            ASKED,
            number=number,
            trial_id=f"{self._config.name}-{number:05d}",
            anchor=proposal.anchor,
            params=proposal.params,
            distributions=proposal.distributions,
            config=config.to_dict(),
            config_hash=config.hash,
            sampler_state=proposal.sampler_state,
            space_version=self._config.version,
            request=request,
        )
        trial = self._ledger.history.trials[number]
        self._open[number] = trial
        self._runs.setdefault(config.hash, []).append(trial)
        return trial

    def _record_repeat(self, proposal: Proposal, runs: list[Trial]) -> None:
        """Record that a known configuration was proposed again, with its known result.

        While the configuration is still running, Optuna receives a failure, since samplers ignore failed trials.
        """
        known = next((run for state in END_STATES for run in runs if run.state == state), runs[0])
        ended = known.state != TrialState.RUNNING
        self._ledger.submit(
            REPEATED,
            number=known.number,
            state=known.state if ended else TrialState.FAIL,
            failure=known.failure if ended else f"trial {known.number} was training this configuration",
            metrics=known.last if ended else {},
            params=proposal.params,
            distributions=proposal.distributions,
            sampler_state=proposal.sampler_state,
        )

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Release a trial; Optuna receives its result from the ledger before the next proposal."""
        self._running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Write a file that names the ledger, from which the searcher is rebuilt; Ray saves its searchers regularly."""
        with open(checkpoint_path, "w") as file:
            json.dump({"derived_from": str(self._ledger.path)}, file)

    def restore(self, checkpoint_path: str) -> None:
        """Refuse to restore Ray's state. Raises RuntimeError."""
        raise RuntimeError("a study is resumed with `qar resume`, from its ledger, not from Ray's experiment state")
