"""Commands that run trials: launch, resume, confirm."""

from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.errors import FAILED, fail, one_line_errors
from study.cli.options import Address, Folder, Storage, Trials, TrustAddresses, Verbose
from study.interruption import interruption
from study.terminal import say

if TYPE_CHECKING:
    from study.run.outcome import StudyOutcome


def launch(
    study: Annotated[str, typer.Argument(help="Name of a built-in study such as digits, or path of a YAML file.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the new study. Default: the name in its configuration.")
    ] = None,
    storage: Storage = "studies",
    address: Address = None,
    trials: Trials = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a key of the configuration, for example trial.finetune_epochs=3. Can be repeated.",
        ),
    ] = None,
    resume_if_exists: Annotated[
        bool, typer.Option("--resume-if-exists", help="Resume the study if one of this name exists.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Run a new study, then write its front and a summary."""
    with one_line_errors():
        from study.run.launch import launch as run_launch
        from study.run.options import RunOptions

        overrides = [*(set_ or []), *([f"trials={trials}"] if trials is not None else [])]
        outcome = run_launch(
            study,
            storage,
            name=name,
            overrides=overrides,
            resume_if_exists=resume_if_exists,
            options=RunOptions(address=address, verbose=verbose),
        )
    _finish(outcome)


def resume(
    directory: Folder,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Extend a finished study by this number of trials.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a key under space, early_stopping, stop, resources, loggers or notify permanently, "
            "for example stop.hours=12.",
        ),
    ] = None,
    address: Address = None,
    trust_addresses: TrustAddresses = False,
    verbose: Verbose = False,
) -> None:
    """Continue an interrupted study, or extend a finished one.

    Finished trials are not trained again.
    """
    with one_line_errors():
        from study.run.launch import resume as run_resume
        from study.run.options import RunOptions

        options = RunOptions(address=address, verbose=verbose, trust_addresses=trust_addresses)
        outcome = run_resume(directory, trials, options, set_ or ())
    _finish(outcome)


def confirm(
    directory: Folder,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds for each configuration.")] = 5,
    margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="Also confirm trials within this accuracy of the front, for example 0.01."),
    ] = 0.0,
    levels: Annotated[
        str | None,
        typer.Option(
            help="Compare all families at these numbers of levels (K), for example 2,4,8. Default: those of the front.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    trust_addresses: TrustAddresses = False,
    verbose: Verbose = False,
) -> None:
    """Train the front again with fresh seeds, and evaluate it on the test split.

    To continue an interrupted confirmation, run the same command again.
    """
    with one_line_errors():
        from study.commands.confirmation import confirm as run_confirm
        from study.run.options import RunOptions

        options = RunOptions(address=address, verbose=verbose, trust_addresses=trust_addresses)
        outcome = run_confirm(directory, seeds, margin, _levels(levels), options)
    _finish(outcome)


def _levels(text: str | None) -> set[int] | None:
    if text is None:
        return None
    try:
        return {int(part) for part in text.split(",")}
    except ValueError:
        raise ValueError(f"--levels must be whole numbers with commas between them, got {text!r}; try 2,4,8") from None


def _finish(outcome: "StudyOutcome") -> None:
    """Print what a run has left, and exit with its status."""
    if outcome.interrupted:
        if interruption.received is not None:
            from study.cluster.watchdog import end_local_processes

            # An orderly end would wait for Ray, which the signal may have reached too, and end with Ray's status.
            interruption.before_end = end_local_processes
            interruption.end_at_once()
        interruption.say(outcome.next_steps)
        raise typer.Exit(outcome.exit_status)
    if outcome.report.text:
        say(outcome.report.text)
    for line in outcome.report.warnings:
        say(f"qar: warning: {line}", err=True)
    if outcome.failure is not None:
        fail(outcome.failure, FAILED)
    say(outcome.next_steps)
