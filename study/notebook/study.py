"""A study as an object of Python: what it does now, its results as DataFrames, and its networks."""

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from study.cluster.connect import quiet_libraries
from study.commands.requests import stop_study
from study.commands.status import StudyStatus, status_of
from study.notebook.asked_trial import AskedTrial
from study.notebook.driver_process import SECONDS_BETWEEN_CHECKS, DriverProcess
from study.notebook.overrides import override_lines
from study.run.launch import extend
from study.run.options import RunOptions
from study.run.session_facts import LOOP, OWN
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness

if TYPE_CHECKING:
    from analysis.report.report import Report
    from study.notebook.own_loop import OwnLoop
    from trainables.formats import PixelNetwork


class Study:
    """A study in a folder or bucket.

    Attributes:
        address: absolute path or URI of the study.
    """

    def __init__(self, address: str) -> None:
        """Name a study by its path or URI; use `Study.open` for one that must exist."""
        self.address = address
        self._driver: DriverProcess | None = None
        self._loop: "OwnLoop | None" = None

    @classmethod
    def open(cls, path_or_uri: str | Path) -> "Study":
        """Return a study that exists; nothing is started.

        Raises:
            ValueError: there is no study.
            DamagedFileError: its configuration can't be read.
            StorageError: the bucket can't be reached.
        """
        folder = StudyFolder.at(str(path_or_uri))
        folder.read_config()
        return cls(folder.address)

    def __repr__(self) -> str:
        return f"Study({self.address!r})"

    @property
    def folder(self) -> StudyFolder:
        """Files of the study; of a study in a bucket, a working copy that is fetched anew."""
        return StudyFolder.at(self.address)

    @property
    def log(self) -> Path | None:
        """File with the lines of the driver that this object has started; None if it has started none."""
        return None if self._driver is None else self._driver.log

    @property
    def num_sessions(self) -> int:
        """Number of sessions that the study has had; 0 if it does not exist yet."""
        folder = self.folder
        return len(folder.read_history().sessions) if folder.exists() else 0

    def status(self) -> StudyStatus:
        """Return state, progress, costs and front of the study, as `qar status` shows them.

        Raises:
            DamagedFileError: the files of the study can't be read.
        """
        return status_of(self.folder)

    def wait(self, timeout: float | None = None, *, quiet: bool = False) -> StudyStatus:
        """Wait until no driver runs the study, and print its progress meanwhile.

        An interrupted cell ends the waiting alone.

        Args:
            timeout: most seconds to wait; None for no limit.
            quiet: whether to print nothing.

        Returns:
            Status at the end, which is `interrupted` if somebody has stopped the study.

        Raises:
            TimeoutError: the study runs longer.
            ValueError: the driver has refused the request.
            StudyInterrupted: the work of the driver failed.
        """
        if self._driver is not None:
            self._driver.wait(timeout, quiet=quiet)
            return self.status()
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.status()).state is Liveliness.RUNNING:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the study still runs after {timeout:g} seconds; wait again, or stop it")
            time.sleep(SECONDS_BETWEEN_CHECKS)
        return status

    def stop(self) -> StudyStatus:
        """End the driver of the study, as Ctrl-C does, and wait until it has ended; `resume` continues.

        Raises:
            ValueError: a training loop of another process trains the study.
            DriverSilentError: the driver takes no request.
            StorageError: the bucket can't be reached.
        """
        if self._loop is not None and self._loop.is_open:
            self._loop.close()
        elif self._driver is not None and self._driver.is_running:
            self._driver.terminate()
        elif (status := self.status()).state is Liveliness.RUNNING:
            session = status.history.sessions[-1]
            if session.provenance.get(LOOP) == OWN:
                raise ValueError(f"{self.folder} is trained by the loop of process {session.pid}; end it there")
            stop_study(self.folder, lambda line: None)
        return self.status()

    def resume(
        self, trials: int | None = None, *, wait: bool = False, address: str | None = None, **overrides: Any
    ) -> "Study":
        """Continue an interrupted study, or extend a finished one, in a process of its own.

        A study that a loop of your own trains is only extended; go on with `ask`.

        Args:
            trials: number of trials to add to a finished study; None to add none.
            wait: whether to wait for the end; otherwise the call returns once the session has begun.
            address: address of a running Ray cluster; None to start Ray on this machine.
            **overrides: lasting changes of keys that may change, as `stop={"hours": 12}`.

        Raises:
            ValueError: the request is wrong; then nothing is written.
            StudyInterrupted: the work failed.
        """
        if trials is not None and any(s.provenance.get(LOOP) == OWN for s in self.folder.read_history().sessions):
            extend(self.folder, trials, RunOptions())
            return self
        options = ["--trials", str(trials)] if trials is not None else []
        options += [option for line in override_lines(overrides) for option in ("--set", line)]
        self._run("resume", options, self, address, wait)
        return self

    def confirm(
        self,
        seeds: int = 5,
        *,
        margin: float = 0.0,
        levels: Collection[int] | None = None,
        wait: bool = False,
        address: str | None = None,
    ) -> "Study":
        """Train the front again with fresh seeds, and evaluate it on the test split, in a process of its own.

        Args:
            seeds: number of seeds for each configuration.
            margin: also confirm trials within this accuracy of the front.
            levels: values of K at which all families are compared; None for those of the front.
            wait: as in `resume`.
            address: as in `resume`.

        Returns:
            The confirmation, which is a study itself; `report` of this study shows its results.

        Raises:
            ValueError: the request is wrong; then nothing is written.
            StudyInterrupted: the work failed.
        """
        confirmation = Study(self.folder.confirmation.address)
        options = ["--seeds", str(seeds), "--margin", str(margin)]
        options += ["--levels", ",".join(map(str, levels))] if levels is not None else []
        self._run("confirm", options, confirmation, address, wait)
        return confirmation

    def _run(self, command: str, options: list[str], trained: "Study", address: str | None, wait: bool) -> None:
        """Start a command on this study, whose sessions are those of the trained one."""
        options += ["--address", address] if address is not None else []
        before = trained.num_sessions
        trained.follow(DriverProcess([command, self.address, *options]), before, wait=wait)

    def follow(self, driver: DriverProcess, before: int, *, wait: bool) -> None:
        """Take over a driver that has just been started, and wait for its first session or its end.

        Args:
            driver: the driver.
            before: number of sessions before it was started.
            wait: whether to wait for its end.

        Raises:
            ValueError: the driver refused the request.
            StudyInterrupted: the work failed.
        """
        self._driver = driver
        driver.wait_until(lambda: self.num_sessions > before)
        if wait:
            driver.wait()

    def trials(self) -> pd.DataFrame:
        """Return a row for each trial so far, with the columns of trials.parquet (`trainables.result`).

        Raises:
            ValueError: a copy of the study holds neither ledger nor tables.
            DamagedFileError: the files of the study can't be read.
        """
        from analysis.load import load_trials
        from study.records.trial_table import trials_table

        folder = self.folder
        if folder.ledger.exists():
            return trials_table(folder.read_history(), folder.read_config().searched_fields).to_pandas()
        folder.storage.fetch_results()
        return load_trials(folder.path)

    def epochs(self) -> pd.DataFrame:
        """Return a row for each trial and epoch so far, with the columns of epochs.parquet; raises as `trials`."""
        from analysis.load import load_epochs
        from study.records.epoch_table import epochs_table

        folder = self.folder
        if folder.ledger.exists():
            return epochs_table(folder.read_history()).to_pandas()
        folder.storage.fetch_results()
        return load_epochs(folder.path)

    def front(self) -> pd.DataFrame:
        """Return the rows of `trials` on the front of accuracy and bits, by increasing bits; raises as `trials`."""
        from analysis.statistics.pareto import front

        return front(self.trials())

    def report(self, out: str | Path | None = None, **options: Any) -> "Report":
        """Write figures, tables and an HTML page, as `qar report` does.

        Args:
            out: folder of the report; None for `report` in the study's folder.
            **options: further options of `study.commands.report.report`, as `formats=["svg"]` or `cost="size"`.

        Returns:
            The report: its text, its files, and what could not be written.

        Raises:
            ValueError: an option is wrong, or the study has no tables yet.
            DamagedFileError: the tables of the study can't be read.
        """
        from study.commands.report import report

        return report([self.folder], None if out is None else Path(out), **options)

    def network(self, trial: int | str) -> "PixelNetwork":
        """Return the network of a trial with its quantized weights, in evaluation mode, on the CPU.

        Args:
            trial: number or trial_id of the trial.

        Returns:
            A `torch.nn.Module` from pixel values in [0, 255], float32, (n, channels, height, width), to logits, (n,
            classes). Its attribute `network` is the network itself, for normalized images.

        Raises:
            ValueError: there is no such trial, or it has no checkpoint.
            DamagedFileError: the files of the study can't be read.
        """
        from study.commands.export import trained_network
        from trainables.formats import PixelNetwork

        return PixelNetwork(trained_network(self.folder, str(trial)).artifact)

    def ask(self) -> AskedTrial | None:
        """Return a trial to train in a loop of your own: an unfinished one first, else one that the search proposes.

        The first call locks the study and begins a session, which ends once all trials have ended, or by `stop`. The
        proposal is a fact of the ledger before it is returned.

        Returns:
            The trial; None if there is none left to begin.

        Raises:
            ValueError: another process runs the study, or it was trained with `launch`.
            DamagedFileError: the ledger can't be read.
            StorageError: the ledger can't be written.
        """
        if self._loop is None or not self._loop.is_open:
            quiet_libraries()
            from study.notebook.own_loop import OwnLoop  # which imports Ray

            self._loop = OwnLoop(self.folder)
        return self._loop.ask()

    def tell(self, trial: AskedTrial, metrics: Mapping[str, Any] | None = None, *, failure: str | None = None) -> bool:
        """Record an epoch of a trial, or its failure; it is a fact of the ledger before this returns.

        Args:
            trial: the trial, as `ask` has returned it.
            metrics: metrics of the epoch, named as the columns of epochs.parquet: at least `val_accuracy` (of the
                quantized network, in [0, 1]) and `bits_per_weight`. `epoch` is the next one if it is not given. A loop
                that begins a trial again after a crash gives it, from 1 or from the epoch after its own checkpoint.
            failure: reason why the trial failed; None otherwise.

        Returns:
            Whether the trial goes on; False if this was its last epoch, a rung has stopped it, or it failed.

        Raises:
            ValueError: the trial is not being trained, a metric is unknown or out of range, or the epoch is not the
                next one; then nothing is recorded.
            StorageError: the ledger can't be written.
        """
        if self._loop is None:
            raise ValueError("tell must follow ask, got no trial that was asked for; call ask first")
        return self._loop.tell(trial, metrics, failure)
