"""One session of a driver over simulated workers: the product's own parts, called in the order in which Ray does."""

import os
import pickle
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.exceptions import RayActorError
from ray.tune import Callback
from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from simulation.figures import Figures
from simulation.witness import Witness
from simulation.workers import Event, Reported, RunningTrial, Saved, WorkerLost, Workers
from study.config import StudyConfig
from study.ledger.ledger import Ledger
from study.records.optuna_mirror import OptunaMirror
from study.records.recorder import Recorder
from study.records.tables import write_tables
from study.run.desk import Desk
from study.run.progress.display import Progress
from study.run.recovery import end_finished_trials
from study.run.session_facts import end_session, start_session
from study.search.gate import Gate
from study.search.scheduler import RungScheduler
from study.search.searcher import OptunaSearcher
from study.storage.folder import StudyFolder


class SimulatedSession:
    """A driver from its start to its end or its death; it takes the place of Ray's controller of trials.

    Attributes:
        ledger: ledger of the study, open for writing.
    """

    def __init__(
        self, folder: StudyFolder, config: StudyConfig, workers: Workers, witness: Witness, figures: Figures
    ) -> None:
        """Open the study and begin a session.

        Args:
            folder: the study.
            config: its configuration.
            workers: the workers.
            witness: checks what is acted on.
            figures: receives the times of the driver.
        """
        self._folder, self._config, self._workers = folder, config, workers
        self._witness, self._figures = witness, figures
        self._actor_manager = SimpleNamespace(num_actor_tasks=0)  # the gate asks it whether Ray has something to do
        with figures.opening():
            folder.check_no_links()
            self.ledger = Ledger(folder.ledger, witness)
            witness.check_survivors(self.ledger.history)
            rungs = end_finished_trials(self.ledger, config)
            start_session(folder, config, self.ledger)
            self._mirror = OptunaMirror(folder, config)
            self._mirror.sync(self.ledger.history)
            console = Console(file=open(os.devnull, "w"))  # noqa: SIM115  # as long as the process
            gate = Gate(self.ledger)
            self._searcher = OptunaSearcher(config, self.ledger, room=lambda: workers.alive, folder=folder)
            self._scheduler = RungScheduler(rungs, gate)
            self._callbacks: list[Callback] = [
                Recorder(folder, self.ledger, self._mirror, config.epochs, gate=gate, fields=config.searched_fields),
                Desk(folder, config, self.ledger, console.print),
                Progress(self.ledger.history, config, console, commit=self.ledger.commit),
            ]
        self._trials: dict[int, RunningTrial] = {}  # by worker
        self._names = 0
        self._is_searched = False
        self._error_file = Path(folder.path, "lost-actor.pkl")
        self._error_file.write_bytes(pickle.dumps(RayActorError()))

    @property
    def is_over(self) -> bool:
        """Whether all trials have ended."""
        return self._is_searched and not self._trials

    def step(self) -> None:
        """Start trials on idle workers, then wait for the next event and handle it."""
        with self._figures.busy(self._workers):
            while self._workers.idle and not self._is_searched and self._start_trial():
                pass
        event = self._workers.next() if self._workers.tasks or not self._trials else None
        self._actor_manager.num_actor_tasks = self._workers.tasks
        with self._figures.busy(self._workers):
            if event is not None:
                self._handle(event)
            for callback in self._callbacks:
                callback.on_step_end(0, [])

    def finish(self) -> None:
        """End the session as a driver does that has trained all trials, and write the derived files."""
        end_session(self._config, self.ledger)
        write_tables(self._folder, self.ledger.history, self._config.searched_fields)
        self._mirror.sync(self.ledger.history)
        self.ledger.close()

    def die(self, rng: random.Random) -> None:
        """Die as by a power cut: of what was not durable, the ledger keeps a random part, perhaps of a line."""
        self._workers.forget_trials()
        self.ledger._commits.close()
        self.ledger._file.close()
        with self._folder.ledger.open("r+b") as file:
            file.truncate(rng.randint(self._witness.size, file.seek(0, os.SEEK_END)))

    def _handle(self, event: Event) -> None:
        match event:
            case Reported():
                self._report(event.trial, event.result)
            case Saved():
                self._save(event.trial)
            case WorkerLost():
                self._lose(event.worker)

    def _report(self, trial: RunningTrial, result: dict[str, Any]) -> None:
        """Do what Ray's controller does with a result."""
        if result["done"]:
            trial.decision = TrialScheduler.STOP
        else:
            trial.decision = self._scheduler.on_trial_result(self, trial, result)
        for callback in self._callbacks:
            callback.on_trial_result(0, [], trial, result)
        trial.last_result = result
        trial.latest_epoch = result.get("epoch", trial.latest_epoch)
        trial.is_saving = True
        self._workers.save(trial)

    def _save(self, trial: RunningTrial) -> None:
        """Do what Ray's controller does when a checkpoint is written."""
        trial.is_saving = False
        folder = f"session-{len(self.ledger.history.sessions):03}/{trial.config['trial_id']}"
        path = self._folder.ray.resolve() / folder / f"checkpoint_{trial.latest_epoch:06}"
        digest = f"{hash((trial.config['number'], trial.latest_epoch)) % 2**64:064x}"
        for callback in self._callbacks:
            callback.on_checkpoint(0, [], trial, SimpleNamespace(path=str(path), sha256=digest))
        self._execute_action(trial, trial.decision)

    def _execute_action(self, trial: RunningTrial, decision: str) -> None:
        """Do what a scheduler has decided; the gate calls this method of Ray's controller too."""
        if decision == TrialScheduler.CONTINUE:
            self._witness.goes_on(trial.config["number"], trial.latest_epoch)
            self._workers.train_next(trial)
        elif decision == TrialScheduler.STOP:
            self._scheduler.on_trial_complete(self, trial, trial.last_result)
            self._searcher.on_trial_complete(trial.trial_id, trial.last_result)
            for callback in self._callbacks:
                callback.on_trial_complete(0, [], trial)
            del self._trials[trial.worker]
            self._workers.release(trial, "TERMINATED")

    def _lose(self, worker: int) -> None:
        """Do what Ray's controller does when an actor is lost."""
        trial = self._workers.lose(worker)
        if trial is None:
            return
        del self._trials[worker]
        trial.status, trial.pickled_error_file = "ERROR", str(self._error_file)
        self._scheduler.on_trial_error(self, trial)
        self._searcher.on_trial_complete(trial.trial_id, error=True)
        for callback in self._callbacks:
            callback.on_trial_error(0, [], trial)

    def _start_trial(self) -> bool:
        """Ask for a trial and start it on the worker that has been idle longest; return whether there was one."""
        name = f"ray-{self._names}"
        self._names += 1
        with self._figures.asking():
            suggestion = self._searcher.suggest(name)
        if not isinstance(suggestion, dict):
            self._is_searched = suggestion is not None
            return False
        number = suggestion["number"]
        checkpoint = self.ledger.history.trials[number].checkpoint
        worker = next(iter(self._workers.idle))
        trial = RunningTrial(name, suggestion, worker, checkpoint.epoch if checkpoint else 0)
        self._witness.starts(number, trial.latest_epoch)
        self._figures.started(self._workers, worker)
        self._trials[worker] = trial
        self._workers.start(trial)
        for callback in self._callbacks:
            callback.on_trial_start(0, [], trial)
        return True
