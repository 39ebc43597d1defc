"""Posts to a web hook on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from study.ledger.facts import ASKED, ENDED
from study.trackers.notification import Notifier
from tests.support.example_studies import Unwritten, asked, history_of, study_config
from trainables.errors import DamagedFileError
from trainables.result import TrialState


class Hook(HTTPServer):
    """Keeps what is posted; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []
        self.status = 200
        self.location: str | None = None
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.server.status == 200:
            self.server.received.append(body)
        self.server.requests += 1
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    do_GET = do_POST  # noqa: N815  the name that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_post_follows_no_redirection(hook: Hook, tmp_path: Path) -> None:
    """It could lead to a service that only this machine reaches."""
    hook.status = 307
    hook.location = hook.url
    notifier = Notifier(hook.url, "s3://bucket/small", tmp_path)
    failed = Unwritten()
    failed.record(ASKED, **asked(0, study_config().trial_config({"family": "none", "num_levels": 4})))
    failed.record(ENDED, number=0, state=TrialState.FAIL, failure="the loss is not finite")
    for status in (301, 302, 303, 307, 308):
        hook.status, hook.requests = status, 0
        with pytest.raises(HTTPError, match=str(status)):
            notifier.update_trial(failed.history.trials[0])
        assert hook.requests == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"[" * 100_000, b"\xff"])
def test_damaged_list_of_posts_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "notified.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match="is damaged; remove it, then all is posted again"):
        Notifier("http://localhost/hook", "s3://bucket/small", tmp_path)


POINTS = [(0.5, 1.0, TrialState.COMPLETE, 2), (0.8, 2.0, TrialState.COMPLETE, 4), (0.9, 4.0, TrialState.COMPLETE, 16)]


def test_knee_failure_and_end_are_posted_once(hook: Hook, tmp_path: Path) -> None:
    failed = Unwritten()
    failed.record(ASKED, **asked(0, study_config().trial_config({"family": "none", "num_levels": 4})))
    failed.record(ENDED, number=0, state=TrialState.FAIL, failure="the loss is not finite")
    for _ in range(2):  # the second is a new process
        notifier = Notifier(hook.url, "/studies/small", tmp_path)
        notifier.update_trial(failed.history.trials[0])
        notifier.update_study(study_config(trials=3), history_of(*POINTS))
    events = [(post["event"], post["study"]) for post in hook.received]
    assert events == [(event, "/studies/small") for event in ("failed", "knee", "ended")]
    assert hook.received[0]["reason"] == "the loss is not finite"
    assert hook.received[1]["knee"]["bits_per_weight"] == 2.0
    assert [row["trial"] for row in hook.received[2]["front"]] == [0, 1, 2]
    assert len({post["id"] for post in hook.received}) == 3


def test_a_refused_post_is_sent_again(hook: Hook, tmp_path: Path) -> None:
    notifier = Notifier(hook.url, "/studies/small", tmp_path)
    hook.status = 503
    with pytest.raises(HTTPError):
        notifier.update_study(study_config(trials=1), history_of(POINTS[0]))
    hook.status = 200
    notifier.update_study(study_config(trials=1), history_of(POINTS[0]))
    assert [post["event"] for post in hook.received] == ["ended"]


def test_ends_of_an_extended_study_are_two(hook: Hook, tmp_path: Path) -> None:
    notifier = Notifier(hook.url, "/studies/small", tmp_path)
    for trials in (1, 2):
        notifier.update_study(study_config(trials=trials), history_of(*POINTS[:trials]))
    assert [post["trials"] for post in hook.received if post["event"] == "ended"] == [1, 2]
