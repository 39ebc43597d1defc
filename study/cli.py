"""`qar`: the command. Exit status 0 when done, 1 when the work failed, 2 when the request was wrong.

Heavy imports are inside the commands, so that `qar --help` answers at once.
"""

import io
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from study.cluster.start_failure import NoRayError
from study.errors import StudyInterrupted, remedy
from study.interruption import interruption
from study.terminal import PlainConsole, one_line, say
from trainables.errors import DamagedFileError

if TYPE_CHECKING:
    from study.config import StudyConfig
    from study.doctor.check import Check
    from study.storage.folder import StudyFolder

app = typer.Typer(
    name="qar",
    help="Search for neural networks with high accuracy at few bits per weight, with quantization-aware regularizers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FAILED = 1
WRONG_REQUEST = 2


def _without_credentials(parameter: typer.CallbackParam, value: Any) -> Any:
    """Refuse an address that holds credentials, for provenance and messages would keep it."""
    if value is not None:
        from study.config import refuse_credentials

        name = parameter.opts[0] if parameter.param_type_name == "option" else str(parameter.metavar)
        with _one_line_errors():
            for address in value if isinstance(value, list | tuple) else [value]:
                remedy = "put them where the tools of that place look for them, as into ~/.aws/credentials"
                refuse_credentials(name, address, remedy)
    return value


Folder = Annotated[
    str,
    typer.Argument(
        metavar="DIR", help="Folder or URI of the study.", show_default=False, callback=_without_credentials
    ),
]
Storage = Annotated[
    str,
    typer.Option(
        help="Folder that holds the studies: a path, s3://BUCKET/FOLDER or gs://….", callback=_without_credentials
    ),
]
Trials = Annotated[int | None, typer.Option(help="Number of trials, anchors included.", show_default=False)]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of a running Ray cluster. Default: start Ray on this machine.", callback=_without_credentials
    ),
]
TrustAddresses = Annotated[
    bool,
    typer.Option(
        "--trust-addresses",
        help="Allow downloads from, and connections to, the addresses that the study or file names.",
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        help="Folder that holds the data sets. Default: the folder that the trial used.", callback=_without_credentials
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|npz:PATH",
        help="Data set. Default: the one that the trial used.",
        show_default=False,
        callback=_without_credentials,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Also show the messages of Ray and Optuna.")]


def _fail(message: str, status: int) -> NoReturn:
    from study.config import redacted

    say(f"qar: {one_line(redacted(message))}", err=True)
    raise typer.Exit(status)


@contextmanager
def _one_line_errors(*folders: "StudyFolder") -> Iterator[None]:
    """Report a wrong request or a damaged file in one line on stderr.

    Args:
        folders: studies whose URIs replace the paths of their working copies in the message.
    """
    try:
        yield
    except (ValueError, DamagedFileError, StudyInterrupted, NoRayError) as error:
        _fail(_as_told(str(error), folders), WRONG_REQUEST if isinstance(error, ValueError) else FAILED)
    except KeyboardInterrupt:
        interruption.say("interrupted")
        raise typer.Exit(interruption.status) from None
    except OSError as error:
        _fail(_as_told(os_error_line(error), folders), FAILED)


def os_error_line(error: OSError) -> str:
    """Return what the system refused, and the remedy for that."""
    where = f"{error.filename} can't be used: " if error.filename else ""
    reason = error.strerror or " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        action = "put it there, or correct the path"
    elif isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        action = "move what is there away, or correct the path"
    elif (
        isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or type(error).__module__ == "urllib.error"
    ):
        action = "check the network and the address"
    else:
        action = remedy(error.errno)
    return f"{where}{reason}; {action}, then try again"


def _study_at(address: str) -> "StudyFolder":
    """Return the study at a path or URI."""
    from study.storage.folder import StudyFolder

    with _one_line_errors():
        return StudyFolder.at(address)


def _as_told(text: str, folders: "Iterable[StudyFolder]") -> str:
    """Return a text with the URIs of studies in place of the paths of their working copies."""
    for folder in folders:
        text = folder.storage.as_shown(text)
    return text


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
    """Search for neural networks with high accuracy at few bits per weight, with quantization-aware regularizers."""


@app.command()
def launch(
    study: Annotated[str, typer.Argument(help="Name of an installed study, or path of a YAML file.")],
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
            help="Override a key of the configuration, for example trial.finetune_epochs=3.",
        ),
    ] = None,
    resume_if_exists: Annotated[
        bool, typer.Option("--resume-if-exists", help="Resume the study if one of this name exists.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Run a new study, then write its front and a summary."""
    from study.config import changes_by, load_study, parse_study
    from study.storage.object_store import below, is_uri

    with _one_line_errors():
        overrides = list(set_ or []) + ([f"trials={trials}"] if trials is not None else [])
        config = load_study(study, overrides)
        if name is not None:
            config = parse_study(config.model_dump() | {"name": name}, "--name")
    folder = _study_at(below(storage, config.name) if is_uri(storage) else f"{storage}/{config.name}")
    with _one_line_errors(folder):
        from study.addresses import check_addresses, remember

        remember(config.with_absolute_paths())
        exists = resume_if_exists and folder.exists()
        if exists:
            config = folder.read_config()
            check_addresses(config, trusted=False, on_cluster=address is not None)
            if changes := changes_by(overrides, config):
                raise ValueError(
                    f"--trials and --set must agree with a study that exists, got {changes}; leave them out, or "
                    f"choose another --name than {config.name!r}"
                )
        else:
            folder.check_free()
            config = config.with_absolute_paths()
            _check_trials(config)
            _check_other_studies(folder, config)
        _check_cluster(folder, config, address, verbose)
        if not exists:
            from study.run.disk import forecast

            _create(folder, config, address, verbose)
            say(forecast(config))
    _run(folder, config, address, verbose)


@app.command()
def resume(
    directory: Folder,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Extend a finished study by this number of trials.", show_default=False)
    ] = None,
    address: Address = None,
    trust_addresses: TrustAddresses = False,
    verbose: Verbose = False,
) -> None:
    """Continue an interrupted study, or extend a finished one.

    Finished trials are not trained again.
    """
    folder = _study_at(directory)
    with _one_line_errors(folder):
        from study.addresses import check_addresses

        config = folder.read_config()
        check_addresses(config, trust_addresses, on_cluster=address is not None)
        if trials is not None:
            config = _extended(folder, config, trials)
        _check_cluster(folder, config, address, verbose)
        if trials is not None:
            from study.cluster.connect import announcement, connect

            with PlainConsole().status(announcement(address)):
                connect(config, address, verbose)  # before anything is written: its trials may fit nowhere
            folder.replace_config(config)
        from study.commands.confirm import study_confirmed_by

        report_on = study_confirmed_by(folder, config)
    _run(folder, config, address, verbose, report_on)


@app.command()
def confirm(
    directory: Folder,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds for each configuration.")] = 5,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Also confirm trials within this accuracy of the front.")
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
    """Train the front again with fresh seeds, for the test split.

    Continues a confirmation that was interrupted.
    """
    folder = _study_at(directory)
    with _one_line_errors(folder):
        from study.addresses import check_addresses
        from study.commands.confirm import confirmation_of, left_wanting

        confirmation, config = confirmation_of(folder, seeds, margin, _levels(levels))
        check_addresses(config, trust_addresses, on_cluster=address is not None)
        if not confirmation.exists():
            _check_other_studies(confirmation, config)
        _check_cluster(confirmation, config, address, verbose)
        if not confirmation.exists():
            confirmation.create(config)
        elif confirmation.read_config() != config:
            if confirmation.is_driven():
                raise ValueError(
                    f"{confirmation} is being run by another process, so it can't be given more seeds now; watch it "
                    f"with: qar status {confirmation}"
                )
            confirmation.replace_config(config)
        for line in left_wanting(folder.read_history(), folder.read_config(), config.plan):
            say(line)
    _run(confirmation, config, address, verbose, report_on=folder)


def _levels(text: str | None) -> set[int] | None:
    if text is None:
        return None
    try:
        return {int(part) for part in text.split(",")}
    except ValueError:
        raise ValueError(f"--levels must be whole numbers with commas between them, got {text!r}; try 2,4,8") from None


def _extended(folder: "StudyFolder", config: "StudyConfig", more: int) -> "StudyConfig":
    """Return the configuration of a finished study, with more trials."""
    from study.run.tuner import FINISHED, liveliness

    if config.plan:
        raise ValueError(
            f"--trials extends a search, got {more} for {folder}, which runs a plan; more seeds of a confirmation "
            "are trained with: qar confirm STUDY --seeds N"
        )
    state = liveliness(folder, folder.read_history(), config.trials)
    if state != FINISHED:
        raise ValueError(
            f"--trials extends a study that has finished, got {more} for {folder} ({state}); "
            f"finish it first: qar resume {folder}"
        )
    return config.model_copy(update={"trials": config.trials + more})


def _check_trials(config: "StudyConfig") -> None:
    """Raise ValueError, before anything is written, if the network can't train on the data set; print warnings."""
    from trainables.preflight import preflight

    trial = config.trial_config({"family": "none", "num_levels": None, "init": "scratch"})
    for line in preflight(trial, config.most_levels):
        say(f"warning: {line}")


def _check_other_studies(folder: "StudyFolder", config: "StudyConfig") -> None:
    """Raise ValueError, before anything is written, if a study to begin from can't be read, or a name is taken."""
    from study.records.optuna_mirror import OptunaMirror
    from study.search.warm_start import check_warm_start

    check_warm_start(config)
    OptunaMirror(folder, config).check_free()


def _check_cluster(folder: "StudyFolder", config: "StudyConfig", address: str | None, verbose: bool) -> None:
    """Run the doctor's quick checks for a study on a cluster; print them if one of them fails."""
    from study.run.tuner import FINISHED, RUNNING, liveliness

    if address is None or liveliness(folder, folder.read_history(), config.trials) in (FINISHED, RUNNING):
        return
    from study.doctor.check import FAIL
    from study.doctor.examine import examine_cluster

    found = examine_cluster(config, address, folder.storage.parent, price=None, quick=True, verbose=verbose)
    if any(check.status == FAIL for check in found):
        _print_checks(found)
        raise ValueError("the cluster can't run this study; mend what fails above, then try again")


def _create(folder: "StudyFolder", config: "StudyConfig", address: str | None, verbose: bool) -> None:
    """Create the study's folder, and remove it again if its trials fit on no node."""
    from study.cluster.connect import announcement, connect

    made = folder.create(config)
    try:
        with PlainConsole().status(announcement(address)):
            connect(config, address, verbose)
    except (ValueError, NoRayError, KeyboardInterrupt):
        folder.discard(made)
        raise


def _run(
    folder: "StudyFolder",
    config: "StudyConfig",
    address: str | None,
    verbose: bool,
    report_on: "StudyFolder | None" = None,
) -> None:
    """Run the rest of a study, and report on it, or on the study that it confirms."""
    from study.run.tuner import INTERRUPTED as WAS_INTERRUPTED
    from study.run.tuner import run_study

    reported = report_on or folder
    interruption.last_words = f"interrupted; continue with: qar resume {folder}"
    with _one_line_errors(folder, reported):
        try:
            outcome = run_study(folder, config, PlainConsole(), address=address, verbose=verbose)
            if outcome != WAS_INTERRUPTED:
                _report_briefly(reported)
        except KeyboardInterrupt:
            outcome = WAS_INTERRUPTED
    if outcome == WAS_INTERRUPTED:
        if interruption.received is not None:
            from study.cluster.watchdog import end_local_processes

            # An orderly end would wait for Ray, which the signal may have reached too, and end with Ray's status.
            interruption.before_end = end_local_processes
            interruption.end_at_once()
        interruption.say(interruption.last_words)
        raise typer.Exit(interruption.status)
    if failure := _common_failure(folder):
        _fail(failure, FAILED)
    say(_next_steps(folder, config, report_on))


def _next_steps(folder: "StudyFolder", config: "StudyConfig", report_on: "StudyFolder | None") -> str:
    """Return the commands that follow a finished run."""
    report = f"qar report {report_on or folder}"
    steps = report if config.plan else f"qar confirm {folder} --seeds 5; {report}"
    return f"next: {steps}"


def _common_failure(folder: "StudyFolder") -> str | None:
    """Return the line that says so if every trial of a study has failed."""
    from study.ledger.ledger import read_history
    from trainables.result import FAIL

    trials = read_history(folder.ledger).trials.values()
    if any(trial.state != FAIL for trial in trials) or not trials:
        return None
    reasons = Counter(trial.failure or "unknown" for trial in trials)
    ((reason, count),) = reasons.most_common(1)
    often = "" if count == len(trials) else f" in {count} of them"
    return f"every trial failed,{often} because: {reason}; see all reasons with: qar status {folder}"


@app.command()
def status(
    directory: Folder, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False
) -> None:
    """Show the progress, costs and front of a study."""
    from study.durations import duration
    from study.ledger.costs import costs_of
    from study.run.progress import cost_lines, failure_lines, front_so_far, front_table, seconds_left, states_line
    from study.run.tuner import FINISHED, RUNNING, liveliness

    folder = _study_at(directory)
    with _one_line_errors(folder):
        config = folder.read_config()
        history = folder.read_history()
        state = liveliness(folder, history, config.trials)
    front = front_so_far(history)
    costs = costs_of(history, config.trial["regularize_epochs"], config.epochs)
    left = seconds_left(history, config.trials)
    if as_json:
        points = [
            {"trial_id": trial.trial_id, **{name: trial.last[name] for name in ("val_accuracy", "bits_per_weight")}}
            for trial in front
        ]
        counts = {name: history.count(name) for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")}
        counts["to_resume"] = 0
        if state != RUNNING:
            counts["RUNNING"], counts["to_resume"] = 0, counts["RUNNING"]
        summary = {"name": config.name, "state": state, "trials": config.trials, **counts, "front": points}
        summary |= {"wall_seconds": round(history.seconds, 1), "train_seconds": asdict(costs)}
        summary["seconds_left"] = None if left is None else round(left, 1)
        say(json.dumps(summary, indent=2))
        return
    counted = states_line(history, config.trials, is_driven=state == RUNNING)
    rest = f", about {duration(left)} to go" if left else ""
    say(f"{config.name}: {state}; {counted}; {duration(history.seconds)} so far{rest}")
    for trial in history.unfinished:
        say(f"trial {trial.number}: {len(trial.epochs)} of {config.epochs} epochs trained")
    for line in failure_lines(history):
        say(line)
    for line in cost_lines(costs):
        say(line)
    if front:
        PlainConsole().print(front_table(front))
    if state not in (RUNNING, FINISHED):
        say(f"continue with: qar resume {folder}")


@app.command()
def doctor(
    study: Annotated[
        str | None, typer.Argument(help="Name of an installed study, or path of a YAML file.", show_default=False)
    ] = None,
    address: Address = None,
    storage: Storage = "studies",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the configuration, as for launch."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of one node-hour, for the cost estimate.", show_default=False)
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Skip the timing of one epoch, which needs a free place for a trial.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Check a cluster, and estimate the time and cost of a study.

    Exit status 1 if a check fails.
    """
    with _one_line_errors():
        from study.config import load_study
        from study.doctor.examine import examine_cluster

        config = load_study(study, set_).with_absolute_paths() if study is not None else None
        found = examine_cluster(config, address, storage, price, quick, verbose)
        if config is not None:
            found.append(_disk_check(config))
    if _print_checks(found):
        raise typer.Exit(FAILED)


def _disk_check(config: "StudyConfig") -> "Check":
    from study.doctor.check import PASS, WARN, Check
    from study.run.disk import forecast

    try:
        return Check("disk", PASS, forecast(config))
    except (ValueError, OSError) as error:  # the data set may lie on the nodes alone
        return Check("disk", WARN, f"checkpoints can't be forecast here: {error}")


def _print_checks(found: "list[Check]") -> bool:
    """Print the checks of the doctor; return whether one has failed."""
    from study.doctor.check import FAIL, check_lines

    console = PlainConsole()
    for line in check_lines(found, console.width if console.is_terminal else None):
        console.print(line)
    return any(check.status == FAIL for check in found)


@app.command()
def dashboard(
    directory: Folder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8080,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Serve optuna-dashboard for a study until Ctrl-C."""
    folder = _study_at(directory)
    with _one_line_errors(folder):
        from study.addresses import check_addresses
        from study.commands.dashboard import serve

        check_addresses(folder.read_config(), trust_addresses, on_cluster=False, keys=("optuna_storage",))
        serve(folder, port, lambda address: say(f"{address}  (Ctrl-C ends it)"))
        if interruption.received not in (None, signal.SIGINT):  # Ctrl-C is the way to end it
            raise typer.Exit(interruption.status)


@app.command()
def report(
    directories: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...",
            help="Folders or URIs of studies. Several studies are compared.",
            callback=_without_credentials,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report. Default: DIR/report for one study, ./report for several.", show_default=False
        ),
    ] = None,
    style: Annotated[
        Path | None,
        typer.Option(
            help="Matplotlib style file (.mplstyle) whose keys override the built-in style.", show_default=False
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            help="File formats of the figures, for example pdf,png. Default: pdf,pgf,svg,png.", show_default=False
        ),
    ] = None,
) -> None:
    """Write a report: figures, tables and an HTML page."""
    folders = [_study_at(directory) for directory in directories]
    with _one_line_errors(*folders):
        from analysis.report.report import Format, write_comparison, write_report
        from study.commands.importance import hyperparameter_importances

        def named(path: Path) -> str:
            return next(
                (folder.storage.shown(path) for folder in folders if path.is_relative_to(folder.path)), str(path)
            )

        format = Format(style=style, suffixes=tuple(formats.split(",")) if formats else None, named=named)
        for folder in folders:
            folder.check_no_links()
            folder.storage.fetch_results()
        paths = [folder.path for folder in folders]
        if len(folders) == 1:
            written = write_report(
                paths[0], out or paths[0] / "report", format=format, importances=hyperparameter_importances
            )
            folders[0].publish()
        else:
            written = write_comparison(
                paths, out or Path("report"), format=format, importances=hyperparameter_importances
            )
    say(_as_told(written.text, folders))
    for line in written.failures:
        say(f"qar: {_as_told(line, folders)}", err=True)
    if written.failures:
        raise typer.Exit(FAILED)


def _report_briefly(folder: "StudyFolder") -> None:
    """Write and print what a run leaves: the front and the summary.

    The study has been trained: whatever goes wrong with its report is a warning.
    """
    try:
        from analysis.report.report import write_brief_report

        folder.check_no_links()
        folder.storage.fetch_results()
        written = write_brief_report(folder.path, folder.path / "report")
        folder.publish()
    except Exception as error:
        reason = folder.storage.as_shown(" ".join(str(error).split()) or type(error).__name__)
        say(f"qar: warning: no report was written: {reason}; try again with: qar report {folder}", err=True)
        return
    say(folder.storage.as_shown(written.text))
    for line in written.failures:
        say(f"qar: warning: {folder.storage.as_shown(line)}", err=True)


@app.command()
def clean(
    directory: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without a confirmation prompt.")] = False,
) -> None:
    """Remove the checkpoints that a finished study no longer needs.

    Keeps the newest checkpoint of each trial on the front.
    """
    folder = _study_at(directory)
    with _one_line_errors(folder):
        from study.run.clean import check_finished, remove_checkpoints, superfluous_checkpoints
        from study.sizes import size

        superfluous = superfluous_checkpoints(folder, check_finished(folder))
        amount = f"{len(superfluous.paths)} checkpoints, {size(superfluous.num_bytes)}"
        exported = f"trials {', '.join(map(str, superfluous.kept))}" if superfluous.kept else "no trial"
        say(f"no longer needed: {amount}")
        say(f"without them, qar export works for {exported}; all other commands work as before")
        if dry_run or not superfluous.paths:
            return
        if not yes and not typer.confirm("remove them?"):
            raise typer.Exit(FAILED)
        remove_checkpoints(folder, superfluous)
    say(f"removed {amount}")


@app.command()
def export(
    directory: Folder,
    trial: Annotated[str, typer.Option(help="Number or trial_id of the trial.", show_default=False)],
    out: Annotated[Path, typer.Option(help="File to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Write the quantized network of a trial to a compressed file."""
    folder = _study_at(directory)
    with _one_line_errors(folder):
        from study.commands.export import export_trial

        exported, artifact = export_trial(folder, trial, out, force, fetch=trust_addresses)
    epoch, accuracy = artifact.provenance["epoch"], artifact.provenance["val_accuracy"]
    say(f"{out}: trial {exported.number} ({exported.trial_id}), {exported.state}")
    if epoch < artifact.config.epochs:
        say(f"not trained to its end: {exported.state} after epoch {epoch} of {artifact.config.epochs}")
    say(f"payload_bytes {artifact.bits.payload_bytes}")
    say(f"bits_per_weight {artifact.bits.bits_per_weight}")
    say(f"val_accuracy {accuracy} (recorded)")


@app.command()
def reproduce(
    directory: Folder,
    trial: Annotated[str, typer.Option(help="Number or trial_id of the trial.", show_default=False)],
    data_dir: DataDir = None,
    dataset: Dataset = None,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Train a trial again, and compare it with the record; no Ray.

    Exit status 1 if a number differs.
    """
    folder = _study_at(directory)
    with _one_line_errors(folder):
        from study.commands.reproduce import comparison_table, conclusions
        from study.commands.reproduce import reproduce as run_again

        console = PlainConsole()
        with console.status("training") as status:
            done = run_again(
                folder,
                trial,
                data_dir,
                lambda epoch, epochs: status.update(f"training epoch {epoch} of {epochs}"),
                dataset=dataset,
                trust_addresses=trust_addresses,
            )
    console.print(comparison_table(done))
    for line in conclusions(done):
        say(line)
    if done.differing:
        raise typer.Exit(FAILED)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File written by qar export.", show_default=False)],
    split: Annotated[str, typer.Option(help="Split to evaluate on: validation or test.")] = "validation",
    data_dir: DataDir = None,
    dataset: Dataset = None,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Show the accuracy and size of an exported network, without Ray."""
    with _one_line_errors():
        import torch

        from trainables.codebooks.artifact import read_artifact
        from trainables.evaluation import evaluate as accuracy_of

        artifact = read_artifact(file)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        accuracy = accuracy_of(artifact, split, data_dir, device, dataset=dataset, trust_addresses=trust_addresses)
    say(f"{'val' if split == 'validation' else split}_accuracy {accuracy}")
    if split == "validation":
        say(f"recorded_val_accuracy {artifact.provenance.get('val_accuracy')}")
    for measure in ("payload_bytes", "bits_per_weight", "conv_bits_per_weight", "linear_bits_per_weight"):
        say(f"{measure} {getattr(artifact.bits, measure)}")


@app.command()
def families() -> None:
    """List the families of regularizers, and what is from the paper."""
    from trainables.families import FAMILIES

    for name, family in FAMILIES.items():
        say(f"{name}: {family.title}")
        for label, text in (
            ("penalty of a weight", family.penalty),
            ("representatives", family.representatives),
            ("the paper's", family.paper),
            ("ours", family.ours),
        ):
            say(f"    {label:20} {text}")
    say("paper: Malchiodi, Ferraretto, Frasca, arXiv 2602.03614")


def _prepare_process() -> None:
    """Make the command independent of a notebook's Matplotlib backend, and of the terminal's encoding."""
    # Figures are written to files, and a backend that is not installed here would end the import of Matplotlib.
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an encoding without λ shows a question mark
            stream.reconfigure(errors="replace")


def main() -> None:
    """The console command."""
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


if __name__ == "__main__":
    main()
