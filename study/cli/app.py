"""The command `qar` with its subcommands, and the entry point of its process.

Heavy imports are inside the commands, so that `qar --help` answers at once.
"""

import io
import os
import sys
from typing import Annotated

import typer

from study.cli.errors import WRONG_REQUEST
from study.cli.inspection import dashboard, doctor, status, track
from study.cli.parts import check, families
from study.cli.repairing import repair
from study.cli.requests import enqueue, stop
from study.cli.results import clean, evaluate, export, report, reproduce
from study.cli.running import confirm, launch, resume
from study.cli.studies import compare, list_, merge, remove, rename
from study.interruption import interruption
from study.terminal import say

app = typer.Typer(
    name="qar",
    help="Train networks with quantization-aware regularizers, and search for high accuracy at few bits per weight.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from study.records.provenance import version_of

        say(f"qar {version_of('qar')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Train networks with quantization-aware regularizers, and search for high accuracy at few bits per weight."""


COMMANDS = (
    launch,
    resume,
    enqueue,
    stop,
    confirm,
    status,
    doctor,
    dashboard,
    track,
    report,
    clean,
    repair,
    export,
    reproduce,
    evaluate,
    check,
    families,
    list_,
    compare,
    merge,
    remove,
    rename,
)
for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)


def _prepare_process() -> None:
    """Make the command independent of a notebook's Matplotlib backend, and of the terminal's encoding."""
    # Figures are written to files, and a backend that is not installed here would end the import of Matplotlib.
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an encoding without λ shows a question mark
            stream.reconfigure(errors="replace")


def main() -> None:
    """Run the command of this process, and exit with its status."""
    _prepare_process()
    interruption.install()
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        sys.exit(interruption.status)
    except Exception as error:
        # Typer's usage errors, which it would tell in several lines; everything else keeps its traceback.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
        from study.config import redacted

        message = redacted(message)
        say(message if "\n" in message else f"qar: {message} Try: qar --help", err=True)
        sys.exit(WRONG_REQUEST)
