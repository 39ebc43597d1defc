"""Rules for the code of users that study.yaml holds, and its checksum."""

import hashlib
import json
import re
from collections.abc import Mapping

_PATH = re.compile(r"([^\W\d]\w*/)*[^\W\d]\w*\.py")


def is_module_path(path: str) -> bool:
    """Return whether a relative path is that of a file that `import` can find."""
    return _PATH.fullmatch(path) is not None


def check_code(code: Mapping[str, str]) -> dict[str, str]:
    """Return the code, text by path; raise ValueError, in one line, if a path is none of a module below its folder."""
    for path in code:
        if not is_module_path(path):
            raise ValueError(f"a key of code must be the relative path of a Python module, got {path!r}; correct it")
    return dict(code)


def checksum_of(code: Mapping[str, str], *others: str) -> str:
    """Return twelve hexadecimal digits that name the code, and other texts that belong to it."""
    text = json.dumps([sorted(code.items()), *others])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
