"""Samplers by name, with what is needed to repeat their proposals after a restart."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from study.config import StudyConfig
from study.search.sampling.tpe import JointTPE, StudyKnowledge
from study.search.space import dimensions

POPULATION = 24
"""Population size of NSGA-II. With Optuna's default of 50, a study of 100 trials would have only two generations."""


@dataclass(frozen=True)
class SamplerEntry:
    """Constructor of a sampler and its requirements.

    Attributes:
        make: function from the study's configuration, the seed of one proposal and the knowledge about the study, if
            there is any, to a sampler. A new sampler is made for each proposal, so that a killed driver loses no
            generator state.
        window: most finished proposals that the sampler sees (`study.search.sampling.sampler_history`); None for all.
        keeps: prefixes of the names of the Optuna attributes in which the sampler stores its state.
        needs_all_dimensions: whether the sampler searches only the dimensions of the first trial it sees.
    """

    make: Callable[[StudyConfig, int, StudyKnowledge | None], BaseSampler]
    window: int | None = None
    keeps: tuple[str, ...] = ()
    needs_all_dimensions: bool = False


def _tpe(config: StudyConfig, seed: int, knowledge: StudyKnowledge | None) -> BaseSampler:
    return JointTPE(dimensions(config.space), seed, knowledge=knowledge if config.sampler_version > 1 else None)


def _optuna_tpe(config: StudyConfig, seed: int, _: StudyKnowledge | None) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _nsga2(config: StudyConfig, seed: int, _: StudyKnowledge | None) -> BaseSampler:
    return NSGAIISampler(seed=seed, population_size=POPULATION)


def _gp(config: StudyConfig, seed: int, _: StudyKnowledge | None) -> BaseSampler:
    # The Gaussian process covers the dimensions that all trials have; TPE chooses λ and a family's own placement.
    rest = TPESampler(seed=seed, constant_liar=True)
    return GPSampler(seed=seed, independent_sampler=rest, warn_independent_sampling=False)


def _qmc(config: StudyConfig, seed: int, _: StudyKnowledge | None) -> BaseSampler:
    # A study has one sequence, hence one seed; dimensions that not all families have are drawn at random.
    return QMCSampler(
        scramble=True,
        seed=config.seed % 2**32,
        independent_sampler=RandomSampler(seed=seed),
        warn_asynchronous_seeding=False,
        warn_independent_sampling=False,
    )


def _random(config: StudyConfig, seed: int, _: StudyKnowledge | None) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS = {
    "tpe": SamplerEntry(_tpe, window=100),
    "optuna-tpe": SamplerEntry(_optuna_tpe, window=100),
    "nsga2": SamplerEntry(_nsga2, keeps=("NSGAIISampler:",)),
    "gp": SamplerEntry(_gp, window=100),
    "qmc": SamplerEntry(_qmc, keeps=("qmc:",), needs_all_dimensions=True),
    "random": SamplerEntry(_random),
}


def make_sampler(config: StudyConfig, index: int, knowledge: StudyKnowledge | None = None) -> BaseSampler:
    """Return the sampler that makes proposal `index` of a study; it depends on the arguments alone."""
    seed = int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[config.sampler].make(config, seed, knowledge)
