"""Ray's token: readable by its owner only."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from study.cluster.token import TokenExposedError, private_files, protect_token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("secret")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o604, 0o666, 0o660])
def test_token_that_others_can_read_or_write_is_mended(rights: int, token: Path) -> None:
    token.chmod(rights)
    protect_token()
    assert mode(token) == 0o600
    assert token.read_text() == "secret"


def test_folder_that_others_can_write_to_is_mended_and_stays_readable(token: Path) -> None:
    token.parent.chmod(0o777)
    protect_token()
    assert mode(token.parent) == 0o755


def test_token_that_cant_be_mended_is_refused_in_one_line(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token.chmod(0o644)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(TokenExposedError, match=r"has mode 0644.*chmod go-rwx [^\n]*$"):
        protect_token()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))  # a container's secret, mounted read-only
    protect_token()


def test_no_token_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    protect_token()
    assert list(tmp_path.iterdir()) == []


def test_private_files_are_their_owners_and_the_umask_comes_back(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with private_files():
            (tmp_path / "token").touch(0o666)
        assert mode(tmp_path / "token") == 0o600
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_rays_own_token_is_created_for_its_owner_only(tmp_path: Path) -> None:
    """Run in a process of its own, since Ray caches the token."""
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"HOME": str(tmp_path)}
    script = "import os; os.umask(0o022); from study.cluster.token import prepare_token; prepare_token(create=True)"
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert mode(tmp_path / ".ray" / "auth_token") == 0o600
    assert mode(tmp_path / ".ray") == 0o700
