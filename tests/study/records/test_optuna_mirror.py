"""The mirror: Optuna's study tells what the ledger tells, whatever happens to it, on SQLite and on PostgreSQL."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from typer.testing import CliRunner

from study.cli import app
from study.config import StudyConfig, parse_study
from study.ledger.facts import ASKED, ENDED, PRIOR, REPEATED
from study.ledger.ledger import Ledger
from study.records.optuna_mirror import OptunaMirror
from study.storage.folder import StudyFolder
from tests.support.example_studies import asked, make_study, start_session, study_config, train
from tests.support.live_studies import LiveRun, qar
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated, assert_three_ledgers_agree
from tests.support.requirements import postgresql_programs
from trainables.result import TrialState

PARAMS = {"num_levels": 4}
DISTRIBUTIONS = {
    "num_levels": optuna.distributions.distribution_to_json(optuna.distributions.IntDistribution(2, 64, log=True))
}
PROPOSED: dict[str, Any] = {"params": PARAMS, "distributions": DISTRIBUTIONS}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A throw-away PostgreSQL on loopback: its URI."""
    programs = postgresql_programs()
    assert programs is not None
    folder = tmp_path_factory.mktemp("postgres")
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to be run by root
    if user:
        for place in (folder, *folder.parents):
            if place.is_relative_to("/tmp") and place != Path("/tmp"):
                place.chmod(0o755)
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    initdb: list[str | Path] = [programs / "initdb", "--auth=trust", "--username=qar", "--no-sync", "-D", data]
    subprocess.run(initdb, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    listen = ("-c", "listen_addresses=127.0.0.1", "-p", str(port), "-k", folder)
    serve: list[str | Path] = [programs / "postgres", "-D", data, *listen]
    uri = f"qar@127.0.0.1:{port}/postgres"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(serve, user=user, cwd=folder, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"postgresql://{uri}"):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"postgresql+psycopg://{uri}"
    finally:
        server.send_signal(signal.SIGINT)  # it ends without waiting for those that are still connected
        server.wait(timeout=60)


def _answers(uri: str) -> bool:
    try:
        psycopg.connect(uri, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.postgresql)])
def config(request: pytest.FixtureRequest) -> StudyConfig:
    if request.param == "SQLite":
        return study_config()
    uri = request.getfixturevalue("postgres")
    return study_config(optuna_storage=uri, name=f"small-{request.node.name.translate(str.maketrans('[]', '--'))}")


class MirroredStudy:
    """A study whose ledger a test writes, and its mirror."""

    def __init__(self, folder: Path, config: StudyConfig) -> None:
        self.folder, self.config = StudyFolder(folder), config
        self.ledger = Ledger(self.folder.ledger)
        start_session(self.ledger)
        self.mirror = OptunaMirror(self.folder, config)

    def ask(self, number: int, **changes: Any) -> None:
        trial = self.config.trial_config({"family": "RS", "num_levels": 2 + number, "lam": 1e-3})
        self.ledger.record(ASKED, **asked(number, trial, **PROPOSED | changes))

    def end(self, number: int, state: str, epochs: int, failure: str | None = None) -> None:
        train(self.ledger, number, epochs, accuracy=0.5 + number / 10)
        self.ledger.record(ENDED, number=number, state=state, failure=failure)

    def sync(self) -> list[FrozenTrial]:
        """Bring the storage up to date and return its trials."""
        self.mirror.sync(self.ledger.history)
        assert self.mirror.trouble is None
        return self.shown()

    def shown(self) -> list[FrozenTrial]:
        return optuna.load_study(study_name=self.config.name, storage=self.mirror.uri).trials

    def sync_anew(self) -> list[FrozenTrial]:
        """The same after a restart of the driver."""
        self.mirror = OptunaMirror(self.folder, self.config)
        return self.sync()


@pytest.fixture
def mirrored(config: StudyConfig, tmp_path: Path) -> MirroredStudy:
    """One of each kind of proposal, the last of them running."""
    mirrored = MirroredStudy(tmp_path, config)
    mirrored.ledger.record(
        PRIOR, **PROPOSED, metrics={"val_accuracy": 0.25, "bits_per_weight": 3.0}, source="elsewhere"
    )
    for number in range(4):
        mirrored.ask(number)
    mirrored.end(0, TrialState.COMPLETE, 4)
    mirrored.end(1, TrialState.PRUNED, 2)
    mirrored.end(2, TrialState.FAIL, 1, "it broke")
    metrics = {"val_accuracy": 0.5, "bits_per_weight": 2.0}
    mirrored.ledger.record(REPEATED, **PROPOSED, number=0, state=TrialState.COMPLETE, metrics=metrics, sampler_state={})
    mirrored.ledger.record(
        REPEATED, **PROPOSED, number=3, state=TrialState.FAIL, failure="still runs", metrics={}, sampler_state={}
    )
    return mirrored


