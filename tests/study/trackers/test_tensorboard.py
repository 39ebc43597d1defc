"""Event files as TensorBoard itself reads them."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from study.ledger.facts import ASKED, ENDED
from study.trackers.tensorboard import STUDY_RUN, TensorBoard
from tests.support.example_studies import Unwritten, asked, history_of, study_config, train
from trainables.result import TrialState

CONFIG = study_config()


def steps_of(folder: Path, tag: str = "val_accuracy") -> list[int]:
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return [event.step for event in read.Scalars(tag)]


def a_trial(state: str | None, epochs: int, failure: str | None = None) -> Unwritten:
    ledger = Unwritten()
    ledger.record(ASKED, **asked(0, CONFIG.trial_config({"family": "RM", "num_levels": 4, "lam": 8.0})))
    train(ledger, 0, epochs)
    if state:
        ledger.record(ENDED, number=0, state=state, failure=failure)
    return ledger


def test_epochs_settings_and_state_are_shown(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.update_trial(a_trial(TrialState.FAIL, 2, "the loss is not finite").history.trials[0])
    board.close()
    read = EventAccumulator(str(tmp_path / "small-00000"))
    read.Reload()
    assert [event.step for event in read.Scalars("bits_per_weight")] == [1, 2]
    assert b"FAIL: the loss is not finite" in read.Tensors("state")[0].tensor_proto.string_val
    (content,) = (
        HParamsPluginData.FromString(content)
        for content in [read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content]
    )
    assert content.session_start_info.hparams["lam"].number_value == 8.0
    assert content.session_start_info.hparams["recipe.optimizer"].string_value == "adam"


def test_a_second_process_sends_only_what_lacks(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    first.update_trial(a_trial(None, 2).history.trials[0])
    first.update_trial(a_trial(None, 2).history.trials[0])
    first.close()
    for _ in range(2):  # the second time, everything is there
        again = TensorBoard(tmp_path)
        again.update_trial(a_trial(TrialState.COMPLETE, 4).history.trials[0])
        again.close()
    assert steps_of(tmp_path / "small-00000") == [1, 2, 3, 4]


def test_an_event_that_a_crash_has_cut_off_is_sent_again(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    first.update_trial(a_trial(None, 3).history.trials[0])
    first.close()
    (file,) = (tmp_path / "small-00000").glob("events.*")
    file.write_bytes(file.read_bytes()[:-5])
    again = TensorBoard(tmp_path)
    again.update_trial(a_trial(None, 3).history.trials[0])
    again.close()
    assert steps_of(tmp_path / "small-00000") == [1, 2, 3]


def test_front_is_a_table(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4), (0.75, 3.0, TrialState.COMPLETE, 8))
    for _ in range(2):
        board.update_study(CONFIG, history)
    board.close()
    read = EventAccumulator(str(tmp_path / STUDY_RUN))
    read.Reload()
    (event,) = read.Tensors("front")
    assert event.step == 2
    (text,) = event.tensor_proto.string_val
    assert text.decode().splitlines()[0].startswith("trial | trial_id | family | num_levels")
    assert len(text.decode().splitlines()) == 4
