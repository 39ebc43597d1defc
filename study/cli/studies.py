"""Commands on whole studies: list, compare, merge, remove, rename."""

import json
from typing import Annotated

import typer

from study.cli.completion import complete_study
from study.cli.errors import one_line_errors, study_at
from study.cli.options import Folder, without_credentials
from study.terminal import PlainConsole, say

WIDEST_LINE = 240
"""Columns for a line of the list: a narrow terminal wraps a line, and no name is cut off."""


def list_(
    storage: Annotated[
        str,
        typer.Argument(help="Folder that holds the studies: a path or a URI.", callback=without_credentials),
    ] = "studies",
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the studies in a folder or bucket, with their states, fronts and sizes."""
    with one_line_errors():
        from study.commands.studies import list_studies

        summaries = list_studies(storage)
    if as_json:
        say(json.dumps([summary.as_dict() for summary in summaries], indent=2))
        return
    from rich.table import Table

    from study.durations import ago
    from study.sizes import size

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True, min_width=max((len(summary.name) for summary in summaries), default=0))
    table.add_column("state")
    for header in ("trials", "accuracy", "bits", "size", "last fact"):
        table.add_column(header, justify="right")
    for summary in summaries:
        table.add_row(
            summary.name,
            summary.state or "unreadable",
            f"{summary.ended} of {summary.trials}" if summary.state else "–",
            "–" if summary.best is None else f"{summary.best:.4f}",
            "–" if summary.least_bits is None else f"{summary.least_bits:.2f}",
            "–" if summary.num_bytes is None else size(summary.num_bytes),
            "–" if summary.age is None else ago(summary.age),
        )
    if summaries:
        PlainConsole(width=WIDEST_LINE).print(table)
    else:
        say(f"{storage} holds no study; run one with: qar launch digits")
    for summary in summaries:
        if summary.problem:
            say(f"{summary.name}: {summary.problem}", err=True)


def compare(
    directories: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...",
            help="Folders or URIs of at least two studies.",
            callback=without_credentials,
            autocompletion=complete_study,
        ),
    ],
) -> None:
    """Show in which settings studies differ, and their results side by side.

    For figures and statistics: qar report DIR DIR.
    """
    folders = [study_at(directory) for directory in directories]
    with one_line_errors(*folders):
        from study.commands.compare import read_studies, results_table, settings_table

        studies = read_studies(folders)
        settings, results = settings_table(studies), results_table(studies)
    console = PlainConsole(width=WIDEST_LINE)
    if settings.row_count:
        console.print(settings)
    else:
        say("the studies have the same settings")
    say("")
    console.print(results)


def merge(
    directories: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...",
            help="Folders of at least two studies, which don't run.",
            callback=without_credentials,
            autocompletion=complete_study,
        ),
    ],
    into: Annotated[
        str,
        typer.Option(metavar="DIR", help="Folder of the new study.", show_default=False, callback=without_credentials),
    ],
) -> None:
    """Write a study with the trials of several that have the same trial settings."""
    folders, target = [study_at(directory) for directory in directories], study_at(into)
    with one_line_errors(*folders, target):
        from study.commands.merge import merge_studies

        merged = merge_studies(folders, target, say)
    say(f"{target} has {merged.trials} trials")
    if merged.repeated:
        say(f"left out: {merged.repeated} trials whose configuration and seed an earlier study has run too")
    if merged.priors:
        say(f"left out: {merged.priors} results of other studies (warm_start)")
    extend = "" if target.read_config().plan else f"; qar resume {target} --trials 32"
    say(f"next: qar report {target}{extend}")


def remove(
    directory: Folder,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without a confirmation prompt.")] = False,
) -> None:
    """Remove a study with all its results, its confirmation and its checkpoints."""
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands.studies import remove_study

        if not yes and folder.exists():
            typer.confirm(f"remove {folder} with all its results?", abort=True)
        remove_study(folder, say)
    say(f"removed {folder}")


def rename(
    directory: Folder, name: Annotated[str, typer.Argument(metavar="NAME", help="New name of the study.")]
) -> None:
    """Rename a study and its folder; its trials keep their names."""
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands.studies import rename_study

        renamed = rename_study(folder, name, say)
    say(f"renamed to {renamed}")
