"""TensorBoard: a folder of event files for each trial, and one for the study.

An epoch is one event, so a crash leaves it whole or not at all; the event files themselves say which epochs are there.
"""

import time
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from study.config import StudyConfig
from study.ledger.history import History, Trial
from study.trackers.tracker import epochs_after, front_rows, numbers_of, settings_of
from trainables.result import TrialState

STUDY_RUN = "study"
"""Name of the run that shows the front."""

_HPARAMS = "hparams"
_SESSION_START = "_hparams_/session_start_info"
_SESSION_END = "_hparams_/session_end_info"


class TensorBoard:
    """Event files below a folder, for `tensorboard --logdir`."""

    def __init__(self, root: Path) -> None:
        """Name the folder, which is created with the first event."""
        self._root = root
        self._runs: dict[str, _Run] = {}

    def update_trial(self, trial: Trial) -> None:
        """Write the epochs that the files of the trial lack; settings come first, the state last."""
        run = self._run(trial.trial_id)
        if run.ended:
            return
        if not run.begun:
            run.write(_hparams(_SESSION_START, HParamsPluginData(session_start_info=_start_info(trial))))
        for metrics in epochs_after(trial, run.last_step):
            values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers_of(metrics).items()]
            run.write(Summary(value=values), metrics["epoch"])
        if trial.state != TrialState.RUNNING:
            status = Status.STATUS_FAILURE if trial.state == TrialState.FAIL else Status.STATUS_SUCCESS
            run.write(_text("state", trial.state if trial.failure is None else f"{trial.state}: {trial.failure}"))
            end = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=time.time()))
            run.write(_hparams(_SESSION_END, end))
        run.flush()
        if trial.state != TrialState.RUNNING:
            self._runs.pop(trial.trial_id).close()

    def update_study(self, config: StudyConfig, history: History) -> None:
        """Write the front as a table, at the step of the number of trials that have ended."""
        run = self._run(STUDY_RUN)
        if history.num_ended > run.last_step:
            run.write(_text("front", _markdown(front_rows(history))), history.num_ended)
            run.flush()

    def close(self) -> None:
        """Close all files."""
        for run in self._runs.values():
            run.close()
        self._runs.clear()

    def _run(self, name: str) -> "_Run":
        if name not in self._runs:
            self._runs[name] = _Run(self._root / name)
        return self._runs[name]


class _Run:
    """The event files of one run.

    Attributes:
        last_step: highest step in the files; 0 if there is none.
        begun: whether the settings are there.
        ended: whether the state is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: EventFileWriter | None = None
        self.last_step = 0
        self.begun = self.ended = False
        for path in sorted(folder.glob("events.out.tfevents.*")):
            for event in LegacyEventFileLoader(str(path)).Load():  # ends at a record that a crash has cut off
                self.last_step = max(self.last_step, event.step)
                tags = {value.tag for value in event.summary.value}
                self.begun |= _SESSION_START in tags
                self.ended |= _SESSION_END in tags

    def write(self, summary: Summary, step: int = 0) -> None:
        if self._writer is None:
            _wait_for_a_later_name(self._folder)
            self._writer = EventFileWriter(str(self._folder))
        self.last_step = max(self.last_step, step)
        self.begun = True
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _wait_for_a_later_name(folder: Path) -> None:
    """Wait until the name of a new event file, which begins with the second, sorts after those of a run.

    TensorBoard reads the files of a run in the order of their names. A clock that was set back is not waited for.
    """
    seconds = [int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.*.*")]
    while seconds and 0 <= max(seconds) - int(time.time()) < 1:
        time.sleep(0.05)


def _start_info(trial: Trial) -> SessionStartInfo:
    info = SessionStartInfo(group_name=trial.config_hash, start_time_secs=time.time())
    for name, value in settings_of(trial).items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = "" if value is None else str(value)
    return info


def _hparams(tag: str, content: HParamsPluginData) -> Summary:
    plugin = SummaryMetadata.PluginData(plugin_name=_HPARAMS, content=content.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])


def _text(tag: str, text: str) -> Summary:
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def _markdown(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no trial is on the front yet"
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    return "\n".join([*lines, *(" | ".join(_cell(value) for value in row.values()) for row in rows)])


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
