"""Command that mends a study: repair."""

from typing import Annotated

import typer

from study.cli.errors import one_line_errors, study_at
from study.cli.options import Folder
from study.terminal import say


def repair(
    directory: Folder,
    keep_config: Annotated[
        bool,
        typer.Option("--keep-config", help="Accept study.yaml as you have edited it, and repair nothing."),
    ] = False,
) -> None:
    """Cut a damaged ledger off before its first damaged line, so that the study can be resumed.

    The damaged file is kept under another name.
    """
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands import repair as repairing

        if keep_config:
            repairing.keep_config(folder, say)
            say(f"{folder}: study.yaml is accepted as it is; continue with: qar resume {folder}")
            return
        done = repairing.repair_ledger(folder, say)
    if done is None:
        say(f"{folder}: the ledger is sound; check the other files with: qar doctor {folder}")
        return
    for line in done.lines():
        say(line)
    say(f"continue with: qar resume {folder}")
