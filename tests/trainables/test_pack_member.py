"""Ray's side of packs, without Ray: errors of the actor, its loss, and the processes that hold its places."""

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, RayTaskError

from trainables import pack_member
from trainables.errors import DamagedFileError
from trainables.pack_member import BEGIN_ATTEMPTS, PackedTrial, packed_trial


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Answers of an actor, or its exceptions, in their order; every process gets the place 3."""
    result: list[Any] = []

    def get(method: str) -> Any:
        answer = result.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Actor:
        def __getattr__(self, method: str) -> Any:
            return SimpleNamespace(remote=lambda *arguments: (method, arguments))

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(pack_member, "_joined", lambda places, threads: (Actor(), 3))
    yield result
    assert result == []


def test_error_of_the_actor_is_raised_as_if_it_were_of_this_process(answers: list[Any]) -> None:
    answers += [4, RayTaskError("epoch", "Traceback …", DamagedFileError("the checkpoint is damaged"))]
    trial = PackedTrial(config={})
    with pytest.raises(DamagedFileError, match=r"^the checkpoint is damaged$") as error:
        trial.step()
    assert not isinstance(error.value, RayTaskError)


def test_loss_of_the_actor_within_an_epoch_is_that_of_the_trial(answers: list[Any]) -> None:
    answers += [4, ActorDiedError()]
    trial = PackedTrial(config={})
    with pytest.raises(ActorDiedError):
        trial.step()


def test_next_trial_of_a_process_begins_with_another_actor_where_its_own_is_lost(answers: list[Any]) -> None:
    answers += [4, ActorDiedError(), 4, {"epoch": 1}]
    trial = PackedTrial(config={})
    assert trial.reset_config({})
    assert trial.step() == {"epoch": 1}


def test_trial_with_which_every_actor_is_lost_is_given_up(answers: list[Any]) -> None:
    answers += [ActorDiedError()] * BEGIN_ATTEMPTS
    with pytest.raises(ActorDiedError):
        PackedTrial(config={})


def test_class_carries_what_an_actor_needs() -> None:
    made = packed_trial(places=4, threads=2)
    assert (made.places, made.threads, PackedTrial.places) == (4, 2, 1)


def test_processes_that_have_ended_are_told_from_those_that_live() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert pack_member._lives(os.getpid())
    assert not pack_member._lives(ended.pid)


def test_process_of_a_trial_does_without_torch() -> None:
    """There is one for each trial, beside the shared one that trains."""
    code = "import sys, trainables.pack_member; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "False\n"
