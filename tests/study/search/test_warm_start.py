"""Warm start: results of other studies reach the sampler once, and no table of this one."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from study.config import StudyConfig
from study.ledger.history import KnownResult
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.search.optuna_trials import values_of
from study.search.searcher import OptunaSearcher
from study.search.warm_start import read_priors, record_priors
from tests.support.example_studies import arrow_schema, make_study, study_config, trials_frame, write_tables_of
from trainables.result import TRIAL_COLUMNS, TrialState


def config_of(*sources: Path, **changes: Any) -> StudyConfig:
    return study_config(warm_start=[str(source) for source in sources], **changes)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    folder = tmp_path / "earlier"
    write_tables_of(
        folder,
        trials_frame(
            {"num_levels": 4, "val_accuracy": 0.7, "bits_per_weight": 2.25},
            {"family": "none", "placement": "kmeans", "lam": None, "num_levels": 8, "val_accuracy": 0.8},
            {"state": TrialState.PRUNED},
            {"state": TrialState.FAIL, "val_accuracy": None, "bits_per_weight": None},
            {"family": "none", "placement": None, "lam": None, "num_levels": None, "bits_per_weight": 32.0},
            {"num_levels": 1000},
            {"lam": 10.0},
        ),
    )
    return folder


@pytest.mark.parametrize("name", ["", "trials.parquet"], ids=["folder", "table"])
def test_complete_trials_inside_the_space_are_priors(name: str, earlier: Path) -> None:
    priors = read_priors(config_of(earlier / name))
    assert [prior["params"] for prior in priors] == [
        {"family": "RS", "num_levels": 4, "placement": "own", "lam": 1e-3},
        {"family": "none", "num_levels": 8, "placement_none": "kmeans"},
    ]
    assert priors[0]["metrics"] == {"val_accuracy": 0.7, "bits_per_weight": 2.25}
    assert {prior["source"] for prior in priors} == {str(earlier / "trials.parquet")}


def test_family_that_this_study_does_not_search_is_left_out(earlier: Path) -> None:
    priors = read_priors(config_of(earlier, space={"family": ["none"]}))
    assert [prior["params"]["family"] for prior in priors] == ["none"]


def test_sampler_learns_from_priors_and_no_table_holds_them(earlier: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    searcher = OptunaSearcher(config_of(earlier), ledger)
    assert [values_of(proposal) for proposal in ledger.history.proposals] == [[0.7, 2.25], [0.8, 2.0]]
    assert [trial.values for trial in searcher.optuna_study.trials] == [[0.7, 2.25], [0.8, 2.0]]
    assert ledger.history.trials == {}
    suggestion = searcher.suggest("ray-0")
    assert isinstance(suggestion, dict)
    assert suggestion["anchor"], "anchors come first all the same"


def test_configuration_of_a_prior_is_run_here_too(earlier: Path, tmp_path: Path) -> None:
    """Only what is trained under this study's seed and budget may be on its front."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    searcher = OptunaSearcher(config_of(earlier, anchors={"num_levels": [8]}), ledger)
    suggestions = [searcher.suggest(f"ray-{number}") for number in range(2)]
    assert isinstance(suggestions[1], dict)
    assert suggestions[1]["trial"]["num_levels"] == 8


@pytest.mark.parametrize("recorded", [0, 1, 2])
def test_priors_are_recorded_once_ever(recorded: int, earlier: Path, tmp_path: Path) -> None:
    path, config = tmp_path / "ledger.jsonl", config_of(earlier)
    ledger = Ledger(path)
    record_priors(ledger, config)
    ledger.close()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:recorded]))  # killed between them
    ledger = Ledger(path)
    record_priors(ledger, config)
    record_priors(ledger, config)
    ledger.close()
    proposals = read_history(path).proposals
    assert [isinstance(proposal, KnownResult) and proposal.state for proposal in proposals] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
    ]


