"""Tables as other programs rewrite them: read the same, or refused in one line with column, rule and value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.example_studies import arrow_schema, trials_frame
from trainables.errors import DamagedFileError
from trainables.files.tables import read_table
from trainables.result import EPOCH_COLUMNS, EPOCH_KEYS, TRIAL_COLUMNS, TRIAL_KEYS, Column

Rewriting = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def trials() -> pd.DataFrame:
    """Three trials: one of RS, the float baseline, whose K, λ and placement are null, and one that failed."""
    failed = {"state": "FAIL", "failure": "it broke", "val_accuracy": None, "bits_per_weight": None}
    return trials_frame({}, {"num_levels": None, "lam": None, "placement": None}, failed | {"anchor": True})


def read(path: Path) -> pd.DataFrame:
    return read_table(path, TRIAL_COLUMNS, keys=TRIAL_KEYS, remedy="try again").to_pandas()


REWRITINGS: dict[str, Rewriting] = {
    "as it is": lambda frame: frame,
    "another order": lambda frame: frame.iloc[::-1],
    "number as index": lambda frame: frame.iloc[::-1].set_index("number"),
    "trial_id as index": lambda frame: frame.set_index("trial_id"),
    "two columns as index": lambda frame: frame.set_index(["number", "trial_id"]),
    "number as a range that is stored in metadata alone": lambda frame: frame.drop(columns="number").set_axis(
        pd.RangeIndex(len(frame), name="number")
    ),
    "further columns": lambda frame: frame.assign(energy=1.0),
    "columns in another order": lambda frame: frame[sorted(frame.columns)],
    "floats for integers": lambda frame: frame.astype({"number": float, "num_levels": float}),
    "small numbers": lambda frame: frame.astype({"number": "int8", "val_accuracy": "float32"}),
    "pandas' own types": lambda frame: frame.convert_dtypes(),
    "categories": lambda frame: frame.astype({"state": "category", "family": "category"}),
    "objects": lambda frame: frame.astype(object),
    "without the newest columns": lambda frame: frame.drop(columns=["checkpoint", "test_accuracy_pre_tuning"]),
}


@pytest.mark.parametrize("rewritten", REWRITINGS.values(), ids=REWRITINGS)
def test_table_that_pandas_has_rewritten_is_read_the_same(
    rewritten: Rewriting, trials: pd.DataFrame, tmp_path: Path
) -> None:
    pq.write_table(pa.Table.from_pandas(trials, arrow_schema(TRIAL_COLUMNS)), tmp_path / "before")
    rewritten(trials).to_parquet(tmp_path / "after")
    pd.testing.assert_frame_equal(read(tmp_path / "after"), read(tmp_path / "before"))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("lam", "0.001", r"lam must be a number of at least 0, got '0.001' of type \w+"),
        ("number", "1", r"number must be a whole number of at least 0, got '1' of type \w+"),
        ("anchor", 1, r"anchor must be true or false, got 1 of type \w+"),
        ("family", 3, r"family must be a text, got 3 of type \w+"),
        ("seed", True, r"seed must be a whole number of at least 0, got True of type bool"),
        ("val_accuracy", b"1", r"val_accuracy must be a number between 0 and 1, got b'1' of type binary"),
        ("num_levels", 2.5, r"num_levels must be a whole number of at least 2, got 2.5 in row 1"),
        ("num_levels", 1, r"num_levels must be a whole number of at least 2, got 1 in row 1"),
        ("epochs", float("inf"), r"epochs must be a whole number of at least 0, got inf in row 1"),
        ("seed", 1e300, r"seed must be a whole number of at least 0 below 2\^63, got 1e\+300"),
        ("val_accuracy", 95.25, r"val_accuracy must be a number between 0 and 1, got 95.25 in row 1"),
        ("test_accuracy", -0.5, r"test_accuracy must be a number between 0 and 1, got -0.5 in row 1"),
        ("bits_per_weight", 0.0, r"bits_per_weight must be a number above 0, got 0 in row 1"),
        ("bits_per_weight", float("inf"), r"bits_per_weight must be a number above 0, got inf in row 1"),
        ("lam", -1e-3, r"lam must be a number of at least 0, got -0.001 in row 1"),
        ("state", "DONE", r"state must be one of \['COMPLETE', 'PRUNED', 'FAIL', 'RUNNING'\], got 'DONE' in row 1"),
        ("state", None, r"state must be set, got null in row 1"),
        ("family", None, r"family must be set, got null in row 1"),
        ("number", 7, r"number must name one row, got 3 rows with number 7"),
        ("trial_id", "a", r"trial_id must name one row, got 3 rows with trial_id 'a'"),
    ],
)
def test_value_that_breaks_a_rule_is_refused(
    column: str, value: Any, rule: str, trials: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "trials.parquet"
    trials.assign(**{column: pd.Series([value] * len(trials))}).to_parquet(path)
    with pytest.raises(DamagedFileError, match=rf"^{path} is damaged: {rule}; try again$"):
        read(path)


def test_row_of_the_first_wrong_value_is_named(trials: pd.DataFrame, tmp_path: Path) -> None:
    trials.assign(val_accuracy=[0.5, float("nan"), 3.0]).to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(DamagedFileError, match="got 3 in row 3"):
        read(tmp_path / "trials.parquet")


def test_table_appended_to_itself_is_refused(trials: pd.DataFrame, tmp_path: Path) -> None:
    pd.concat([trials, trials]).to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(DamagedFileError, match="must name one row, got 2 rows"):
        read(tmp_path / "trials.parquet")


def test_index_without_a_name_is_no_column(trials: pd.DataFrame, tmp_path: Path) -> None:
    trials.set_index("number").rename_axis(None).to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(DamagedFileError, match=r"lacks the columns \['number'\]"):
        read(tmp_path / "trials.parquet")


def test_column_that_is_there_twice_is_refused(trials: pd.DataFrame, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(trials, arrow_schema(TRIAL_COLUMNS))
    pq.write_table(table.append_column("lam", table["lam"]), tmp_path / "trials.parquet")
    with pytest.raises(DamagedFileError, match=r"it has the columns \['lam'\] more than once"):
        read(tmp_path / "trials.parquet")


def test_long_value_is_cut_off(trials: pd.DataFrame, tmp_path: Path) -> None:
    trials.assign(state="x\n" * 1000).to_parquet(tmp_path / "trials.parquet")
    with pytest.raises(DamagedFileError, match=r"^[^\n]{1,400}$"):
        read(tmp_path / "trials.parquet")


def test_folder_above_a_table_is_no_column(trials: pd.DataFrame, tmp_path: Path) -> None:
    """A data set of Arrow would take the folder `state=DONE` for a column."""
    folder = tmp_path / "state=DONE"
    folder.mkdir()
    trials.to_parquet(folder / "trials.parquet")
    assert list(read(folder / "trials.parquet")["state"]) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_folder_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match=rf"^{tmp_path} is damaged: [^\n]+; try again$"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"phase": "warmup"}, r"phase must be one of \['regularize', 'finetune'\], got 'warmup' in row 1"),
        ({"epoch": 0}, "epoch must be a whole number of at least 1, got 0 in row 1"),
        ({"epoch": 1}, "number and epoch must name one row, got 2 rows with number 0, epoch 1"),
    ],
)
def test_table_of_epochs_has_rules_too(changes: dict[str, Any], rule: str, tmp_path: Path) -> None:
    rows = [
        {column.name: None for column in EPOCH_COLUMNS}
        | {"trial_id": "small-0", "number": 0, "epoch": epoch, "phase": "regularize"}
        for epoch in (1, 2)
    ]
    frame = pa.Table.from_pylist(rows, arrow_schema(EPOCH_COLUMNS)).to_pandas().assign(**changes)
    frame.to_parquet(tmp_path / "epochs.parquet")
    with pytest.raises(DamagedFileError, match=rule):
        read_table(tmp_path / "epochs.parquet", EPOCH_COLUMNS, keys=EPOCH_KEYS, remedy="try again")


@pytest.mark.parametrize("column", [*TRIAL_COLUMNS, *EPOCH_COLUMNS], ids=lambda column: column.name)
def test_rules_fit_the_type_of_their_column(column: Column) -> None:
    assert column.range is None or column.type in ("int", "float")
    assert not column.choices or column.type == "str"
