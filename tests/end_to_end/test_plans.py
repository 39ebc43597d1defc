"""A planned study without Ray, by `benchmarks/plans.py`, against the same study on a real Ray."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from plans import Lines, Plan, batched, exported, plans_of, read_lines, train, trials_in_turn, write_studies

from analysis.load import load_epochs, load_trials
from study.config import load_study
from tests.support.live_studies import qar
from trainables.result import TrialState

TIMES_AND_PLACES = ["train_seconds", "trial_id", "hostname", "checkpoint"]

SMALL = [
    *("trial.width=0.5", "trial.subset=320", "baseline_epochs=1", "trial.regularize_epochs=1"),
    *("trial.finetune_epochs=1", "early_stopping.scheduler=none"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a plan of four trials on digits."""
    content = load_study("digits", SMALL).model_dump(mode="json", exclude={"plan"})
    arms = [("none", 4, 0.0), ("quantize-first", 4, 0.0), ("RM", 3, 8.0), ("RC", 4, 2.0)]
    content["trial"]["evaluate_test"] = True
    content["plan"] = [{"family": family, "num_levels": levels, "lam": lam} for family, levels, lam in arms]
    file = tmp_path_factory.mktemp("plan") / "study.yaml"
    file.write_text(yaml.safe_dump(content | {"trials": len(arms)}))
    return file


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a table that no clock and no machine decides."""
    return table.drop(columns=[name for name in TIMES_AND_PLACES if name in table]).dropna(axis=1, how="all")


@pytest.mark.e2e
def test_tables_are_those_of_the_study_on_ray(study: Path, tmp_path: Path) -> None:
    """Every number, the hashes of the configurations among them."""
    assert qar("launch", str(study), cwd=tmp_path).status == 0
    plans = exported([str(study)], [], "digits", "planned")
    assert [plan.name for plan in plans] == ["planned"]
    restored = [Plan.from_dict(plan.to_dict()) for plan in plans]
    lines = Lines(tmp_path / "lines", 600)
    train(restored, "cpu", lines)
    write_studies(tmp_path / "lines", restored, "abc")
    expected, found = tmp_path / "studies" / "digits", tmp_path / "lines" / "planned"
    for load in (load_trials, load_epochs):
        pd.testing.assert_frame_equal(comparable(load(found)), comparable(load(expected)), check_like=True)
    assert load_study(str(found / "study.yaml")).plan == load_study(str(study)).plan
    assert qar("report", str(found), cwd=tmp_path).status == 0


def test_what_was_trained_is_a_study_that_can_be_launched(study: Path, tmp_path: Path) -> None:
    """Also where the time ends before the plan: then its trials are those that were trained."""
    plans = [
        exported([str(study)], ["trial.subset=100", f"seed={seed}"], "digits", f"seed{seed}")[0] for seed in (1, 2)
    ]
    lines = Lines(tmp_path, 600)
    train(plans, "cpu", lines, together=2)
    lines.until = 0.0
    train(plans, "cpu", lines)
    written = read_lines(tmp_path)
    assert written[-1] == {"part": "end", "reason": "the time is over", "study": "seed1"}
    found = plans_of([line for line in written[:-2] if line.get("number", 0) < 3])
    write_studies(tmp_path, found)
    for plan, name in zip(plans, ("seed1", "seed2"), strict=True):
        trials, config = load_trials(tmp_path / name), load_study(str(tmp_path / name / "study.yaml"))
        assert set(trials["state"]) == {TrialState.COMPLETE}
        assert config.trials == 3
        assert config.baseline_config(config.seed).hash == plan.float_network.hash
        planned = [config.trial_config(trial.searched) for trial in config.plan]
        assert [trial.to_dict() for trial in planned] == [trial.to_dict() for trial in plan.trials[:3]]


def test_trials_of_several_studies_are_trained_in_turn(study: Path) -> None:
    (plan,) = exported([str(study)], [], "", "")
    short = Plan("short", plan.float_network, plan.trials[:1])
    order = [(one.name, number) for one, number in trials_in_turn([plan, short])]
    assert order == [("digits", 0), ("short", 0), ("digits", 1), ("digits", 2), ("digits", 3)]
    assert list(batched(order, 3)) == [order[:3], order[3:]]


def test_lines_of_an_earlier_run_are_not_continued(tmp_path: Path) -> None:
    Lines(tmp_path, 1).write(part="session")
    with pytest.raises(ValueError, match="must be a folder without lines"):
        Lines(tmp_path, 1)


def test_study_without_a_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="digits must have a plan"):
        exported(["digits"], [], "", "")
