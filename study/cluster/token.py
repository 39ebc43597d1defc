"""Ray's token, `~/.ray/auth_token`: everybody who can read it can run code as its owner."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class TokenExposedError(Exception):
    """Others can read or replace Ray's token, and this user can't change that; the message is one line."""


def token_path() -> Path:
    """Return the file that Ray reads its token from."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def protect_token() -> None:
    """Remove all rights of others to the token, and their right to write into its folder.

    A token that RAY_AUTH_TOKEN_PATH names may be unchangeable, as a container's secret that is mounted read-only. It
    is then left as it is: its rights are the responsibility of the administrator of the cluster.

    Raises:
        TokenExposedError: others can read or replace the token, and this user can't change that.
    """
    path = token_path()
    named = "RAY_AUTH_TOKEN_PATH" in os.environ
    for place, rights in ((path, OTHERS),) if named else ((path.parent, OTHERS_WRITE), (path, OTHERS)):
        try:
            mode = stat.S_IMODE(place.stat().st_mode)
        except OSError:  # there is no token, or Ray reports that it can't be read
            continue
        if not mode & rights:
            continue
        try:
            place.chmod(mode & ~rights)
        except OSError as error:
            if named:
                continue
            raise TokenExposedError(
                f"Ray's token must be readable by its owner only, but {place} has mode {mode:04o}, and others could "
                f"run code as you; it can't be changed here ({error.strerror}): chmod go-rwx {place} as its owner, or "
                "set RAY_AUTH_TOKEN_PATH to a file of your own"
            ) from None


@contextmanager
def private_files() -> Iterator[None]:
    """Create files and folders inside the context with rights for their owner only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def prepare_token(create: bool) -> None:
    """Protect Ray's token; create one if there is none and a Ray of this machine will ask for it.

    Raises:
        TokenExposedError: as in `protect_token`.
        OSError: the token can't be written.
    """
    protect_token()
    if not create or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if "RAY_AUTH_TOKEN_PATH" in os.environ:
        return  # Ray reports itself if there is none
    from ray._private.authentication.authentication_token_generator import generate_new_authentication_token
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined] # the stub lacks it

    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        path = token_path()
        with private_files(), suppress(FileExistsError):  # another process has created it meanwhile
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                file.write(generate_new_authentication_token())
        loader.reset_cache()
