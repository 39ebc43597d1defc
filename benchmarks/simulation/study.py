"""A simulated study from its first to its last trial, whose driver is killed and resumed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulation.figures import Figures, Stage
from simulation.session import SimulatedSession
from simulation.training import Training
from simulation.witness import PromiseBrokenError, Witness
from simulation.workers import SHARE_LOST_IN_AN_HOUR, Workers
from study.config import StudyConfig, load_study
from study.ledger.history import History
from study.ledger.reading import read_file
from study.ledger.snapshot import snapshot_of
from study.search.rungs import Rungs
from study.storage.folder import StudyFolder
from trainables.result import TrialState


def config_of(trials: int, epochs: int, sampler: str, seed: int) -> StudyConfig:
    """Return the configuration of a study: that of `digits`, where a rung ends half of the trials after two thirds.

    K goes up to 65,536, so that few proposals are known already.
    """
    regularize = max(1, 2 * epochs // 3)
    return load_study(
        "digits",
        [
            "name=simulated",
            *("trial.init=scratch", "trial.subset=160", "trial.width=0.25", "space.num_levels.high=65536"),
            *(f"trial.regularize_epochs={regularize}", f"trial.finetune_epochs={epochs - regularize}"),
            f"early_stopping.grace_period={min(regularize + 1, epochs - 1)}",
            *(f"trials={trials}", f"sampler={sampler}", f"seed={seed}"),
        ],
    )


RANKED_ANEW = 5000
"""Trials that are ranked among all members of their rung again at the end, which takes some 20 ms among 100,000."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Result of a simulated study.

    Attributes:
        folder: the study.
        config: its configuration.
        history: its history, as the last driver has it.
        figures: figures of its drivers.
        witness: witness of what they did.
        losses: number of workers that were lost.
    """

    folder: StudyFolder
    config: StudyConfig
    history: History
    figures: Figures
    witness: Witness
    losses: int


def simulate(
    place: Path,
    config: StudyConfig,
    *,
    workers: int,
    kills: int,
    losses_an_hour: float = SHARE_LOST_IN_AN_HOUR,
    marks: Sequence[int] = (),
    is_timed: bool = True,
    show: Callable[[Stage], None] = lambda stage: None,
) -> Simulation:
    """Run a study in simulated time, and return what came of it.

    Args:
        place: folder of the study, which must not exist.
        config: its configuration, whose seed also seeds the trainings and the failures.
        workers: number of workers.
        kills: number of times that the driver dies, at random numbers of ended trials.
        losses_an_hour: share of the workers that are lost in an hour.
        marks: numbers of ended trials at which a stage ends.
        is_timed: whether simulated time passes while the driver works; else the course is repeatable.
        show: receives each stage as it ends.

    Raises:
        PromiseBrokenError: a driver has broken a promise.
    """
    folder, rng = StudyFolder(place), random.Random(config.seed)
    folder.create(config)
    pool, witness = Workers(workers, Training(config.seed), rng, losses_an_hour), Witness()
    figures = Figures(witness, is_timed)
    deaths = sorted(rng.sample(range(1, config.trials), kills))
    stages = sorted(marks)
    session = SimulatedSession(folder, config, pool, witness, figures)
    while not session.is_over:
        session.step()
        ended = witness.num_ended
        if stages and ended >= stages[0]:
            show(figures.end_stage(ended, witness.num_facts, pool))
            stages.pop(0)
        if deaths and ended >= deaths[0]:
            deaths.pop(0)
            session.die(rng)
            session = SimulatedSession(folder, config, pool, witness, figures)
    history = session.ledger.history
    session.finish()
    if stages:
        show(figures.end_stage(witness.num_ended, witness.num_facts, pool))
    return Simulation(
        folder=folder, config=config, history=history, figures=figures, witness=witness, losses=pool.losses
    )


def check_replay(simulation: Simulation) -> None:
    """Check that the ledger gives the history of the driver again, with a snapshot and without.

    Reading the ledger also checks the order of its facts: no epoch is missing, and nothing follows the end of a trial.

    Raises:
        PromiseBrokenError: another history follows, or a trial has not ended.
    """
    ledger, config = simulation.folder.ledger, simulation.config
    expected = simulation.history
    if [*expected.trials] != [*range(config.trials)] or expected.num_ended != config.trials:
        raise PromiseBrokenError(f"{expected.num_ended} of {config.trials} trials have ended")
    if read_file(ledger).history != expected:
        raise PromiseBrokenError("the snapshot and the rest of the ledger give another history")
    snapshot = snapshot_of(ledger)
    aside = snapshot.with_suffix(".aside")
    if snapshot.exists():
        snapshot.rename(aside)
    history = read_file(ledger).history
    if aside.exists():
        aside.rename(snapshot)
    if history != expected:
        raise PromiseBrokenError("the ledger gives another history")
    in_order, anew = Rungs(config), Rungs.replay(config, history)
    for report in history.rung_reports:
        in_order.report(report.number, history.trials[report.number].anchor, report.metrics)
    for trial in history.trials.values():
        rungs = [in_order, anew] if trial.number % -(-config.trials // RANKED_ANEW) == 0 else [in_order]
        was_stopped = trial.state == TrialState.PRUNED
        if trial.state != TrialState.FAIL and any(one.stopped(trial.number) != was_stopped for one in rungs):
            raise PromiseBrokenError(f"the rungs decide otherwise about trial {trial.number} than during the study")
