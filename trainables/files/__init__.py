"""Files of trials: atomic writing, bounded reading, checkpoints with checksums, and the reader of tables.

Each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from trainables.files.atomic import create, replacing
    from trainables.files.checkpoint import read_checkpoint, write_checkpoint
    from trainables.files.regular import open_regular, read_regular
    from trainables.files.tables import read_table
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "create": "atomic",
            "open_regular": "regular",
            "read_checkpoint": "checkpoint",
            "read_regular": "regular",
            "read_table": "tables",
            "replacing": "atomic",
            "write_checkpoint": "checkpoint",
        },
    )


__all__ = [
    "create",
    "open_regular",
    "read_checkpoint",
    "read_regular",
    "read_table",
    "replacing",
    "write_checkpoint",
]
