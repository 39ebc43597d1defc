"""deploy/slurm.sbatch, run for real with Slurm's and Ray's commands replaced by ones that write down their calls."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_command

from study.cli import app

SCRIPT = Path(__file__).parents[2] / "deploy" / "slurm.sbatch"
NODES = ["node1", "node2", "node3"]

STUBS = {
    "scontrol": 'if [ "$1 $2" = "show hostnames" ]; then printf "%s\\n" $NODES; fi',
    "srun": "sleep 60",
    "sbatch": "true",
    "ray": 'if [ "$1" = status ]; then for node in $JOINED; do echo " 1 node_$node"; done; fi',
    # A driver that notes SIGINT and takes what the test says. It must not be born with SIGINT ignored.
    "qar": """trap 'echo interrupted >>"$CALLS"; [ "$ON_INT" = hang ] || exit "$ON_INT"' INT
        touch "$STARTED"
        for _ in $(seq "$TENTHS"); do sleep 0.1; done
        exit "$ENDS_WITH\"""",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """Result of a run of the script."""

    status: int
    calls: list[str]
    output: str

    def of(self, *start: str) -> list[str]:
        return [call for call in self.calls if call.split()[: len(start)] == list(start)]

    @property
    def requeued(self) -> bool:
        return self.of("scontrol", "requeue") == ["scontrol requeue 4711"]


def run(
    folder: Path,
    *arguments: str,
    limit: bool = False,
    on_int: str = "130",
    ends_with: int = 0,
    tenths: int = 3,
    joined: list[str] = NODES,
    grace: int = 30,
    join: int = 30,
) -> Job:
    """Runs the script; with `limit`, sends it the time limit's signal once the driver runs."""
    commands = folder / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, body in STUBS.items():
        stub = commands / name
        stub.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>"$CALLS"\n{body}\n')
        stub.chmod(0o755)
    calls, started, output = folder / "calls", folder / "started", folder / "output"
    told = {"CALLS": calls, "STARTED": started, "NODES": " ".join(NODES), "JOINED": " ".join(joined), "HOME": folder}
    told |= {"ON_INT": on_int, "ENDS_WITH": ends_with, "TENTHS": tenths}
    told |= {"GRACE_SECONDS": grace, "JOIN_SECONDS": join, "PATH": os.environ["PATH"]}
    told |= {"SLURM_JOB_ID": 4711, "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_CPUS_PER_TASK": 8}
    with output.open("w") as file:
        script = subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            cwd=folder,
            env={name: str(value) for name, value in told.items()},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        if limit:
            deadline = time.monotonic() + 30
            while not started.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            script.send_signal(signal.SIGUSR1)
        status = script.wait(timeout=60)
    return Job(status=status, calls=calls.read_text().splitlines(), output=output.read_text())


def test_script_is_bash() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="shellcheck is not installed: apt-get install shellcheck"
)
def test_script_passes_shellcheck() -> None:
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def test_ray_gets_one_head_and_a_worker_on_every_other_node(tmp_path: Path) -> None:
    steps = run(tmp_path).of("srun")
    (head,) = [step for step in steps if "--head" in step]
    assert "--nodelist=node1 " in head
    assert "--port=24711" in head
    workers = [step for step in steps if step != head]
    assert sorted(word for step in workers for word in step.split() if word.startswith("--nodelist")) == [
        "--nodelist=node2",
        "--nodelist=node3",
    ]
    assert all("ray start --address=node1:24711 " in step for step in workers)
    assert all("--block" in step and "--num-cpus=8" in step for step in steps)


def test_driver_resumes_on_the_allocations_ray(tmp_path: Path) -> None:
    (call,) = run(tmp_path, "--set", "trials=9").of("qar")
    storage = f"--storage {tmp_path}/studies"
    assert call == f"qar launch digits --address node1:24711 {storage} --resume-if-exists --set trials=9"
    command = get_command(app).commands["launch"]  # type: ignore[attr-defined]
    parsed = command.make_context("launch", call.split()[2:]).params
    assert parsed["resume_if_exists"]
    assert parsed["address"] == "node1:24711"


def test_token_is_made_before_ray_starts(tmp_path: Path) -> None:
    calls = run(tmp_path).calls
    first_step = next(place for place, call in enumerate(calls) if call.startswith("srun"))
    assert calls.index("ray get-auth-token --generate") < first_step


def test_job_is_not_queued_again_when_the_study_finished(tmp_path: Path) -> None:
    job = run(tmp_path)
    assert (job.status, job.of("scontrol", "requeue")) == (0, [])


@pytest.mark.parametrize("status", [1, 2, 130])
def test_job_is_not_queued_again_when_the_driver_ended_by_itself(tmp_path: Path, status: int) -> None:
    job = run(tmp_path, ends_with=status)
    assert (job.status, job.of("scontrol", "requeue")) == (status, [])


def test_job_is_queued_again_when_the_time_limit_ended_the_driver(tmp_path: Path) -> None:
    job = run(tmp_path, limit=True, tenths=300)
    assert job.of("interrupted")
    assert (job.status, job.requeued) == (0, True)


def test_job_is_queued_again_when_the_driver_had_to_be_killed(tmp_path: Path) -> None:
    job = run(tmp_path, limit=True, on_int="hang", tenths=300, grace=1)
    assert job.of("interrupted")
    assert (job.status, job.requeued) == (0, True)


@pytest.mark.parametrize("status", [0, 1])
def test_job_is_not_queued_again_when_the_driver_finished_or_failed_at_the_limit(tmp_path: Path, status: int) -> None:
    job = run(tmp_path, limit=True, on_int=str(status), tenths=300)
    assert job.of("interrupted")
    assert (job.status, job.of("scontrol", "requeue")) == (status, [])


def test_job_fails_when_a_node_does_not_join(tmp_path: Path) -> None:
    job = run(tmp_path, joined=NODES[:2], join=1)
    assert job.status == 1
    assert "only 2 of 3 nodes joined" in job.output
    assert job.of("qar") == []
