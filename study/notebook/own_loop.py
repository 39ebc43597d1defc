"""Ask and tell: the search proposes trials, a training loop of the user's own trains them.

Every proposal and result is a fact of the ledger before anybody acts on it, as with a driver. After a crash, the trials
that have not ended are asked for again first, and the rungs decide as before.
"""

import itertools
import socket
import time
from collections.abc import Mapping
from typing import Any

import optuna

from study.ledger.facts import ENDED, EPOCH
from study.ledger.history import Trial
from study.notebook.asked_trial import AskedTrial
from study.records.optuna_mirror import OptunaMirror
from study.records.tables import TableWriter
from study.run.recovery import end_finished_trials
from study.run.session_facts import LOOP, OWN, check_loop, end_session, start_session
from study.search.outcomes import outcome
from study.search.searcher import OptunaSearcher
from study.storage.folder import StudyFolder
from study.storage.liveliness import is_complete
from study.terminal import one_line, say
from trainables.config import TrialConfig
from trainables.result import FINETUNE, REGULARIZE, TrialState

SECONDS_BETWEEN_TABLES = 10.0


class OwnLoop:
    """One session of a study in which the user's own loop trains the trials."""

    def __init__(self, folder: StudyFolder) -> None:
        """Lock the study and begin a session, unless nothing is left to train.

        Args:
            folder: the study.

        Raises:
            ValueError: another process runs the study, or it was trained by another kind of loop.
            DamagedFileError: the ledger can't be read.
            StorageError: the ledger can't be written.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder = folder
        self._config = folder.read_config()
        if self._config.baseline_seeds:
            raise ValueError(
                "trial.init must be 'scratch' for a training loop of your own, or have trial.initial_weights, got "
                "'pretrained'; only qar resume trains float networks"
            )
        self._ledger = folder.open_ledger(say)
        try:
            check_loop(folder, self._ledger.history, own=True)
            self._rungs = end_finished_trials(self._ledger, self._config, with_checkpoints=False)
            self._tables = TableWriter(folder, self._config.searched_fields)
            self._mirror = OptunaMirror(folder, self._config)
            self.is_open = not is_complete(self._ledger.history, self._config)
            if self.is_open:
                start_session(folder, self._config, self._ledger, **{LOOP: OWN})
            self._searcher = OptunaSearcher(self._config, self._ledger, folder=folder)
        except BaseException:
            self._ledger.close()
            raise
        self._names = map(str, itertools.count())
        self._asked: dict[int, str] = {}  # by number of the trial: its name for the searcher
        self._latest: dict[int, float] = {}  # by number of the trial: time of its latest epoch, or of its start
        self._tables_due = time.monotonic() + SECONDS_BETWEEN_TABLES
        if not self.is_open:
            self._release()

    def ask(self) -> AskedTrial | None:
        """Return an unfinished trial that nobody trains, or a new one; None if there is none left to begin."""
        if not self.is_open:
            return None
        name = next(self._names)
        suggestion = self._searcher.suggest(name)
        if not isinstance(suggestion, dict):
            if not self._asked:
                self.close()
            return None
        trial = self._ledger.history.trials[suggestion["number"]]
        self._asked[trial.number] = name
        self._latest[trial.number] = time.monotonic()
        return AskedTrial(
            number=trial.number,
            trial_id=trial.trial_id,
            config=TrialConfig.from_stored(trial.config),
            anchor=trial.anchor,
            epoch=max(trial.epochs, default=0),
        )

    def tell(self, asked: AskedTrial, metrics: Mapping[str, Any] | None, failure: str | None) -> bool:
        """Record an epoch or the failure of a trial; see `Study.tell`."""
        if asked.number not in self._asked:
            raise ValueError(
                f"trial must be one that ask has returned in this session and that has not ended, got trial "
                f"{asked.number}; ask for another"
            )
        if (metrics is None) == (failure is None):
            raise ValueError(f"tell takes either metrics or a failure, got {metrics!r} and {failure!r}; give one")
        trial = self._ledger.history.trials[asked.number]
        if metrics is None:
            self._end(trial, TrialState.FAIL, one_line(failure or ""))
        else:
            self._finish_epoch(trial, self._completed(trial, metrics))
        self._ledger.commit()
        if time.monotonic() > self._tables_due:
            self._write()
        return trial.state == TrialState.RUNNING

    def close(self) -> None:
        """End the session and release the study; trials that have not ended are asked for again in the next one."""
        if self.is_open:
            self.is_open = False
            end_session(self._config, self._ledger)
            self._release()

    def _release(self) -> None:
        try:
            self._write(ends=True)
        finally:
            self._ledger.close()

    def _completed(self, trial: Trial, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics of an epoch, with those that need not be given."""
        now = time.monotonic()
        epoch = metrics.get("epoch", trial.latest_epoch + 1)
        filled = {
            "epoch": epoch,
            "phase": REGULARIZE if epoch <= trial.regularize_epochs else FINETUNE,
            "train_seconds": now - self._latest[trial.number],
            "hostname": socket.gethostname(),
        }
        given = {name: value.item() if hasattr(value, "item") else value for name, value in metrics.items()}
        return filled | given

    def _finish_epoch(self, trial: Trial, metrics: dict[str, Any]) -> None:
        self._ledger.submit(EPOCH, number=trial.number, metrics=metrics)
        self._latest[trial.number] = time.monotonic()
        continues = self._rungs.report(trial.number, trial.anchor, metrics)
        rules = self._config.stop
        is_cut = rules is not None and rules.running == "cut" and self._searcher.stops()
        if not continues or is_cut or metrics["epoch"] >= trial.budget:
            self._end(trial, *outcome(metrics, trial.budget))

    def _end(self, trial: Trial, state: TrialState, failure: str | None) -> None:
        self._ledger.submit(ENDED, number=trial.number, state=state, failure=failure)
        self._searcher.on_trial_complete(self._asked.pop(trial.number))

    def _write(self, *, ends: bool = False) -> None:
        """Write the files that are derived from the ledger, at the end of the session or before."""
        history = self._ledger.history
        if ends:
            self._tables.finish(history)
        else:
            self._tables.write(history)
        self._ledger.write_snapshot()
        self._mirror.sync(history)
        self._folder.publish()
        self._tables_due = time.monotonic() + SECONDS_BETWEEN_TABLES