def test_priors_are_not_read_once_the_study_has_begun(earlier: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    OptunaSearcher(config_of(earlier), ledger).suggest("ray-0")
    (earlier / "trials.parquet").unlink()
    OptunaSearcher(config_of(earlier), ledger)
    assert len(ledger.history.proposals) == 3


def test_study_of_this_version_can_be_begun_from(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    assert len(read_priors(config_of(study.path))) == 2


@pytest.mark.parametrize("name", ["", "trials.parquet"], ids=["folder", "table"])
def test_field_that_the_other_study_held_fixed_has_its_value(name: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    space = {"recipe.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}
    priors = read_priors(config_of(study.path / name, space=space))
    assert [prior["params"]["recipe.learning_rate"] for prior in priors] == [3e-3, 3e-3]
    beyond = {"recipe.learning_rate": {"low": 1e-2, "high": 1e-1, "log": True}}
    with pytest.raises(
        ValueError, match=r"warm_start must name studies with COMPLETE trials inside this study's space"
    ):
        read_priors(config_of(study.path / name, space=beyond))
    study.study_yaml.write_text("name: [")
    with pytest.raises(ValueError, match=r"warm_start: .*study\.yaml"):
        read_priors(config_of(study.path / name, space=space))


def test_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"warm_start must name .* got '.*nowhere', which does not exist"):
        read_priors(config_of(tmp_path / "nowhere"))


def test_source_that_cant_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "trials.parquet").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"^warm_start: [^\n]*trials\.parquet is damaged[^\n]*leave it out$"):
        read_priors(config_of(tmp_path))


@pytest.mark.parametrize(
    ("column", "value"),
    [("lam", "0.001"), ("num_levels", 4.5), ("val_accuracy", 95.5), ("state", "complete"), ("number", 1)],
)
def test_table_that_breaks_a_rule_is_refused_with_column_and_value(column: str, value: Any, earlier: Path) -> None:
    """The same rules as for a report: nothing of such a table reaches the sampler."""
    path = earlier / "trials.parquet"
    table = pd.read_parquet(path)
    table.assign(**{column: [value] * len(table)}).to_parquet(path)
    with pytest.raises(ValueError, match=rf"^warm_start: [^\n]*{column} must [^\n]*{value}[^\n]*$"):
        read_priors(config_of(earlier))


def test_table_that_pandas_has_written_with_an_index_gives_the_same_priors(earlier: Path) -> None:
    usual = read_priors(config_of(earlier))
    path = earlier / "trials.parquet"
    pd.read_parquet(path).sort_values("val_accuracy").set_index("number").to_parquet(path)
    assert read_priors(config_of(earlier)) == usual


def test_source_with_nothing_inside_the_space_is_refused(earlier: Path) -> None:
    with pytest.raises(ValueError, match=r"COMPLETE trials inside this study's space, got .*widen space"):
        read_priors(config_of(earlier, space={"family": ["RE"]}))


def test_table_that_is_none_of_trials_is_refused(tmp_path: Path) -> None:
    pq.write_table(arrow_schema(TRIAL_COLUMNS[:2]).empty_table(), tmp_path / "trials.parquet")
    with pytest.raises(ValueError, match=r"lacks the columns \['state'"):
        read_priors(config_of(tmp_path))


def test_table_of_a_newer_schema_is_refused(earlier: Path) -> None:
    table = pq.read_table(earlier / "trials.parquet").replace_schema_metadata({"qar_schema_version": "99"})
    pq.write_table(table, earlier / "trials.parquet")
    with pytest.raises(ValueError, match=r"is of schema 99, and this version of qar reads up to \d+"):
        read_priors(config_of(earlier))


def test_table_of_an_older_schema_gives_the_same_priors(earlier: Path) -> None:
    usual = read_priors(config_of(earlier))
    table = pq.read_table(earlier / "trials.parquet").drop_columns(["test_accuracy_pre_tuning"])
    pq.write_table(table.replace_schema_metadata({"qar_schema_version": "1"}), earlier / "trials.parquet")
    assert read_priors(config_of(earlier)) == usual
