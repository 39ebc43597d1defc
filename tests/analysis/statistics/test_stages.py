"""Stages of a trial at which accuracy is compared."""

from analysis.statistics.pareto import front
from analysis.statistics.stages import AFTER_TUNING, Stage, stages_of
from analysis.view import PHASES
from tests.support.example_studies import trials_frame
from trainables.result import FINETUNE, REGULARIZE

BOTH = {"val_accuracy_pre_tuning_kept": 0.2, "val_accuracy_pre_tuning_recalibrated": 0.6}


def test_trials_of_earlier_versions_have_one_stage_before_tuning() -> None:
    stages = stages_of(trials_frame({}), "validation", PHASES)
    assert [stage.title for stage in stages] == ["before tuning", "after tuning"]


def test_both_statistics_are_stages_of_their_own() -> None:
    stages = stages_of(trials_frame(BOTH), "validation", PHASES)
    assert [stage.column("validation") for stage in stages] == [*BOTH, "val_accuracy"]
    assert [stage.phase for stage in stages] == [REGULARIZE, REGULARIZE, FINETUNE]


def test_one_statistic_alone_is_no_stage_of_its_own() -> None:
    only_kept = trials_frame({"val_accuracy_pre_tuning_kept": 0.4, "val_accuracy_pre_tuning": 0.4})
    assert [stage.statistics for stage in stages_of(only_kept, "validation", PHASES)] == ["", ""]


def test_phases_restrict_the_stages() -> None:
    assert stages_of(trials_frame(BOTH), "validation", (FINETUNE,)) == [AFTER_TUNING]
    assert {stage.phase for stage in stages_of(trials_frame(BOTH), "validation", (REGULARIZE,))} == {REGULARIZE}


def test_trials_without_tuning_have_no_stage_after_it() -> None:
    untuned = trials_frame({"val_accuracy_pre_tuning": 0.5, "val_accuracy": 0.5})
    assert [stage.phase for stage in stages_of(untuned, "validation", PHASES)] == [REGULARIZE]


def test_split_without_results_has_no_stage() -> None:
    assert stages_of(trials_frame({}), "test", PHASES) == []


def test_trials_at_a_stage_have_its_accuracy_and_float_baselines_keep_theirs() -> None:
    trials = trials_frame(BOTH, {"family": "none", "num_levels": None, "val_accuracy": 0.9})
    kept = Stage(phase=REGULARIZE, statistics="_kept").at(trials, "validation")
    assert kept["val_accuracy"].tolist() == [0.2, 0.9]
    assert trials["val_accuracy"].tolist() == [0.5, 0.9]


def test_front_before_tuning_may_be_another_one() -> None:
    trials = trials_frame(
        {"val_accuracy_pre_tuning": 0.1, "val_accuracy": 0.9, "bits_per_weight": 2.0},
        {"val_accuracy_pre_tuning": 0.4, "val_accuracy": 0.8, "bits_per_weight": 2.0},
    )
    before = Stage(phase=REGULARIZE).at(trials, "validation")
    assert front(before)["number"].tolist() == [1]
    assert front(trials)["number"].tolist() == [0]
