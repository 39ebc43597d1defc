"""Requests in a folder and in a bucket: whole, in order of time, and never by way of a link."""

import json
from pathlib import Path

import pytest

from study.ledger.facts import ENQUEUED
from study.run.desk import Desk
from study.storage.folder import StudyFolder
from study.storage.requests import Request, pending, send
from tests.support.example_studies import start_session, study_config
from tests.support.faulty_store import FaultyStore

RM = {"family": "RM", "num_levels": 4, "lam": 1e-3, "placement": "own"}


@pytest.fixture(params=["folder", "bucket"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> StudyFolder:
    if request.param == "folder":
        folder = StudyFolder(tmp_path / "small")
    else:
        server: FaultyStore = request.getfixturevalue("server")
        server.fault = lambda method, path: None
        folder = StudyFolder.at(server.uri(f"bucket/{abs(hash(request.node.name))}/small"))
    folder.create(study_config(trials=40))
    return folder


def test_requests_are_seen_by_others_in_order_until_they_are_taken(study: StudyFolder) -> None:
    sent = [Request(kind="enqueue", searched=RM | {"num_levels": number}) for number in (2, 3, 4)]
    for request in sent:
        send(study, request)
    other = StudyFolder.at(study.address)
    assert pending(other) == (sent, {})
    ledger = study.open_ledger(print)
    start_session(ledger, study)
    Desk(study, study.read_config(), ledger, pytest.fail).look()
    assert pending(other) == ([], {})
    assert [fact.searched["num_levels"] for fact in ledger.history.enqueued.values()] == [2, 3, 4]
    ledger.close()
    other.storage.fetch_ledger()
    facts = [json.loads(line) for line in other.ledger.read_text().splitlines()]
    assert [fact["request"] for fact in facts if fact["fact"] == ENQUEUED] == [request.name for request in sent]


def test_request_that_is_not_there_is_removed_in_peace(study: StudyFolder) -> None:
    study.storage.remove_request("0" * 32)
    assert study.storage.requests() == {}


def test_links_are_neither_followed_nor_written_through(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path / "small")
    study.create(study_config(trials=40))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (study.path / "requests").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="symbolic link"):
        send(study, Request(kind="stop"))
    assert list(elsewhere.iterdir()) == []
