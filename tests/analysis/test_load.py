"""Reading a study's tables: what is there, what is missing, what is damaged."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.load import load_epochs, load_trials
from tests.support.example_studies import make_study, trials_frame, write_tables_of
from trainables.errors import DamagedFileError
from trainables.result import EPOCH_COLUMNS, SCHEMA_VERSION_KEY, TRIAL_COLUMNS

LOADERS = {"trials.parquet": load_trials, "epochs.parquet": load_epochs}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("studies") / "small").path


def test_load_gives_the_columns_of_the_schema(study: Path) -> None:
    assert list(load_trials(study).columns) == [column.name for column in TRIAL_COLUMNS]
    assert list(load_epochs(study).columns) == [column.name for column in EPOCH_COLUMNS]


def test_load_gives_what_was_written(tmp_path: Path) -> None:
    trials = trials_frame({"val_accuracy": 0.125}, {"num_levels": None, "lam": None})
    write_tables_of(tmp_path, trials)
    pd.testing.assert_frame_equal(load_trials(tmp_path), trials)
    assert load_epochs(tmp_path).empty


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_folder_that_is_no_study_is_refused(load: Callable[[Path], pd.DataFrame], tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nosuch"):
        with pytest.raises(ValueError, match=r"^[^\n]*no study folder[^\n]*$") as refusal:
            load(folder)
        assert str(folder) in str(refusal.value)


@pytest.mark.parametrize(("name", "load"), LOADERS.items(), ids=LOADERS)
def test_study_without_tables_is_told_from_a_damaged_one(
    name: str, load: Callable[..., object], tmp_path: Path
) -> None:
    (tmp_path / "study.yaml").write_text("name: small\n")
    with pytest.raises(ValueError, match=rf"^[^\n]*{name}[^\n]*qar resume[^\n]*$"):
        load(tmp_path)


@pytest.mark.parametrize(("name", "load"), LOADERS.items(), ids=LOADERS)
@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello\nworld\n", os.urandom(5000)], ids=len)
def test_file_that_is_no_parquet_is_damaged(
    name: str, load: Callable[..., object], content: bytes, tmp_path: Path
) -> None:
    write_tables_of(tmp_path, trials_frame({}))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"^[^\n]+$") as damage:
        load(tmp_path)
    assert str(tmp_path / name) in str(damage.value)
    assert (tmp_path / name).read_bytes() == content


@settings(max_examples=30)
@given(st.floats(0, 0.999))
def test_file_cut_anywhere_is_damaged(share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables_of(folder, trials_frame({}, {}))
        path = folder / "trials.parquet"
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DamagedFileError, match=str(path)):
            load_trials(folder)


@pytest.mark.parametrize(("name", "load"), LOADERS.items(), ids=LOADERS)
def test_missing_columns_are_named(name: str, load: Callable[..., object], study: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: small\n")
    table = pq.read_table(study / name)
    pq.write_table(table.drop_columns(["bits_per_weight", "val_accuracy"]), tmp_path / name)
    with pytest.raises(DamagedFileError, match=r"^[^\n]*'val_accuracy', 'bits_per_weight'[^\n]*$") as damage:
        load(tmp_path)
    assert str(tmp_path / name) in str(damage.value)


def older(study: Path, folder: Path, name: str, version: str = "1") -> None:
    """Writes a table as a version before the newest columns did."""
    (folder / "study.yaml").write_text("name: small\n")
    table = pq.read_table(study / name)
    schema = TRIAL_COLUMNS if name == "trials.parquet" else EPOCH_COLUMNS
    newer = [column.name for column in schema if column.since > int(version)]
    table = table.drop_columns([name for name in newer if name in table.column_names])
    pq.write_table(table.replace_schema_metadata({SCHEMA_VERSION_KEY: version}), folder / name)


def test_table_of_an_older_version_has_nulls_in_the_columns_that_it_did_not_know(study: Path, tmp_path: Path) -> None:
    older(study, tmp_path, "trials.parquet")
    found, now = load_trials(tmp_path), load_trials(study)
    assert list(found.columns) == list(now.columns)
    added = [column.name for column in TRIAL_COLUMNS if column.since > 1]
    assert added
    assert found[added].isna().all().all()
    pd.testing.assert_frame_equal(found.drop(columns=added), now.drop(columns=added))


def test_column_that_an_older_version_had_is_not_made_up(study: Path, tmp_path: Path) -> None:
    older(study, tmp_path, "trials.parquet")
    table = pq.read_table(tmp_path / "trials.parquet")
    pq.write_table(table.drop_columns(["family"]), tmp_path / "trials.parquet")
    with pytest.raises(DamagedFileError, match=r"lacks the columns \['family'\]"):
        load_trials(tmp_path)


@pytest.mark.parametrize(("name", "load"), LOADERS.items(), ids=LOADERS)
def test_table_of_a_newer_version_is_refused(
    name: str, load: Callable[..., object], study: Path, tmp_path: Path
) -> None:
    older(study, tmp_path, name, version="99")
    with pytest.raises(DamagedFileError, match=r"^[^\n]*schema 99, [^\n]*install a newer one$"):
        load(tmp_path)


def test_epochs_are_read_by_column(study: Path) -> None:
    wanted = ["trial_id", "epoch", "val_accuracy"]
    pd.testing.assert_frame_equal(load_epochs(study, wanted), load_epochs(study)[wanted])


def test_columns_of_a_later_version_are_no_harm(study: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: small\n")
    table = pq.read_table(study / "trials.parquet")
    table = table.append_column("energy", pa.array([1.0] * table.num_rows))
    pq.write_table(table, tmp_path / "trials.parquet")
    assert len(load_trials(tmp_path)) == table.num_rows


def test_analysis_needs_neither_ray_nor_torch(study: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from analysis.report.report import write_report\n"
        f"write_report(Path({str(study)!r}), Path({str(tmp_path / 'report')!r}))\n"
        "print([name for name in ('ray', 'torch', 'optuna', 'pydantic', 'study') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
