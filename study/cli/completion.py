"""Names that a shell completes: studies below the working folder, and trials of the study that was typed.

A shell waits for the answer, so only names of files and the text of the ledger are read; what can't be read has none.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import typer

_TRIAL_ID = re.compile(r'"fact": "asked".*?"trial_id": "([^"\\]+)"')


def complete_study(incomplete: str) -> list[str]:
    """Return the paths of studies that begin with a text, also those in folders of the working folder."""
    if "://" in incomplete:
        return []
    from study.storage.study_storage import STUDY_YAML

    head, slash, tail = incomplete.rpartition("/")
    try:
        return sorted(_studies_in(Path(head or slash or "."), head + slash, tail, STUDY_YAML))
    except OSError:
        return []


def _studies_in(folder: Path, prefix: str, beginning: str, file: str) -> Iterator[str]:
    for path in folder.iterdir():
        if not path.name.startswith(beginning) or path.name.startswith(".") or not path.is_dir():
            continue
        if (path / file).is_file():
            yield f"{prefix}{path.name}"
        else:
            yield from (f"{prefix}{path.name}/{inner.parent.name}" for inner in path.glob(f"*/{file}"))


def complete_trial(context: typer.Context, incomplete: str) -> list[str]:
    """Return the numbers and names of trials that begin with a text."""
    from study.storage.study_storage import LEDGER
    from trainables.errors import IrregularFileError
    from trainables.files.regular import open_regular

    # While the option lacks its value, the arguments before it are not assigned yet.
    directory = context.params.get("directory") or next(iter(context.args), "")
    try:
        with open_regular(Path(directory, LEDGER)) as ledger:
            text = ledger.read().decode(errors="replace")
    except (OSError, IrregularFileError):
        return []
    names = _TRIAL_ID.findall(text)
    return [name for name in (*map(str, range(len(names))), *names) if name.startswith(incomplete)]
