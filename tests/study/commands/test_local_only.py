"""The dashboard answers browsers of this machine, and no page from elsewhere."""

from typing import Any

import optuna
import pytest
from optuna_dashboard import wsgi

from study.commands.local_only import local_only


def status(method: str, path: str = "/", **headers: str) -> str:
    """The status of an answer."""
    seen: list[str] = []
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path} | headers

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    list(local_only(application)(environ, lambda status, headers: seen.append(status)))  # type: ignore[arg-type]
    return seen[0].split()[0]


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_local_names_are_answered(host: str, method: str) -> None:
    assert status(method, HTTP_HOST=host) == "200"
    assert status(method, HTTP_HOST=host, HTTP_ORIGIN=f"http://{host}") == "200"


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8080", "localhost.evil.example", "localhost:8080@evil", "127.0.0.1.evil", "::1"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_other_names_are_refused(host: str, method: str) -> None:
    assert status(method, HTTP_HOST=host) == "403"


def test_a_request_without_a_name_is_refused() -> None:
    assert status("GET") == "403"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "https://localhost:8080", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_pages_from_elsewhere_are_refused(origin: str, method: str) -> None:
    assert status(method, HTTP_HOST="localhost:8080", HTTP_ORIGIN=origin) == "403"


@pytest.mark.parametrize(("site", "expected"), [("cross-site", "403"), ("same-site", "403"), ("same-origin", "200")])
def test_a_change_from_another_site_is_refused_without_an_origin_too(site: str, expected: str) -> None:
    assert status("POST", HTTP_HOST="localhost:8080", HTTP_SEC_FETCH_SITE=site) == expected
    assert status("GET", HTTP_HOST="localhost:8080", HTTP_SEC_FETCH_SITE=site) == "200"  # a link that was followed


def test_a_rebound_name_reaches_nothing_of_the_dashboard() -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="small")
    guarded, seen = local_only(wsgi(storage)), []
    environ = {"REQUEST_METHOD": "DELETE", "PATH_INFO": "/api/studies/0", "HTTP_HOST": "evil.example:8080"}
    list(guarded(environ, lambda status, headers: seen.append(status)))  # type: ignore[arg-type]
    assert seen == ["403 Forbidden"]
    assert optuna.get_all_study_names(storage) == ["small"]
