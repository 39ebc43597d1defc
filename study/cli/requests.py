"""Commands that ask something of a study that may run: enqueue, stop."""

from typing import Annotated

import typer

from study.cli.completion import complete_trial
from study.cli.errors import one_line_errors, study_at
from study.cli.options import Folder
from study.terminal import say


def enqueue(
    directory: Folder,
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Searched field of the trial: family, num_levels, lam, placement or a field of the space. "
            "May be repeated.",
            show_default=False,
        ),
    ],
) -> None:
    """Add a trial of your own to a study, which may be running."""
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands.requests import enqueue as ask_for

        lines = ask_for(folder, set_)
    for line in lines:
        say(line)


def stop(
    directory: Folder,
    trial: Annotated[
        str | None,
        typer.Option(
            metavar="TRIAL",
            help="Number or name of a trial to end after its present epoch, as PRUNED. Default: the whole study.",
            show_default=False,
            autocompletion=complete_trial,
        ),
    ] = None,
) -> None:
    """End a running study as Ctrl-C does, or one of its trials, from anywhere."""
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands.requests import stop_study, stop_trial

        if trial is None:
            stop_study(folder, say)
            say(f"stopped; continue with: qar resume {folder}")
        else:
            stopped = stop_trial(folder, trial)
            say(f"trial {stopped.number} ends after its present epoch, as PRUNED")
