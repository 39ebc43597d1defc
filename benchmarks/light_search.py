"""The searcher of a study without Optuna's storage and without configurations of trials, for simulations.

It calls the sampler of `study.search.sampling` on the same window of proposals, so that it proposes what a study
proposes (`bench_parallel.py --check`), several times as fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import optuna
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState as OptunaState

from study.config import StudyConfig
from study.ledger.history import KnownResult
from study.search.optuna_trials import DIRECTIONS, OBJECTIVES, OPTUNA_STATES
from study.search.sampling.sampler_history import NEW_WINDOW_EVERY, ParamsKey, params_key
from study.search.sampling.samplers import SAMPLERS, make_sampler
from study.search.sampling.tpe import StudyKnowledge
from study.search.sampling.window import Window
from study.search.searcher import MAX_REPEATS
from study.search.space import dimensions
from trainables.result import TrialState

Params = dict[str, Any]


@dataclass
class LightTrial:
    """A proposal, with the attributes that samplers read of Optuna's trials and `select` of the ledger's.

    Attributes:
        known: number of the proposal whose configuration this one repeats; None for a trial of its own.
    """

    number: int
    params: Params
    progress: TrialState = TrialState.RUNNING
    metrics: dict[str, float] = field(default_factory=dict)
    known: int | None = None
    constraints: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> OptunaState:
        """State in Optuna's words."""
        return OPTUNA_STATES[self.progress]

    @property
    def values(self) -> list[float]:
        """Objectives of a finished trial."""
        return [self.metrics[name] for name in OBJECTIVES]

    def as_known(self) -> KnownResult:
        """Return the proposal as the ledger's history holds it."""
        return KnownResult(self.params, {}, self.progress, self.metrics)


class LightStudy:
    """The part of an Optuna study that samplers read: its trials by state."""

    directions: Sequence[StudyDirection] = DIRECTIONS

    def __init__(self, trials: list[LightTrial]) -> None:
        """Show these trials, whose states may change."""
        self.trials = trials

    def get_trials(self, deepcopy: bool = True, states: Sequence[OptunaState] = ()) -> list[LightTrial]:
        """Return the trials in these states, in order."""
        return [trial for trial in self.trials if trial.state in states]


class LightSearch:
    """A study's searcher: the first proposal is the float baseline, which has no parameters."""

    def __init__(self, config: StudyConfig) -> None:
        """Create the searcher of a configuration without anchors besides the float baseline, and of one family."""
        self._config = config
        size = SAMPLERS[config.sampler].window
        self._window = None if size is None else Window(lambda index: self.proposals[index].as_known(), size, [])
        self._space = [(dimension.name, dimension.distribution) for dimension in dimensions(config.space)]
        self._searched = [(name, kind) for name, kind in self._space if not kind.single()]
        self._fixed = {name: kind.to_external_repr(0) for name, kind in self._space if kind.single()}
        self.proposals: list[LightTrial] = []
        self._begins = -1
        self._study = LightStudy([])
        self._runs: dict[ParamsKey, LightTrial] = {}
        self._repeats = 0

    def suggest(self) -> LightTrial:
        """Return the next trial; known configurations are answered with their results."""
        while True:
            trial = LightTrial(len(self.proposals), self._propose() if self.proposals else {})
            self.proposals.append(trial)
            self._study.trials.append(trial)
            key = params_key(trial.params)
            known = self._runs.get(key)
            if known is None or self._repeats >= MAX_REPEATS:
                self._runs.setdefault(key, trial)
                self._repeats = 0
                return trial
            self._repeats += 1
            trial.known = known.number
            ended = known.progress != TrialState.RUNNING
            trial.progress, trial.metrics = (known.progress, known.metrics) if ended else (TrialState.FAIL, {})

    def end(self, trial: LightTrial, metrics: dict[str, float]) -> None:
        """Report the result of a trial."""
        trial.progress, trial.metrics = TrialState.COMPLETE, metrics

    def _propose(self) -> Params:
        index = len(self.proposals)
        begins = index - index % NEW_WINDOW_EVERY if self._window is not None else 0
        if begins != self._begins:
            self._begins = begins
            self._study = LightStudy([trial for trial in self._shown(begins) if trial.params])
        knowledge = StudyKnowledge(
            finished=self._window.num_finished if self._window is not None else 0,
            is_taken=lambda params: params_key(params) in self._runs,
        )
        sampler = make_sampler(self._config, index, knowledge)
        study, asking = cast(optuna.Study, self._study), cast(Any, LightTrial(index, {}))
        relative = {}
        if not isinstance(sampler, RandomSampler):
            relative = sampler.sample_relative(study, asking, dict(self._space))
        drawn = {
            name: relative[name] if name in relative else sampler.sample_independent(study, asking, name, kind)
            for name, kind in self._searched
        }
        return self._fixed | drawn

    def _shown(self, begins: int) -> list[LightTrial]:
        """Return the window of the proposals before `begins`, and all proposals after it."""
        if self._window is None:
            return self.proposals
        chosen = self._window.select(begins, f"{self._config.seed} {begins}")
        return [*(self.proposals[index] for index in chosen), *self.proposals[begins:]]
