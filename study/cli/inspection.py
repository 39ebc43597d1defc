"""Commands that look at a study or a cluster, or show it elsewhere: status, doctor, dashboard, track."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.errors import FAILED, one_line_errors, study_at
from study.cli.options import Address, Folder, Storage, TrustAddresses, Verbose, without_credentials
from study.interruption import interruption
from study.terminal import PlainConsole, say

if TYPE_CHECKING:
    from study.doctor.check import Check

MOST_ROWS = 20
"""Most running trials, and most points of a front, that `qar status` shows."""


def status(
    directory: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
    show_all: Annotated[
        bool,
        typer.Option("--all", help=f"Show every running trial and point of the front, not {MOST_ROWS} of each."),
    ] = False,
) -> None:
    """Show the progress, costs and front of a study."""
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands.status import status_of
        from study.run.progress.lines import front_points, front_table

        status = status_of(folder)
    if as_json:
        say(json.dumps(status.as_dict(), indent=2))
        return
    most = None if show_all else MOST_ROWS
    for line in status.lines(most):
        say(line)
    if front := status.front:
        PlainConsole().print(front_table(front, status.config.searched_fields, most))
        if most is not None and (hidden := len(front_points(front)) - most) > 0:
            say(f"… and {hidden:,} more points of the front; show all with: qar status {folder} --all")
    if status.is_resumable:
        say(f"continue with: qar resume {folder}")


def doctor(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY|DIR]",
            help="Name of a built-in study such as digits, path of a YAML file, or folder or URI of a study to verify.",
            show_default=False,
            callback=without_credentials,
        ),
    ] = None,
    address: Address = None,
    storage: Storage = "studies",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the configuration, for example trials=8."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of one node-hour, for the cost estimate.", show_default=False)
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Skip the timing of one epoch, which needs free resources for one trial.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Check a cluster, and estimate the time and cost of a study; or verify all files of a study that exists.

    The exit status is 1 if a check fails.
    """
    if study is not None and _is_study_folder(study):
        _show_checks(_verified(study))
        return
    with one_line_errors():
        from study.config import load_study
        from study.doctor.disk import disk_check
        from study.doctor.examine import examine_cluster
        from study.sources import code_folders, make_importable, with_sources

        config = None
        if study is not None:
            config = with_sources(load_study(study, set_ or ()).with_absolute_paths(), code_folders(study))
            make_importable(config.code)
        checks = examine_cluster(config, address, storage, price, quick, verbose)
        if config is not None:
            checks.append(disk_check(config))
    _show_checks(checks)


def _is_study_folder(study: str) -> bool:
    """Whether an argument of `doctor` names a study that exists; an installed study of the same name has precedence."""
    from study.config import named_studies

    return study not in named_studies() and ("://" in study or Path(study).is_dir())


def _verified(directory: str) -> "list[Check]":
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.doctor.verification import verify_study

        return verify_study(folder)


def _show_checks(checks: "list[Check]") -> None:
    """Print checks, and exit with status 1 if one has failed."""
    from study.doctor.check import CheckStatus, check_lines

    console = PlainConsole()
    for line in check_lines(checks, console.width if console.is_terminal else None):
        console.print(line)
    if any(check.status is CheckStatus.FAIL for check in checks):
        raise typer.Exit(FAILED)


def dashboard(
    directory: Folder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8080,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Serve optuna-dashboard for a study until Ctrl-C."""
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.addresses import check_addresses
        from study.commands.dashboard import serve

        check_addresses(folder.read_config(), trust_addresses, on_cluster=False, keys=("optuna_storage",))
        serve(folder, port, lambda address: say(f"{address}  (Ctrl-C ends it)"))
        if interruption.received not in (None, signal.SIGINT):  # Ctrl-C is the way to end it
            raise typer.Exit(interruption.status)


def track(
    directory: Folder,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            metavar="tensorboard|mlflow|wandb",
            help="Tracker to send the study to. May be repeated. Default: those of its configuration.",
            show_default=False,
        ),
    ] = None,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Send a study to TensorBoard, MLflow or W&B, until its driver ends.

    Results that a tracker holds already are not sent again.
    """
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands.track import track as send

        left = send(folder, logger, trust_addresses, say)
    if left:
        raise typer.Exit(FAILED)
