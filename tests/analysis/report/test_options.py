"""Options of `qar report` for units, choices and names; each mistake is one line."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.costs import COSTS
from analysis.levels import FAMILIES
from analysis.names import read_names
from analysis.report.options import check_choice, view_of
from analysis.report.tables import TABLES
from analysis.report.tables.configurations import confirmed_table
from analysis.view import View
from tests.support.example_studies import trials_frame
from tests.support.many_families import findings_with_many_families
from trainables.result import FINETUNE, REGULARIZE

WRONG = {
    "unknown cost": ({"cost": "money"}, ["'money'", "bits", "size", "ratio", "bops", "levels"]),
    "no family": ({"families": "RM,,RE"}, ["families", "'RM,,RE'"]),
    "no K": ({"levels": "2,x"}, ["levels", "'2,x'", "2,4,8"]),
    "K below 2": ({"levels": "1"}, ["levels", "'1'"]),
    "unknown phase": ({"phases": "tune"}, ["'tune'", "regularize", "finetune"]),
    "no file of names": ({"names": Path("nowhere.yaml")}, ["nowhere.yaml", "No such file"]),
    "no file of literature": ({"literature": Path("nowhere.csv")}, ["nowhere.csv", "No such file"]),
}


@pytest.mark.parametrize(("options", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_option_is_refused_in_one_line(options: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        view_of(**options)  # type: ignore[arg-type]
    assert [part for part in parts if part not in str(refusal.value)] == []


WRONG_NAMES = {
    "a list": ("[RM]", ["mapping", "list"]),
    "an unknown section": ("colours: {RM: red}", ["'colours'", "families"]),
    "a family without a text": ("families: {RM: 3}", ["families", "'RM': 3"]),
    "a section that is no mapping": ("titles: front", ["titles", "'front'"]),
    "an unknown axis": ("labels: {money: dollars}", ["'money'", "bits"]),
    "two families of one label": ("families: {RM: nearest, RE: nearest}", ["'nearest'", "twice"]),
    "broken YAML": ("families: {RM", ["can't be read"]),
    "two lines": ('families: {RM: "one\\ntwo"}', ["one line"]),
}


@pytest.mark.parametrize(("content", "parts"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_wrong_names_are_refused_in_one_line(content: str, parts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"^names {re.escape(str(path))}[^\n]+$") as refusal:
        read_names(path)
    assert [part for part in parts if part not in str(refusal.value)] == []


def test_names_give_labels_and_the_order_of_families(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("families: {RE: smooth minimum, none: k-means}\n")
    names = read_names(path)
    assert names.order(["none", "RS", "RE"]) == ["RE", "none", "RS"]
    assert [names.family(family) for family in ("RE", "RS")] == ["smooth minimum", "RS"]
    assert set(names.order(FAMILIES)) == set(FAMILIES)


def test_restriction_keeps_float_baselines_and_those_to_compare_with() -> None:
    trials = trials_frame(
        *({"family": family, "num_levels": levels} for family in ("none", "RM", "RE") for levels in (2, 4)),
        {"family": "none", "num_levels": None},
    )
    view = View(families=("RM",), levels=(4,))
    kept = view.restrict(trials)
    assert kept[["family", "num_levels"]].fillna(0).to_numpy().tolist() == [["RM", 4], ["none", 0]]
    assert len(view.restrict(trials, keep=("none",))) == 3
    assert view.restriction == "only families RM; K = 4"


def test_choice_that_no_trial_fits_is_refused() -> None:
    study = findings_with_many_families().study
    with pytest.raises(ValueError, match=r"^no trial is of family 'RX'; choose from \[[^\n]+\]$"):
        check_choice(View(families=("RX",)), [study])
    with pytest.raises(ValueError, match=r"^no trial has K = 3; choose from \[2, 4, 8\]$"):
        check_choice(View(levels=(3,)), [study])
    check_choice(View(families=("DKM",), levels=(8,)), [study])


@pytest.mark.parametrize("name", COSTS)
def test_better_cost_has_a_smaller_value_in_its_column(name: str) -> None:
    cost = COSTS[name]
    rows = pd.DataFrame(
        {"bits_per_weight": [1.0, 2.0], "artifact_bytes": [10, 20], "weight_bops": [5, 6], "num_levels": [2, 4]}
    )
    assert rows[cost.column].is_monotonic_increasing
    shown = cost.of(rows)
    assert (shown.iloc[0] > shown.iloc[1]) == cost.more_is_better


def test_costs_in_their_units() -> None:
    rows = pd.DataFrame({"bits_per_weight": [2.0], "artifact_bytes": [1_500_000], "weight_bops": [3_000_000]})
    values = {name: cost.of(rows).tolist() for name, cost in COSTS.items() if name != "levels"}
    assert values == {"bits": [2.0], "size": [1.5], "ratio": [16.0], "bops": [3.0]}


def test_tables_show_the_chosen_families_levels_and_phases_alone() -> None:
    findings = findings_with_many_families(View(families=("RM", "RH"), levels=(2, 8), phases=(FINETUNE,)))
    frames = {name: make(findings).frame for name, make in TABLES.items() if name != "importances"}
    for name, frame in frames.items():
        quantized = frame[frame["num_levels"].notna()]
        assert set(quantized["family"]) == {"RM", "RH"}, name
        assert set(quantized["num_levels"]) == {2, 8}, name
        if "phase" in frame:
            assert set(frame["phase"]) == {FINETUNE}, name


def test_best_of_a_table_is_the_best_of_those_that_it_shows() -> None:
    frame = TABLES["accuracy"](findings_with_many_families(View(families=("RS", "RC"), phases=(REGULARIZE,)))).frame
    for _, rows in frame.groupby("num_levels"):
        assert rows["best"].tolist() == (rows["accuracy"] == rows["accuracy"].max()).tolist()


def test_losses_are_differences_from_the_float_baseline_in_points() -> None:
    findings = findings_with_many_families(View(loss=True, cost_name="size"))
    assert findings.float_accuracy("test") == pytest.approx(0.92)
    frame = confirmed_table(findings).frame
    np.testing.assert_allclose(frame["loss_points"], 100 * (frame["test_accuracy"] - 0.92))
    np.testing.assert_allclose(frame["size"], frame["artifact_bytes"] / 1e6)
    latex = confirmed_table(findings).latex
    assert "MB & family" in latex
    assert r"differences from that of the float baseline, 92.0\%" in latex
