"""The user of this process, who is named in facts about requests and changes."""

import getpass
import os


def user_name() -> str:
    """Return the name of the user; the number where the system knows no name, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError before Python 3.13
        return str(os.getuid())
