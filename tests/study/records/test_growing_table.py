"""Tables written as a study grows: whole at every writing, with row groups that are encoded once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.doctor.check import CheckStatus
from study.doctor.verification import verify_study
from study.ledger.facts import ASKED, ENDED, EPOCH
from study.ledger.ledger import Ledger
from study.records import growing_table, tables, trial_table
from study.records.growing_table import GrowingTable
from study.records.tables import TableWriter, write_tables
from study.storage.folder import StudyFolder
from tests.support.example_studies import asked, metrics, start_session, study_config, train
from trainables.files.atomic import replacing
from trainables.result import TrialState

ROWS = st.lists(st.tuples(st.integers(), st.none() | st.text(max_size=5), st.floats(allow_nan=False)), max_size=4)
SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string()), ("value", pa.float64())])


def table_of(rows: list[tuple[Any, ...]], metadata: dict[bytes, bytes]) -> pa.Table:
    whole = [row for row in rows if abs(row[0]) < 2**63]
    columns = [pa.array([row[index] for row in whole], field.type) for index, field in enumerate(SCHEMA)]
    return pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata(metadata))


@given(st.lists(st.tuples(ROWS, ROWS), min_size=1, max_size=5))
def test_each_writing_is_a_whole_file_with_what_was_settled_and_the_rest(
    tmp_path_factory: pytest.TempPathFactory, writings: list[tuple[list[Any], list[Any]]]
) -> None:
    path = tmp_path_factory.mktemp("growing") / "table.parquet"
    file, settled = GrowingTable(path), [SCHEMA.empty_table()]
    for count, (new, unsettled) in enumerate(writings):
        metadata = {b"writing": str(count).encode()}
        settled.append(table_of(new, {}))
        last = table_of(unsettled, metadata)
        file.write(table_of(new, metadata), last)
        expected = pa.concat_tables([*settled, last])
        assert pq.read_table(path, page_checksum_verification=True).equals(expected)
        assert pd.read_parquet(path).equals(expected.to_pandas())
        assert pq.read_schema(path).metadata == metadata


def test_settled_rows_are_copied_and_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = growing_table._encode

    def noting(rows: pa.Table, *arguments: Any) -> Any:
        encoded.append(len(rows))
        return encode(rows, *arguments)

    monkeypatch.setattr(growing_table, "_encode", noting)
    monkeypatch.setattr(growing_table, "CHUNK", 100)  # so that row groups are copied in several pieces
    file = GrowingTable(tmp_path / "table.parquet")
    many, few = (table_of([(number, "text", 0.5) for number in range(count)], {}) for count in (200, 3))
    for settled, unsettled, expected in ((many, few, [200, 3]), (few[:0], few, [3]), (few, few[:1], [3, 1])):
        file.write(settled, unsettled)
        assert encoded == expected
        encoded.clear()
    assert pq.read_table(file._path).equals(pa.concat_tables([many, few, few[:1]]))
    file.forget()
    file.write(few[:0], many)
    assert encoded == [200]
    assert pq.read_table(file._path).equals(many)


class Growing:
    """A study whose trials end one by one, in another order than they begin; two of them make a row group."""

    def __init__(self, folder: Path) -> None:
        self.study = StudyFolder(folder)
        self.study.create(study_config())
        self.ledger = Ledger(self.study.ledger)
        start_session(self.ledger)
        config = study_config().trial_config({"family": "none", "num_levels": 2})
        for number in range(8):
            self.ledger.record(ASKED, **asked(number, config))
            train(self.ledger, number, 1)
        self.left = [4, 1, 0, 5, 7, 3, 2]

    def end_one(self) -> None:
        number = self.left.pop(0)
        self.ledger.record(EPOCH, number=number, metrics=metrics(2))
        self.ledger.record(ENDED, number=number, state=TrialState.PRUNED, failure=None)

    def is_as_written_once(self, elsewhere: Path) -> bool:
        """Whether both tables have the rows of ones that are written now, for the first time."""
        once = StudyFolder(elsewhere)
        once.path.mkdir()
        shutil.copy(self.study.ledger, once.ledger)
        write_tables(once, self.ledger.history)
        return all(
            by_number(here).equals(by_number(there), check_metadata=True)
            for here, there in ((self.study.trials, once.trials), (self.study.epochs, once.epochs))
        )

    def groups(self) -> list[list[int]]:
        """Return the numbers in each row group of trials.parquet."""
        file = pq.ParquetFile(self.study.trials)
        return [file.read_row_group(index)["number"].to_pylist() for index in range(file.num_row_groups)]


def by_number(path: Path) -> pa.Table:
    table = pq.read_table(path, page_checksum_verification=True)
    return table.sort_by([(name, "ascending") for name in ("number", "epoch") if name in table.column_names])


@pytest.fixture
def growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Growing:
    monkeypatch.setattr(tables, "SETTLED_TOGETHER", 2)
    return Growing(tmp_path / "small")


def test_tables_of_a_growing_study_hold_all_rows_at_each_writing_and_end_in_order(
    growing: Growing, tmp_path: Path
) -> None:
    writer, study = TableWriter(growing.study), growing.study
    for count in range(7):
        writer.write(growing.ledger.history)
        assert growing.is_as_written_once(tmp_path / f"once{count}")
        assert all(check.status == CheckStatus.PASS for check in verify_study(study) if check.name.endswith(".parquet"))
        growing.end_one()
    assert growing.groups() == [[1, 4], [0, 5], [3, 7], [2, 6]]
    writer.finish(growing.ledger.history)
    assert growing.groups() == [list(range(8))]
    assert pq.read_table(study.epochs)["number"].to_pylist() == sorted([*range(8), *range(6), 7])


def test_end_of_a_session_puts_rows_in_order_even_if_the_tables_hold_them_all(growing: Growing) -> None:
    """The driver writes them with a writer of its own, after the recorder's last writing."""
    growing.end_one()
    growing.end_one()
    TableWriter(growing.study).write(growing.ledger.history)
    assert len(growing.groups()) == 2
    TableWriter(growing.study).write(growing.ledger.history)
    assert len(growing.groups()) == 2, "they hold all that the ledger says"
    write_tables(growing.study, growing.ledger.history)
    assert growing.groups() == [list(range(8))]


