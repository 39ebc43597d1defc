"""The driver of a study: puts searcher, scheduler, records and Ray Tune together for one session."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import optuna
from ray import tune

from study.cluster.capacity import Capacity
from study.cluster.connect import connect
from study.cluster.watchdog import Watchdog
from study.config import Resources
from study.errors import TrialsFailAlike, interruption_behind
from study.interruption import Interrupted, interruption
from study.ledger.history import CHECKPOINTS_KEPT
from study.ledger.ledger import Ledger
from study.records.checkpoints import CheckpointRule
from study.records.optuna_mirror import OptunaMirror
from study.records.recorder import Recorder
from study.records.tables import write_tables
from study.run.baselines import float_networks
from study.run.desk import Desk
from study.run.progress.display import Progress, SilentReporter
from study.run.recovery import end_finished_trials, prune_checkpoints
from study.run.sensitivities import measure_sensitivities
from study.run.session_facts import check_loop, end_session, start_session
from study.run.study_run import StudyRun
from study.search.gate import Gate
from study.search.rungs import Rungs
from study.search.scheduler import RungScheduler
from study.search.searcher import OptunaSearcher
from study.storage.liveliness import is_complete
from trainables.pack_member import packed_trial
from trainables.trainable import CompressionTrial

MOST_AT_A_TIME = 10_000
"""Most trials that Ray accepts before the first of them is placed; its own default is to place one after another."""

MOST_AHEAD = 16
"""Most trials that are proposed together for a study in a bucket, where each durable write takes a request."""

TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger holds all results
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # study.interruption handles SIGINT
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that diverges reports no accuracy
    "TUNE_MAX_PENDING_TRIALS_PG": str(MOST_AT_A_TIME),  # the searcher limits the number
}
"""Environment variables that Tune reads when it begins to train."""


class Driver:
    """The process that runs a study and holds its ledger."""

    def __init__(self, run: StudyRun, ledger: Ledger, trainable: type[tune.Trainable] | None = None) -> None:
        """Prepare a session.

        Args:
            run: the study.
            ledger: ledger of the study, open for writing.
            trainable: Ray's class of a trial; that of this package if None.
        """
        self._run = run
        self._ledger = ledger
        self._trainable = trainable or trainable_for(run.config.resources)
        self._mirror = OptunaMirror(run.folder, run.config)
        self._desk = Desk(run.folder, run.config, ledger, run.options.console.print)

    def run(self) -> None:
        """Train what is left of the study, and write all files that are derived from the ledger.

        Raises:
            ValueError: no trial fits the cluster, or a loop of the user's own trains the study.
            StudyInterrupted: the study can't be written, or its trials can't be trained.
        """
        try:
            self._train()
        except Exception as error:  # Tune wraps the exceptions of its callbacks
            if failure := interruption_behind(error, self._run.folder):
                raise failure from None
            raise

    def _train(self) -> None:
        if not self._run.options.verbose:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
        history = self._ledger.history
        check_loop(self._run.folder, history, own=False)
        self._desk.forget_stops()
        is_over = is_complete(history, self._run.config) and not history.unfinished
        rungs = None if is_over else end_finished_trials(self._ledger, self._run.config)
        # The last driver may have died before it recorded that all trials have ended.
        if rungs is None or is_complete(history, self._run.config):
            if history.sessions[-1].outcome is None:
                prune_checkpoints(self._run.folder, history)  # Ray's state is older than the ledger
            self._write_records()
            return
        options = self._run.options
        connect(self._run.config, options.address, options.verbose, options.console)
        start_session(self._run.folder, self._run.config, self._ledger)
        self._mirror.sync(history)  # so that a dashboard shows what earlier sessions did
        self._desk.look()
        baselines = self._train_baselines()
        prune_checkpoints(self._run.folder, history)
        failure = self._train_trials(rungs, baselines)
        end_session(self._run.config, self._ledger)
        self._write_records()
        if failure is not None:
            raise failure

    def _train_baselines(self) -> dict[int, str]:
        """Train and measure the float networks where that was not done; returns the addresses of all by seed."""
        run = self._run
        try:
            with Watchdog(str(run.folder), local=run.options.address is None), interruption.deferred():
                baselines = float_networks(
                    run.folder, run.config, self._ledger, run.options.console, self._desk.look_if_due
                )
                measure_sensitivities(run.folder, run.config, self._ledger, baselines, run.options.console)
                return baselines
        except KeyboardInterrupt:
            end_session(run.config, self._ledger)
            raise

    def _train_trials(self, rungs: Rungs, baselines: dict[int, str]) -> TrialsFailAlike | None:
        """Train trials until all have ended or a signal asks the study to end.

        Args:
            rungs: rungs with the reports so far.
            baselines: addresses of the float networks by seed.

        Returns:
            The failure that has ended the study, if its first trials have all failed alike.
        """
        run, history = self._run, self._ledger.history
        os.environ.update(TUNE_SETTINGS)
        capacity = Capacity(
            run.config.resources,
            grows=run.options.address is not None,
            remaining=lambda: run.config.trials - history.num_ended,
        )
        with (
            Progress(history, run.config, run.options.console, commit=self._ledger.commit) as progress,
            closing(capacity),
            Watchdog(str(run.folder), local=run.options.address is None, before_end=progress.stop),
            leaving_terminal(progress),
            interruption.deferred(),
            suppress(Interrupted),
        ):
            ahead = MOST_AHEAD if run.folder.storage.has_working_copy else 1
            searcher = OptunaSearcher(
                run.config, self._ledger, baselines, capacity.trials, run.folder, most_ahead=ahead
            )
            gate = Gate(self._ledger)
            fields = run.config.searched_fields
            recorder = Recorder(
                *(run.folder, self._ledger, self._mirror, run.config.epochs),
                gate=gate,
                fields=fields,
                checkpoints=CheckpointRule.of(run.config, rungs.epochs),
            )
            tuner = self._tuner(
                searcher, RungScheduler(rungs, gate, self._cuts(searcher)), [recorder, self._desk, progress]
            )
            try:
                tuner.fit()
            except Exception as error:
                failure = interruption_behind(error, run.folder)
                if not isinstance(failure, TrialsFailAlike):
                    raise
                return failure
        return None

    def _cuts(self, searcher: OptunaSearcher) -> Callable[[int], bool]:
        """Return a function that tells whether a trial ends after its present epoch, by a user or by a rule."""
        rules, trials = self._run.config.stop, self._ledger.history.trials
        rule_cuts = rules is not None and rules.running == "cut"
        return lambda number: trials[number].stopped_by is not None or (rule_cuts and searcher.stops())

    def _tuner(self, searcher: OptunaSearcher, scheduler: RungScheduler, callbacks: list[tune.Callback]) -> tune.Tuner:
        """Return the tuner of Ray for this session."""
        run, verbose = self._run, self._run.options.verbose
        cpus, gpus = run.config.resources.of_a_trial
        return tune.Tuner(
            tune.with_resources(self._trainable, {"cpu": cpus, "gpu": gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # the searcher ends the study
                reuse_actors=True,
                trial_name_creator=lambda trial: str(trial.config["trial_id"]),
                trial_dirname_creator=lambda trial: f"{trial.config['trial_id']}-{trial.config['attempt']}",
            ),
            run_config=tune.RunConfig(
                name=f"session-{len(self._ledger.history.sessions):03}",
                **run.folder.storage.ray_options(),
                verbose=2 if verbose else 0,
                progress_reporter=None if verbose else SilentReporter(),
                callbacks=callbacks,
                checkpoint_config=tune.CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),  # the recorder asks for them
                failure_config=tune.FailureConfig(max_failures=0),  # the searcher repeats lost trials
            ),
        )

    def _write_records(self) -> None:
        """Write all files that are derived from the ledger."""
        folder, history = self._run.folder, self._ledger.history
        write_tables(folder, history, self._run.config.searched_fields)
        self._mirror.sync(history)
        folder.publish()
        if self._mirror.trouble:
            self._run.options.console.print(
                f"{self._mirror.trouble}; all other files are complete; try again with: qar resume {folder}"
            )


def trainable_for(resources: Resources) -> type[tune.Trainable]:
    """Return Ray's class of a trial: one that trains by itself, or one whose actor trains several together."""
    if resources.trials_per_actor == 1:
        return CompressionTrial
    return packed_trial(resources.trials_per_actor, resources.cpus)


@contextmanager
def leaving_terminal(progress: Progress) -> Iterator[None]:
    """Let a second signal restore the terminal that the progress panel has changed."""
    interruption.before_end = progress.stop
    try:
        yield
    finally:
        interruption.before_end = None
