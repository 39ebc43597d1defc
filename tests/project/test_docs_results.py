"""The results of docs/results.md: the studies lie beside it, and everything on the page can be made from them again."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from decide_claims import arms, decided, merged, table_rows, write_merged

from analysis.levels import is_allocated
from analysis.load import load_trials
from analysis.report.format import Format
from analysis.report.report import write_comparison, write_report
from analysis.statistics.claims import lam_by_family
from analysis.statistics.mixed_levels import compare_at_equal_bits
from study.config import load_study
from trainables.result import END_STATES, FINETUNE, REGULARIZE

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
PAGE = (ROOT / "docs" / "results.md").read_text()
STUDIES = sorted(path.parent for path in RESULTS.glob("*/study.yaml"))
FIRST = [study for study in STUDIES if study.name.startswith("cifar10-small")]
"""The first studies; all others belong to the study of the claims, or to mixed K."""

CLAIMS = {
    "claims-vgg16": ("Decisions", "Accuracies"),
    "claims-alexnet-bn": ("AlexNet: decisions", "AlexNet: accuracies"),
}
"""Sections of the page with the decisions and accuracies of each network of the study of the claims."""

SEEDS = {name: sorted(RESULTS.glob(f"{name}-seed*")) for name in CLAIMS}
LAMBDA_STUDIES = sorted(RESULTS.glob("claims-vgg16-lambda*"))

CUT = {"claims-alexnet-bn": 15}
"""Trials of studies for which the time on a GPU ended before those that are left of their plan."""

TWO_CORES = {levels: sorted(RESULTS.glob(f"claims-alexnet-bn-k{levels}-seed*")) for levels in (4, 8)}
"""Studies of AlexNet at one K, which were trained on two cores, by K."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the figures and tables of the first studies and of all seeds anew from the tables of their trials."""
    out = tmp_path_factory.mktemp("report")
    write_comparison(FIRST, out, format=Format(suffixes=("svg",)))
    for name, seeds in SEEDS.items():
        study = tmp_path_factory.mktemp("seeds") / name
        write_merged(seeds, study)
        write_report(study, out / name, format=Format(suffixes=("svg",)))
    return out


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_study_has_ended_all_of_its_trials(study: Path) -> None:
    trials = load_trials(study)
    planned = yaml.safe_load((study / "study.yaml").read_text())["trials"]
    assert len(trials) == CUT.get(study.name.split("-seed")[0], planned)
    assert set(trials["state"]) <= {*END_STATES}
    assert study.name in PAGE


@pytest.mark.parametrize("name", sorted(path.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("table-*.csv")))
def test_table_is_what_its_study_gives(name: str, report: Path) -> None:
    assert (report / name).read_text() == (RESULTS / name).read_text()


@pytest.mark.parametrize("name", sorted(path.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("*.svg")))
def test_figure_is_one_of_the_report_and_small(name: str, report: Path) -> None:
    assert (report / name).exists()
    assert (RESULTS / name).stat().st_size < 300_000


def test_both_networks_are_there_with_their_tables_and_figures() -> None:
    assert [study.name for study in FIRST] == ["cifar10-small-alexnet", "cifar10-small-vgg16"]
    for study in FIRST:
        names = {path.relative_to(study).as_posix() for path in study.rglob("*") if path.is_file()}
        assert {"table-accuracy.csv", "table-gains.csv", "figures/front.svg", "confirm/trials.parquet"} <= names


