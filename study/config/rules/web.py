"""Addresses on the web, as `notify` holds one."""

import re
from urllib.parse import urlsplit

_SCHEMES = ("http", "https")
_CHARACTERS = re.compile(r"[!-~]+")
"""Characters that a request can hold: no spaces, line breaks or letters beyond ASCII."""


def is_web_address(url: str) -> bool:
    """Return whether a text is an address with a host to which a request can be sent."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or brackets that don't close
        return False
    return is_whole and _CHARACTERS.fullmatch(url) is not None
