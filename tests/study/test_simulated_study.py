"""A whole study in simulated time: no promise is broken, whatever happens to its workers and drivers."""

import json

import optuna
import pytest
from simulation.study import Simulation, check_replay, config_of, simulate
from simulation.witness import PromiseBrokenError, Witness

from analysis.load import load_epochs, load_trials
from study.ledger.facts import ASKED, CHECKPOINT, ENDED, EPOCH
from study.ledger.history import History
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated
from trainables.result import TrialState

TRIALS, WORKERS, KILLS = 300, 50, 3


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = tmp_path_factory.mktemp("simulated") / "study"
    return simulate(
        place, config_of(TRIALS, 4, "random", 1), workers=WORKERS, kills=KILLS, losses_an_hour=0.9, is_timed=False
    )


def test_driver_acts_on_durable_facts_alone(simulation: Simulation) -> None:
    """The witness raises at the first act that a crash could contradict."""
    assert simulation.witness.acts > 2 * TRIALS
    assert simulation.witness.num_ended == TRIALS
    assert len(simulation.figures.openings) == 1 + KILLS
    assert simulation.losses > 0


def test_ledger_gives_the_history_and_the_decisions_of_the_driver_again(simulation: Simulation) -> None:
    check_replay(simulation)
    assert_only_epochs_after_a_checkpoint_are_repeated(simulation.folder)
    states = {trial.state for trial in simulation.history.trials.values()}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert sum(trial.losses for trial in simulation.history.trials.values()) > 0, "some lost their worker"
    assert any(len(set(trial.sessions.values())) > 1 for trial in simulation.history.trials.values())


def test_tables_and_database_hold_each_trial_once(simulation: Simulation) -> None:
    table = load_trials(simulation.folder.path)
    assert list(table["number"]) == list(range(TRIALS))
    assert not load_epochs(simulation.folder.path).duplicated(["number", "epoch"]).any()
    shown = optuna.load_study(study_name="simulated", storage=f"sqlite:///{simulation.folder.optuna_db}").trials
    own = [trial for trial in shown if "number" in trial.user_attrs]
    assert [trial.user_attrs["number"] for trial in own] == list(range(TRIALS))
    assert [trial.state.name for trial in own] == list(table["state"])


def line(fact: str, **content: object) -> bytes:
    return json.dumps({"fact": fact, "number": 0, **content}).encode() + b"\n"


def test_witness_notices_what_is_done_too_early() -> None:
    witness = Witness()
    with pytest.raises(PromiseBrokenError, match="started before the ledger held it"):
        witness.starts(0, 0)
    witness.append(line(ASKED))
    witness.starts(0, 0)
    with pytest.raises(PromiseBrokenError, match="went on before epoch 1 was durable"):
        witness.goes_on(0, 1)
    witness.append(line(EPOCH, metrics={"epoch": 1}))
    with pytest.raises(PromiseBrokenError, match="went on before its checkpoint was durable"):
        witness.goes_on(0, 1)
    witness.append(line(CHECKPOINT, epoch=1))
    witness.goes_on(0, 1)
    with pytest.raises(PromiseBrokenError, match="the ledger lacks it"):
        witness.check_survivors(History())
    witness.append(line(ENDED))
    with pytest.raises(PromiseBrokenError, match="started after its end"):
        witness.starts(0, 0)
    with pytest.raises(PromiseBrokenError, match="ended twice"):
        witness.append(line(ENDED))
