"""Statistics of results: Pareto fronts, intervals over seeds, comparisons of families.

Each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from analysis.statistics.attainment import attainment_surfaces
    from analysis.statistics.comparison import compare, sizes
    from analysis.statistics.confirmation import confirmed, load_confirmation, selected
    from analysis.statistics.family_gains import best_replicates, gains, improvements
    from analysis.statistics.intervals.improvement import improvement_interval, probability_of_improvement
    from analysis.statistics.intervals.interval import Interval
    from analysis.statistics.intervals.means import accuracy_interval, mean_interval
    from analysis.statistics.intervals.ratios import paired_ratio_interval, ratio_interval
    from analysis.statistics.pareto import candidates, float_baseline, front, hypervolume, knee
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "Interval": "intervals.interval",
            "accuracy_interval": "intervals.means",
            "attainment_surfaces": "attainment",
            "best_replicates": "family_gains",
            "candidates": "pareto",
            "compare": "comparison",
            "confirmed": "confirmation",
            "float_baseline": "pareto",
            "front": "pareto",
            "gains": "family_gains",
            "hypervolume": "pareto",
            "improvement_interval": "intervals.improvement",
            "improvements": "family_gains",
            "knee": "pareto",
            "load_confirmation": "confirmation",
            "mean_interval": "intervals.means",
            "paired_ratio_interval": "intervals.ratios",
            "probability_of_improvement": "intervals.improvement",
            "ratio_interval": "intervals.ratios",
            "selected": "confirmation",
            "sizes": "comparison",
        },
    )


__all__ = [
    "Interval",
    "accuracy_interval",
    "attainment_surfaces",
    "best_replicates",
    "candidates",
    "compare",
    "confirmed",
    "float_baseline",
    "front",
    "gains",
    "hypervolume",
    "improvement_interval",
    "improvements",
    "knee",
    "load_confirmation",
    "mean_interval",
    "paired_ratio_interval",
    "probability_of_improvement",
    "ratio_interval",
    "selected",
    "sizes",
]