STATES = [
    OptunaState.COMPLETE,
    OptunaState.COMPLETE,
    OptunaState.PRUNED,
    OptunaState.FAIL,
    OptunaState.RUNNING,
    OptunaState.COMPLETE,
    OptunaState.FAIL,
]


def essence(trials: list[FrozenTrial]) -> list[Any]:
    """All but times."""
    return [(trial.number, trial.state, trial.values, trial.params, trial.user_attrs) for trial in trials]


def test_every_proposal_is_shown_as_it_is(mirrored: MirroredStudy) -> None:
    shown = mirrored.sync()
    assert [trial.state for trial in shown] == STATES
    assert [trial.values for trial in shown] == [[0.25, 3.0], [0.5, 2.0], None, None, None, [0.5, 2.0], None]
    assert all(trial.params == PARAMS for trial in shown)
    assert [trial.user_attrs.get("number") for trial in shown] == [None, 0, 1, 2, 3, None, None]
    assert [trial.user_attrs.get("repeated_of") for trial in shown] == [None] * 5 + [0, 3]
    assert shown[0].user_attrs == {"prior": True}
    assert [trial.user_attrs.get("failure") for trial in shown if trial.state == OptunaState.FAIL] == [
        "it broke",
        "still runs",
    ]
    assert shown[1].user_attrs["trial_id"] == "small-00000"


@pytest.mark.parametrize("restart", [False, True])
def test_mirror_follows_what_happens_and_repeats_nothing(restart: bool, mirrored: MirroredStudy) -> None:
    before = essence(mirrored.sync())
    assert essence(mirrored.sync_anew() if restart else mirrored.sync()) == before
    mirrored.end(3, TrialState.FAIL, 2, "late")
    mirrored.ask(4)
    after = mirrored.sync_anew() if restart else mirrored.sync()
    assert essence(after)[:4] == before[:4]
    assert [trial.state for trial in after[4:]] == [
        *(OptunaState.FAIL, OptunaState.COMPLETE, OptunaState.FAIL, OptunaState.RUNNING)
    ]
    assert after[4].user_attrs["failure"] == "late"


def test_mirror_that_contradicts_the_ledger_is_made_anew(mirrored: MirroredStudy) -> None:
    expected = essence(mirrored.sync())
    storage = optuna.storages.RDBStorage(mirrored.mirror.uri)
    study = optuna.load_study(study_name=mirrored.config.name, storage=storage)
    study.tell(4, [0.9, 1.0])  # a zombie's claim
    assert essence(mirrored.sync_anew()) == expected
    study = optuna.load_study(study_name=mirrored.config.name, storage=storage)
    study.add_trial(optuna.trial.create_trial(values=[1.0, 1.0]))
    assert essence(mirrored.sync_anew()) == expected
    optuna.delete_study(study_name=mirrored.config.name, storage=storage)
    assert essence(mirrored.sync_anew()) == expected


def test_study_that_is_deleted_under_its_driver_comes_back(mirrored: MirroredStudy) -> None:
    expected = essence(mirrored.sync())
    optuna.delete_study(study_name=mirrored.config.name, storage=mirrored.mirror.uri)
    mirrored.ask(4)
    mirrored.mirror.sync(mirrored.ledger.history)
    # Seen at the next write; a file of its own is then made anew.
    assert (mirrored.mirror.trouble is None) == (mirrored.config.optuna_storage is None)
    assert essence(mirrored.sync())[:-1] == expected


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_damaged_database_of_its_own_is_made_anew(content: bytes, tmp_path: Path) -> None:
    mirrored = MirroredStudy(tmp_path, study_config())
    mirrored.ask(0)
    expected = essence(mirrored.sync())
    mirrored.mirror = OptunaMirror(mirrored.folder, mirrored.config)  # lets go of the file
    mirrored.folder.optuna_db.write_bytes(content)
    assert essence(mirrored.sync_anew()) == expected


