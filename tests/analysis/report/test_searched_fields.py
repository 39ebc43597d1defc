"""Further searched fields of trials: they are shown wherever K and λ are, and families are compared at their best."""

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.load import load_trials, searched_columns
from analysis.names import field_text
from analysis.report.format import Format
from analysis.report.report import write_report
from analysis.statistics.comparison import compare
from analysis.statistics.confirmation import confirmed, selected
from analysis.statistics.family_gains import best_replicates
from study.commands.importance import hyperparameter_importances
from study.commands.repair import repair_ledger
from study.ledger.facts import ASKED, ENDED, SESSION_ENDED
from study.ledger.ledger import Ledger
from study.records.tables import write_tables
from study.storage.folder import StudyFolder
from tests.support.chromium import Page
from tests.support.example_studies import asked, confirm_study, start_session, study_config, train

RATES = (1e-3, 1e-2, 1e-1)
BEST = {"none": 1e-2, "RS": 1e-3, "RE": 1e-1}
"""Learning rate at which each family is best."""
FIELDS = ["recipe.learning_rate", "penalty.squared"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Three families at two K and three learning rates, confirmed; the penalty of two trials is another."""
    space = {
        "family": list(BEST),
        "recipe.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
        "penalty.squared": [True, False],
    }
    config = study_config(trials=21, space=space)
    folder = StudyFolder(tmp_path_factory.mktemp("studies") / "small")
    folder.create(config)
    ledger = Ledger(folder.ledger)
    start_session(ledger, folder)
    plan: list[tuple[dict[str, Any], float, float]]
    plan = [({"family": "none", "num_levels": levels}, 0.5, 1.2) for levels in (None, 2, 4)]  # with defaults
    for place, (family, levels, rate) in enumerate(product(BEST, (2, 4), RATES)):
        searched = {"family": family, "num_levels": levels, "recipe.learning_rate": rate}
        searched |= {} if family == "none" else {"lam": 1e-3 * (1 + place % 4), "placement": "own"}
        searched |= {"penalty.squared": place % 5 != 0}
        accuracy = 0.6 + 0.05 * levels + 0.1 * (rate == BEST[family]) + rate / 10
        plan.append((searched, accuracy, levels / 2 + 0.3 + rate))
    for number, (searched, accuracy, bits) in enumerate(plan):
        ledger.record(ASKED, **asked(number, config.trial_config(searched)))
        train(ledger, number, 4, accuracy=accuracy, bits=bits)
        ledger.record(ENDED, number=number, state="COMPLETE", failure=None)
    ledger.record(SESSION_ENDED, session=1, outcome="finished")
    write_tables(folder, ledger.history, config.searched_fields)
    ledger.close()
    confirmation = confirm_study(folder)
    write_tables(confirmation, confirmation.read_history(), config.searched_fields)
    return folder


@pytest.fixture(scope="module")
def report(study: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    written = write_report(study.path, out, format=Format(suffixes=("svg",)), importances=hyperparameter_importances)
    assert written.failures == ()
    (out / "text.txt").write_text(written.text)
    return out


def test_families_are_compared_at_their_best_nuisances(study: StudyFolder) -> None:
    """The configuration of a family and K is the one with the best learning rate of the search, in every comparison."""
    search, confirmation = load_trials(study.path), load_trials(study.confirmation.path)
    chosen = selected(search, confirmation)
    quantized = chosen.groupby(["family", "num_levels"])["recipe.learning_rate"].unique()
    assert {key: rates.tolist() for key, rates in quantized.items()} == {
        (family, levels): [rate] for family, rate in BEST.items() for levels in (2, 4)
    }
    compared = compare(chosen, split="test")
    best = search.loc[search["number"].ge(3) & search["recipe.learning_rate"].eq(search["family"].map(BEST))]
    assert set(compared["config_hash"]) == set(best["config_hash"])
    again = best_replicates(search, minimum=1)
    assert set(again["config_hash"]) == set(best["config_hash"])


def test_confirmation_trains_each_configuration_once_for_each_seed(study: StudyFolder) -> None:
    """The plain configuration of `none`, which leaves the fields out, may be a trial of the search."""
    config = study.confirmation.read_config()
    hashes = [config.trial_config(trial.searched).hash for trial in config.plan]
    assert len(hashes) == len(set(hashes))


def test_results_over_seeds_have_the_fields(study: StudyFolder) -> None:
    results = confirmed(load_trials(study.path), load_trials(study.confirmation.path))
    assert searched_columns(load_trials(study.path)) == FIELDS
    assert list(results.columns[-2:]) == FIELDS
    searched = load_trials(study.path).set_index("config_hash")
    for row in results.itertuples():
        if row.config_hash in searched.index:
            assert results.loc[row.Index, "recipe.learning_rate"] == searched.loc[row.config_hash, FIELDS[0]]


@pytest.mark.parametrize("name", ["table-confirmed.csv", "front.csv", "confirmed.csv"])
def test_lists_have_the_fields(name: str, report: Path) -> None:
    assert set(FIELDS) <= set(pd.read_csv(report / name).columns)


def test_latex_has_a_column_for_each_field(report: Path) -> None:
    text = (report / "table-confirmed.tex").read_text()
    assert r"placement & recipe.learning\_rate & penalty.squared & test" in text
    (alignment,) = re.findall(r"\\begin\{tabular\}\{@\{\}(.*)@\{\}\}", text)
    columns = len(re.sub(r"@\{.*?\}", "", alignment))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") + 1 for line in rows if "multicolumn" not in line} == {columns}
    assert "& 0.001 & " in text


def test_terminal_shows_the_fields(report: Path) -> None:
    text = (report / "text.txt").read_text()
    assert text.count("recipe.learning_rate") == 2, "in the front and in the confirmed results"


def test_importances_include_the_fields(study: StudyFolder) -> None:
    table = hyperparameter_importances(load_trials(study.path))
    assert set(FIELDS) <= set(table["parameter"])


def test_provenance_has_the_whole_configuration(report: Path, study: StudyFolder) -> None:
    points = json.loads((report / "provenance.json").read_text())["trials"]
    search = [point for point in points if point["study"] == "small"]
    rates = load_trials(study.path).set_index("number")["recipe.learning_rate"]
    for point in search:
        assert point["configuration"]["recipe.learning_rate"] == rates[point["number"]]
        assert isinstance(point["configuration"]["penalty.squared"], bool)


def test_static_tables_of_the_page_have_the_fields(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert page.count('<th scope="col">recipe.learning_rate</th><th scope="col">penalty.squared</th>') == 2
    assert '<td data-value="0.001">0.001</td>' in page
    assert '<td data-value="True">true</td>' in page


@pytest.mark.chromium
def test_page_shows_the_fields_of_the_chosen_point(report: Path) -> None:
    with Page() as page:
        page.open(report / "report.html")
        text = page.text("#details")
        assert "recipe.learning_rate" in text
        whole = json.loads(page.run("document.querySelector('#details .configuration').textContent"))
        assert whole["recipe"]["learning_rate"] in RATES
        assert whole["penalty"]["squared"] in (True, False)


def test_repair_keeps_the_columns_of_the_fields(study: StudyFolder, tmp_path: Path) -> None:
    damaged = StudyFolder(tmp_path / "small")
    damaged.path.mkdir()
    for path in (study.study_yaml, study.ledger, study.trials, study.epochs):
        (damaged.path / path.name).write_bytes(path.read_bytes())
    lines = damaged.ledger.read_bytes().splitlines(keepends=True)
    damaged.ledger.write_bytes(b"".join([*lines[:-6], b"{broken\n", *lines[-6:]]))
    repair = repair_ledger(damaged, lambda line: None)
    assert repair is not None
    left = load_trials(damaged.path)
    assert searched_columns(left) == FIELDS
    assert left["recipe.learning_rate"].notna().all()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00123456, "0.00123"), (None, "–"), (float("nan"), "–"), (True, "true"), (16, "16"), ("sgd", "sgd")],
)
def test_field_is_shown_in_few_digits(value: object, text: str) -> None:
    assert field_text(value) == text
