"""A cluster that is lost under a running study, or refuses its driver: one line, and what to do."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from study.ledger.reading import read_history
from tests.support.live_studies import MARK, LiveRun, qar
from trainables.result import TrialState

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]

SHORT = (
    *("--trials", "1", "--set", "early_stopping.scheduler=none", "--set", "early_stopping.grace_period=1"),
    *("--set", "baseline_epochs=1", "--set", "trial.regularize_epochs=60"),
    *("--set", "trial.finetune_epochs=1", "--set", "trial.width=0.25"),
    *("--set", "trial.subset=160", "--set", "resources.checkpoints=every_epoch"),
)


@dataclass
class Head:
    """A Ray of one node that runs by itself, as `ray start` leaves it."""

    port: int
    mark: str

    def kill_control_service(self) -> None:
        """Kill the processes of the head that hold a cluster together, as if its machine were lost."""
        mark = f"{MARK}={self.mark}".encode()
        for folder in Path("/proc").iterdir():
            try:
                ours = folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0")
                if ours and b"gcs_server" in (folder / "cmdline").read_bytes().split(b"\0")[0]:
                    os.kill(int(folder.name), signal.SIGKILL)
            except OSError:  # it is gone, or not ours
                continue


@pytest.fixture(autouse=True, scope="module")
def token() -> Iterator[None]:
    """Set a token that the head and its clients share, whatever token this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
        yield


@pytest.fixture(scope="module")
def head(token: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = tmp_path_factory.mktemp("r")
    waiting = LiveRun((), place, program=("-c", "import time; time.sleep(600)"))  # to end all that bears its mark
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={port}", "--num-cpus=2"]
    subprocess.run(
        [*command, "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={place}"],
        env=os.environ | {MARK: waiting.mark},
        check=True,
        capture_output=True,
    )
    yield Head(port, waiting.mark)
    waiting.end_what_is_left()


def test_driver_without_the_clusters_token_is_refused_with_the_way_to_it(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray would look for a token
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.delenv("RAY_AUTH_MODE")
    address = f"127.0.0.1:{head.port}"
    without, wrong = {"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 32}
    for given, environment in ((address, {}), (address, without), (address, wrong), ("auto", {"RAY_ADDRESS": address})):
        arguments = ("launch", "digits", "--address", given, *SHORT)
        refused = LiveRun(arguments, tmp_path, environment=environment).finish()
        assert (refused.status, refused.stdout) == (2, ""), refused
        (line,) = refused.stderr.splitlines()
        assert line.endswith("copy ~/.ray/auth_token from its head to this machine, and set RAY_AUTH_MODE=token")
    assert not (tmp_path / "studies").exists()


def test_cluster_that_is_far_away_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    refused = qar("launch", "digits", "--address", "ray://somewhere:10001", cwd=tmp_path)
    assert (refused.status, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert "ray job submit" in line
    assert list(tmp_path.iterdir()) == []


def test_lost_cluster_is_told_in_one_line_and_the_study_goes_on_elsewhere(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of the file, for it ends the head that the tests share."""
    monkeypatch.setenv("QAR_CLUSTER_PATIENCE", "3")
    address = f"127.0.0.1:{head.port}"
    run = LiveRun(("launch", "digits", "--address", address, *SHORT), tmp_path)
    ledger = tmp_path / "studies" / "digits" / "ledger.jsonl"
    while not ledger.exists():
        assert run.process.poll() is None, run.process.communicate()
    run.wait_until(ledger, lambda history: any(trial.checkpoint for trial in history.unfinished))
    head.kill_control_service()
    lost = run.finish()
    assert lost.status == 1, lost
    (line,) = lost.stderr.splitlines()
    assert "the connection to the cluster at" in line
    assert line.endswith(
        "no answer for 3 s; once there is a cluster again, go on with: qar resume studies/digits --address ADDRESS"
    )

    resumed = qar("resume", "studies/digits", cwd=tmp_path)
    assert (resumed.status, resumed.stderr) == (0, ""), resumed
    assert [trial.state for trial in read_history(ledger).trials.values()] == [TrialState.COMPLETE]
