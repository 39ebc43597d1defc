"""Detection of credentials in URIs: they are refused, and hidden in messages.

study.yaml, study.json and the ledger keep every URI of a study, and studies are shared. So no part of a URI may hold a
password, a key or a token.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "…"
"""Text that replaces credentials in messages."""

_SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase|code)?(?:_?\d+)?$|password|passwd|^pwd$|secret|token|credential|signature|"
    r"(?:access|api|private|account|shared|encryption|storage|master)_?key(?:_?id)?$|"
    r"^(?:sig|sas|auth|authorization)$"
)
"""Names of secret options, in lower case with `_` for `-`. `passfile` and `sslkey` name files and are allowed."""

_DATABASES = re.compile(r"postgres|mysql|mariadb|mssql|oracle|sqlite")
_OPEN_USERS = re.compile(rf"{_DATABASES.pattern}|ray$|ssh$|sftp$|hdfs|abfs")
"""Schemes of URIs in which a user name is no secret; in others the text before the @ is a key or a token."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40})://")
_USER = re.compile(r"([^:/@?#\s]*)([:@])")
_OPTION = re.compile(r"([\w%.+-]{1,100})=(?=\S)")
_QUOTED_OPTION = re.compile(r"(['\"][\w%.+-]{1,100}['\"]\s*:\s*)('[^']*'|\"[^\"]*\"|[^\s,}]+)")
_VALUE = re.compile(r"""\S*?(?=\s|['"`](?:[\s,;:.)\]}]|$)|$)""")
"""Text after a scheme or an option's name, up to a space or to a quotation mark that ends a word."""
_WORD = re.compile(r"[^\s'\"`]+")

LONGEST_TEXT = 20_000
"""Number of characters after which `redacted` cuts a text."""


def credentials_in(uri: str) -> list[str]:
    """Return descriptions of the credentials in a URI; empty if it holds none.

    The user part before the host and all options after the path are searched, including options that are nested or
    percent-encoded; upper and lower case don't matter.
    """
    descriptions = [text for form in (uri, _decoded(uri)) for _, _, text in _secrets(form)]
    return list(dict.fromkeys(descriptions))


def refuse_credentials(name: str, uri: str | None, remedy: str) -> None:
    """Refuse a URI that holds credentials.

    Args:
        name: name of the key or option that holds the URI.
        uri: value of that key; paths and None are accepted.
        remedy: advice on where to put the credentials.

    Raises:
        ValueError: the URI holds credentials; the message doesn't repeat them.
    """
    if uri is None or "://" not in _decoded(uri):
        return
    if credentials := credentials_in(uri):
        raise ValueError(
            f"{name} must hold no credentials, for they would be kept and shown, got {', '.join(credentials)} in "
            f"{redacted(uri)!r}; leave them out, and {remedy}"
        )


def redacted(text: str) -> str:
    """Return a text with hidden credentials: those in URIs, and values of options such as `password=…`.

    All text after the name of a secret option, up to the next space, is hidden, which may be more than the secret.
    """
    text = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    parts, done = [], 0
    for start, end, _ in sorted(_secrets(text)):
        if end > done:
            parts += [text[done : max(start, done)], HIDDEN if start >= done else ""]
            done = end
    text = "".join(parts) + text[done:]
    text = _QUOTED_OPTION.sub(lambda match: f"{match[1]}'{HIDDEN}'" if _is_secret(match[1]) else match[0], text)
    return _WORD.sub(lambda match: HIDDEN if "%" in match[0] and any(_secrets(_decoded(match[0]))) else match[0], text)


def _secrets(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the start, the end and a description of each secret in a text."""
    for match in _SCHEME.finditer(text):
        rest = _value(text, match.end())
        if secret := _user_secret(match[1].lower(), rest):
            start, end, words = secret
            yield match.end() + start, match.end() + end, words
    for match in _OPTION.finditer(text):
        is_key = match[1].lower() == "key" and text[max(0, match.start() - 1)] in "?&;#"
        if (is_key or _is_secret(match[1])) and not text.startswith(HIDDEN, match.end()):
            value = _value(text, match.end())
            if value:
                yield match.end(), match.end() + len(value), f"the option {_decoded(match[1])!r}"


def _user_secret(scheme: str, rest: str) -> tuple[int, int, str] | None:
    """Return start, end and description of the secret before the host of a URI; None if there is none.

    The password ends at the last @, as in SQLAlchemy, since it may hold characters that should have been encoded.

    Args:
        scheme: scheme of the URI, in lower case.
        rest: text after the scheme; positions count from its start.
    """
    match = _USER.match(rest)
    if match is None:
        return None
    if match[2] == "@":
        secret = match[1] not in ("", "anonymous", HIDDEN) and not _OPEN_USERS.match(scheme)
        return (0, len(match[1]), "a key before the host") if secret else None
    password = rest[match.end() :].rpartition("@")[0]
    is_port = re.match(r"\d+(?:[/?#]|$)", password) and not _DATABASES.match(scheme)
    if password in ("", HIDDEN) or is_port:
        return None
    return match.end(), match.end() + len(password), "a password before the host"


def _value(text: str, start: int) -> str:
    match = _VALUE.match(text, start, start + 4000)
    return match[0] if match else ""


def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(re.sub(r"[^\w.]", "", _decoded(name).lower().replace("-", "_"))))


def _decoded(text: str) -> str:
    """Return a text with percent-encoding removed, repeatedly if it was encoded several times."""
    for _ in range(4):
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    return text
