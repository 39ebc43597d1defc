"""The SQLite file that holds Optuna's study: fast writing, and a check of its pages."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def is_sound(file: Path) -> bool:
    """Whether a file is a database without damaged pages; a missing file counts as sound."""
    if not file.exists():
        return True
    try:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.Error:
        return False


class Unsynced(sqlite3.Connection):
    """Connection that doesn't wait for the disk, which took two thirds of a sync. A damaged mirror is rebuilt.

    Source: https://www.sqlite.org/pragma.html#pragma_synchronous
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Open the connection with the arguments of `sqlite3.connect`."""
        super().__init__(*arguments, **options)
        self.execute("PRAGMA synchronous=OFF")
