"""The search: space, samplers, searcher, rungs and early stopping.

Importing this package imports none of its modules: each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.search.first_trials import first_trials
    from study.search.rungs import RANKINGS, Ranking, Rungs
    from study.search.sampling.sampler_history import Proposal, SamplerView
    from study.search.sampling.samplers import SAMPLERS, SamplerEntry, make_sampler
    from study.search.sampling.tpe import JointTPE
    from study.search.scheduler import RungScheduler, make_scheduler
    from study.search.searcher import OptunaSearcher
    from study.search.space import distributions
    from study.search.warm_start import read_priors
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "JointTPE": "sampling.tpe",
            "OptunaSearcher": "searcher",
            "Proposal": "sampling.sampler_history",
            "RANKINGS": "rungs",
            "Ranking": "rungs",
            "RungScheduler": "scheduler",
            "Rungs": "rungs",
            "SAMPLERS": "sampling.samplers",
            "SamplerEntry": "sampling.samplers",
            "SamplerView": "sampling.sampler_history",
            "distributions": "space",
            "first_trials": "first_trials",
            "make_sampler": "sampling.samplers",
            "make_scheduler": "scheduler",
            "read_priors": "warm_start",
        },
    )


__all__ = [
    "RANKINGS",
    "SAMPLERS",
    "JointTPE",
    "OptunaSearcher",
    "Proposal",
    "Ranking",
    "RungScheduler",
    "Rungs",
    "SamplerEntry",
    "SamplerView",
    "distributions",
    "first_trials",
    "make_sampler",
    "make_scheduler",
    "read_priors",
]