@pytest.mark.parametrize("restart", [False, True])
def test_damaged_pages_in_the_middle_of_its_own_database_are_mended(restart: bool, tmp_path: Path) -> None:
    """Whichever page it is: by a driver that has the file open, or at the latest by the next one."""
    mirrored = MirroredStudy(tmp_path, study_config())
    mirrored.ask(0)
    mirrored.sync()
    content = mirrored.folder.optuna_db.read_bytes()
    pages = len(content) // 4096
    for page in range(1, pages, max(1, pages // 5)):
        damaged = bytearray(mirrored.folder.optuna_db.read_bytes())
        damaged[page * 4096 : page * 4096 + 4096] = b"\xa5" * 4096
        mirrored.folder.optuna_db.write_bytes(bytes(damaged))
        mirrored.end(page_number := len(mirrored.ledger.history.trials) - 1, TrialState.COMPLETE, 4)
        mirrored.ask(page_number + 1)
        if not restart:
            mirrored.mirror.sync(mirrored.ledger.history)
            assert mirrored.mirror.trouble is None
        shown = mirrored.sync_anew()
        assert [trial.user_attrs["number"] for trial in shown] == list(range(page_number + 2))
        assert shown[page_number].state == OptunaState.COMPLETE


def test_database_that_is_away_is_trouble_and_no_more(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"postgresql+psycopg://qar@127.0.0.1:{probe.getsockname()[1]}/postgres"
    mirrored = MirroredStudy(tmp_path, study_config(optuna_storage=uri))
    mirrored.ask(0)
    mirrored.mirror.sync(mirrored.ledger.history)
    assert mirrored.mirror.trouble is not None
    assert "\n" not in mirrored.mirror.trouble
    assert uri in mirrored.mirror.trouble
    with pytest.raises(ValueError, match="optuna_storage must be the URI of a database that can be reached"):
        mirrored.mirror.check_free()


def test_name_that_another_study_has_in_the_database_is_refused(postgres: str, tmp_path: Path) -> None:
    config = study_config(optuna_storage=postgres, name="taken")
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = MirroredStudy(tmp_path / "one", config), MirroredStudy(tmp_path / "other", config)
    one.mirror.check_free()
    one.ask(0)
    expected = essence(one.sync())
    with pytest.raises(ValueError, match="holds a study 'taken' already; delete it there, or choose another --name"):
        other.mirror.check_free()
    other.mirror.sync(other.ledger.history)
    assert other.mirror.trouble is not None
    assert "another study of the name 'taken'" in other.mirror.trouble
    assert essence(one.shown()) == expected


def test_confirmation_whose_name_the_database_has_is_refused_and_leaves_nothing(postgres: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "known", study_config(trials=5, name="known", optuna_storage=postgres))
    optuna.create_study(study_name="known-confirm", storage=postgres)
    mirrored = CliRunner().invoke(app, ["confirm", str(study.path), "--seeds", "2", "--trust-addresses"])
    assert (mirrored.exit_code, mirrored.stderr.count("\n")) == (2, 1)
    assert "holds a study 'known-confirm' already; delete it there" in mirrored.stderr
    assert not study.confirmation.exists()


def knows_a_running_trial(storage: str) -> bool:
    """Whether the database, which is brought up to date now and then, has a trial of the study that runs."""
    if "digits" not in optuna.get_all_study_names(storage):
        return False
    trials = optuna.load_study(study_name="digits", storage=storage).trials
    return any(trial.state == OptunaState.RUNNING for trial in trials)


@pytest.mark.e2e
def test_study_that_is_killed_tells_the_same_in_the_database(postgres: str, tmp_path: Path) -> None:
    epochs = ("--set", "trial.regularize_epochs=2", "--set", "trial.finetune_epochs=1", "--set", "baseline_epochs=1")
    short = (*epochs, "--set", "trial.subset=160", "--set", "early_stopping.grace_period=1")
    run = LiveRun(("launch", "digits", "--trials", "20", "--set", f"optuna_storage={postgres}", *short), tmp_path)
    folder = StudyFolder(tmp_path / "studies" / "digits")
    run.wait_until(folder.ledger, lambda history: history.num_ended >= 4 and knows_a_running_trial(postgres))
    run.kill_driver()
    run.finish()
    running = [trial.state for trial in optuna.load_study(study_name="digits", storage=postgres).trials]
    assert OptunaState.RUNNING in running, "nobody was left to tell the database"

    ended = qar("resume", "studies/digits", cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, ""), ended
    assert not folder.optuna_db.exists()
    assert_only_epochs_after_a_checkpoint_are_repeated(folder)
    assert_three_ledgers_agree(folder)


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("optuna.db", "must be the URI of a database"),
        ("postgresql://qar:secret@host/db", r"must hold no credentials.*postgresql://qar:…@host/db.*leave them out"),
    ],
)
def test_storage_that_makes_no_sense_is_refused(uri: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as refusal:
        parse_study(study_config().model_dump() | {"optuna_storage": uri}, "study.yaml")
    assert "secret" not in str(refusal.value)