def test_session_after_a_killed_one_takes_over_rows_out_of_order(
    growing: Growing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        growing.end_one()
    TableWriter(growing.study).write(growing.ledger.history)
    converted: list[int] = []
    row = trial_table.trial_row

    def noting(trial: Any) -> dict[str, Any]:
        converted.append(trial.number)
        return row(trial)

    growing.end_one()
    monkeypatch.setattr(trial_table, "trial_row", noting)
    writer = TableWriter(growing.study)
    writer.write(growing.ledger.history)
    assert converted == [3, 2, 6], "the five that had ended are taken from the table"
    assert growing.is_as_written_once(tmp_path / "once")


def interrupt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next conversion of a row be interrupted by Ctrl-C."""
    row = trial_table.trial_row

    def interrupted(trial: Any) -> dict[str, Any]:
        monkeypatch.setattr(trial_table, "trial_row", row)
        raise KeyboardInterrupt

    monkeypatch.setattr(trial_table, "trial_row", interrupted)


@pytest.mark.parametrize("where", ["convert", "write", "finish"])
def test_conversion_that_is_interrupted_loses_no_row(
    where: str, growing: Growing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, history = TableWriter(growing.study), growing.ledger.history
    for _ in range(3):
        growing.end_one()
    interrupt_once(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        writer.convert(history, [0, 1]) if where == "convert" else getattr(writer, where)(history)
    writer.write(history)
    assert growing.is_as_written_once(tmp_path / "once")


@pytest.mark.parametrize("failing", ["trials.parquet", "epochs.parquet"])
def test_writing_that_fails_loses_no_row(
    failing: str, growing: Growing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Any:
        if path.name == failing:
            raise OSError("no space left")
        return replacing(path)

    writer = TableWriter(growing.study)
    for count in range(6):
        growing.end_one()
        if count in (1, 3, 4):
            with monkeypatch.context() as patch:
                patch.setattr(growing_table, "replacing", refuse)
                with pytest.raises(OSError, match="no space left"):
                    writer.write(growing.ledger.history)
        else:
            writer.write(growing.ledger.history)
            assert growing.is_as_written_once(tmp_path / f"once{count}")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [flip, Path.unlink, replace_by_pipe], ids=["a changed bit", "gone", "a pipe"])
@pytest.mark.parametrize("name", ["trials.parquet", "epochs.parquet"])
def test_settled_rows_are_encoded_again_if_their_file_was_changed(
    name: str, change: Callable[[Path], object], growing: Growing, tmp_path: Path
) -> None:
    writer = TableWriter(growing.study)
    for _ in range(3):
        growing.end_one()
    writer.write(growing.ledger.history)
    assert len(growing.groups()) == 2
    change(growing.study.path / name)
    growing.end_one()
    writer.write(growing.ledger.history)
    assert growing.is_as_written_once(tmp_path / "once")


def test_earlier_files_that_come_back_while_a_study_runs_do_no_harm(growing: Growing, tmp_path: Path) -> None:
    """As from a backup: their statement in derived.json is true."""
    writer, study = TableWriter(growing.study), growing.study
    copies = {}
    for count in range(7):
        growing.end_one()
        writer.write(growing.ledger.history)
        assert growing.is_as_written_once(tmp_path / f"once{count}")
        if count == 2:
            copies = {path: path.read_bytes() for path in (study.trials, study.epochs, study.derived_json)}
        if count in (3, 5):
            for path, content in copies.items():
                path.write_bytes(content)


def test_writer_keeps_few_tables_however_often_it_writes(growing: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SETTLED_TOGETHER", 100)
    writer = TableWriter(growing.study)
    for _ in range(7):
        writer.write(growing.ledger.history)
        growing.end_one()
        writer.write(growing.ledger.history)
    assert len(writer._kept) == 1