def numbers_of(study: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return accuracies and factors before and after tuning by K and family, from the tables of a study."""
    accuracies, gains = (
        pd.read_csv(RESULTS / study / f"table-{name}.csv").set_index(["num_levels", "family", "phase"])
        for name in ("accuracy", "gains")
    )

    def factor(key: tuple[int, str, str]) -> str:
        if key not in gains.index:
            return "–"
        found = gains.loc[key]
        return f"{found['gain']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"

    def accuracy(key: tuple[int, str, str]) -> str:
        found = accuracies.loc[key]
        return f"{found['accuracy']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"

    return {
        (str(levels), family): tuple(
            told((levels, family, phase)) for phase in (REGULARIZE, FINETUNE) for told in (accuracy, factor)
        )
        for levels, family in {(levels, family) for levels, family, _ in accuracies.index}
    }


@pytest.mark.parametrize("heading", ["AlexNet", "VGG16"])
def test_numbers_of_the_page_are_those_of_its_tables(heading: str) -> None:
    section = PAGE.split(f"\n#### {heading}\n")[1].split("\n#### ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    rows = {(levels, family): tuple(told) for levels, family, _, *told in cells if levels.isdigit()}
    expected = numbers_of(f"cifar10-small-{heading.lower()}")
    assert rows == {key: expected[key] for key in rows}
    assert len(rows) >= 10


@pytest.mark.parametrize(("place", "studies"), [(0, ["lambda"]), (1, ["lambda-re", "lambda-re512"])])
def test_tables_of_lam_are_those_of_their_studies(place: int, studies: list[str]) -> None:
    tables = [load_trials(RESULTS / f"claims-vgg16-{name}") for name in studies]
    trials = pd.concat(tables).set_index(["family", "lam", "num_levels"]).sort_index()
    section = PAGE.split("\n### λ\n")[1].split("\n## ")[0].split("\n| family | λ |")[place + 1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    rows = [row for row in rows if row[0] in set(trials.index.get_level_values("family"))]
    assert len(rows) * 3 == len(trials)
    for family, lam, *cells in rows:
        at = trials.loc[(family, float(lam))].loc[[2, 4, 8]]
        before = zip(at["val_accuracy_pre_tuning_recalibrated"], at["val_accuracy_pre_tuning_kept"], strict=True)
        expected = [f"{recalibrated:.3f} ({kept:.3f})" for recalibrated, kept in before]
        expected += [f"{value:.3f}" for value in at["val_accuracy"]]
        expected += [f"{value:.2f}" for value in at["bits_per_weight"]]
        assert cells == expected


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of all rows of a section of the page but for those of headers."""
    section = PAGE.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [row for row in cells if not row[0].startswith("-") and "K" not in row]


def test_seeds_run_one_plan_with_the_lam_that_was_chosen_before() -> None:
    lams = lam_by_family(merged(LAMBDA_STUDIES))
    families = {"none": 0.0, "quantize-first": 0.0, **lams}
    plans = []
    for studies in SEEDS.values():
        seeds = [load_study(str(study / "study.yaml")) for study in studies]
        assert [seed.seed for seed in seeds] == [1, 2, 3, 4, 5]
        for seed in seeds:
            assert seed.model_dump(exclude={"name", "seed"}) == seeds[0].model_dump(exclude={"name", "seed"})
        planned = {(trial.family, trial.num_levels): trial.lam for trial in seeds[0].plan}
        assert planned == {(family, levels): lam for family, lam in families.items() for levels in (2, 4, 8)}
        plans.append(seeds[0].model_dump(exclude={"name": True, "trial": {"model"}}))
    assert plans[0] == plans[1]


@pytest.mark.parametrize(("name", "rows"), [("claims-vgg16", 18), ("claims-alexnet-bn", 15)])
def test_table_of_the_seeds_is_that_of_their_studies(name: str, rows: int) -> None:
    trials = merged(SEEDS[name])
    assert len(rows_of(CLAIMS[name][1])) == rows
    assert rows_of(CLAIMS[name][1]) == arms(trials) == arms(trials[::-1])


@pytest.mark.parametrize(("levels", "seeds"), [(4, [1, 2]), (8, [1, 2, 3, 4, 5])])
def test_studies_on_two_cores_run_the_part_of_the_plan_with_their_levels(levels: int, seeds: list[int]) -> None:
    studies = [load_study(str(study / "study.yaml")) for study in TWO_CORES[levels]]
    assert [study.seed for study in studies] == seeds
    for alone in studies:
        whole = load_study(str(RESULTS / f"claims-alexnet-bn-seed{alone.seed}" / "study.yaml"))
        assert [trial for trial in whole.plan if trial.num_levels == levels] == alone.plan
        assert alone.trial == whole.trial
        assert alone.baseline_epochs == whole.baseline_epochs


@pytest.mark.parametrize("levels", TWO_CORES)
def test_table_of_two_cores_is_that_of_its_studies(levels: int) -> None:
    assert rows_of(f"AlexNet: K = {levels} on two cores") == arms(merged(TWO_CORES[levels]))


def test_arms_of_studies_that_search_lam_are_refused() -> None:
    """A mean over several λ is no accuracy of an arm."""
    with pytest.raises(ValueError, match=r"λ must be one for each family and K, got 2, 8, 32 for R.; use `qar report`"):
        arms(merged(LAMBDA_STUDIES[:1]))


@pytest.mark.parametrize("name", CLAIMS)
def test_decisions_are_those_of_the_tests_that_were_named(name: str) -> None:
    split, table = decided(merged(LAMBDA_STUDIES), merged(SEEDS[name]), None)
    assert split == "test"
    assert rows_of(CLAIMS[name][0]) == table_rows(table)
    assert len(table) == 16


def test_table_of_full_size_is_that_of_its_studies() -> None:
    section = PAGE.split("\n## Full size\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    expected = [
        [network, levels, family, *accuracies]
        for network in ("VGG16", "AlexNet")
        for levels, family, _, *accuracies in arms(merged([RESULTS / f"full-{network.lower()}"]))
    ]
    assert cells[2:] == expected


def test_tables_of_mixed_k_are_those_of_their_studies() -> None:
    tables = []
    for name in ("mixed-vgg16", "groups-alexnet"):
        trials, ends = (load_trials(RESULTS / study) for study in (name, f"{name}-ends"))
        mixed = trials[is_allocated(trials)]
        floats = [table.groupby("seed")["float_val_accuracy"].first() for table in (trials, ends)]
        assert floats[0].equals(floats[1])  # the same float networks
        tables += [compare_at_equal_bits(table) for table in (trials, pd.concat([mixed, ends], ignore_index=True))]
    section = PAGE.split("\n## Mixed K\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    rows = [row for row in cells if len(row) == 6 and row[0].isdigit()]
    expected = [
        [
            *(str(row["num_levels"]), f"{row['bits']:.2f}", "before" if row["phase"] == REGULARIZE else "after"),
            *(f"{row[name]:.3f}" for name in ("accuracy", "mixed_accuracy")),
            f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]",
        ]
        for table in tables
        for row in table.to_dict("records")
    ]
    assert rows == expected
    assert all((table["n"] == 3).all() for table in tables)


def test_page_shows_what_lies_beside_it() -> None:
    linked = re.findall(r"\]\((results/[^)#]+)\)", PAGE)
    assert linked
    for path in linked:
        assert (ROOT / "docs" / path).exists(), path


def test_studies_are_small_and_name_no_place_of_one_machine() -> None:
    files = [path for study in STUDIES for path in study.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files if path.suffix == ".parquet") < 2_000_000
    for path in files:
        if path.suffix in (".yaml", ".json"):
            assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", path.read_text()), path
