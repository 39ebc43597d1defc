"""Optuna's samplers by name, each with what it takes to ask the same of it again after a restart."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from study.config import StudyConfig
from study.search.tpe import JointTPE

POPULATION = 24
"""Of NSGA-II. Optuna's 50 would leave a study of a hundred trials one generation to learn from."""


@dataclass(frozen=True)
class SamplerEntry:
    """How a sampler is made and what it is shown.

    Attributes:
        make: from the study and the seed of one proposal; made anew for each, so that no state of a generator is
            carried over that a killed driver would lose.
        window: how many finished proposals it is shown at a time (`study.search.sampler_history`); None for all.
        keeps: beginnings of the names under which it keeps what it must find again, as attributes of Optuna's.
        needs_all_dimensions: whether it searches the dimensions of the first trial it finds and no others.
    """

    make: Callable[[StudyConfig, int], BaseSampler]
    window: int | None = None
    keeps: tuple[str, ...] = ()
    needs_all_dimensions: bool = False


def _tpe(config: StudyConfig, seed: int) -> BaseSampler:
    return JointTPE(config.space, seed)


def _optuna_tpe(config: StudyConfig, seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _nsga2(config: StudyConfig, seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed, population_size=POPULATION)


def _gp(config: StudyConfig, seed: int) -> BaseSampler:
    # The process is over the dimensions that all trials have; λ and a family's own placement are left to TPE.
    rest = TPESampler(seed=seed, constant_liar=True)
    return GPSampler(seed=seed, independent_sampler=rest, warn_independent_sampling=False)


def _qmc(config: StudyConfig, seed: int) -> BaseSampler:
    # One sequence a study, so its seed stays; what a family has not in common with all is drawn at random.
    return QMCSampler(
        scramble=True,
        seed=config.seed % 2**32,
        independent_sampler=RandomSampler(seed=seed),
        warn_asynchronous_seeding=False,
        warn_independent_sampling=False,
    )


def _random(config: StudyConfig, seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS = {
    "tpe": SamplerEntry(_tpe, window=100),
    "optuna-tpe": SamplerEntry(_optuna_tpe, window=100),
    "nsga2": SamplerEntry(_nsga2, keeps=("NSGAIISampler:",)),
    "gp": SamplerEntry(_gp, window=100),
    "qmc": SamplerEntry(_qmc, keeps=("qmc:",), needs_all_dimensions=True),
    "random": SamplerEntry(_random),
}


def make_sampler(config: StudyConfig, index: int) -> BaseSampler:
    """The sampler that makes proposal `index` of a study: the same one whenever it is made."""
    seed = int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[config.sampler].make(config, seed)
