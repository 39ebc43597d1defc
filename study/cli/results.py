"""Commands on the results of a study: report, clean, export, reproduce, evaluate, families."""

from pathlib import Path
from typing import Annotated

import typer

from study.cli.completion import complete_study, complete_trial
from study.cli.errors import FAILED, as_shown, one_line_errors, study_at
from study.cli.options import DataDir, Dataset, Folder, TrustAddresses, without_credentials
from study.terminal import PlainConsole, say


def report(
    directories: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...",
            help="Folders or URIs of studies. Several studies are compared.",
            callback=without_credentials,
            autocompletion=complete_study,
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
    cost: Annotated[
        str, typer.Option(help="Cost in figures and tables: bits (per weight), size (MB), ratio, bops or levels (K).")
    ] = "bits",
    loss: Annotated[
        bool, typer.Option("--loss", help="Show accuracy as its difference from the float baseline, in points.")
    ] = False,
    families: Annotated[
        str | None, typer.Option(help="Show only these families, for example RM,RE.", show_default=False)
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Show only these values of K, for example 2,4,8.", show_default=False)
    ] = None,
    phases: Annotated[
        str | None,
        typer.Option(
            help="Show only the accuracy after this phase: regularize (before tuning) or finetune.", show_default=False
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="YAML file with labels and order of families, titles, and axes.", show_default=False),
    ] = None,
    literature: Annotated[
        Path | None, typer.Option(help="CSV file with points from the literature to draw.", show_default=False)
    ] = None,
) -> None:
    """Write a report: figures, tables and an HTML page."""
    folders = [study_at(directory) for directory in directories]
    with one_line_errors(*folders):
        from study.commands.report import report as write_report

        written = write_report(
            folders,
            out,
            style=style,
            formats=None if formats is None else formats.split(","),
            cost=cost,
            loss=loss,
            families=families,
            levels=levels,
            phases=phases,
            names=names,
            literature=literature,
        )
    say(as_shown(written.text, folders))
    for line in written.failures:
        say(f"qar: {as_shown(line, folders)}", err=True)
    if written.failures:
        raise typer.Exit(FAILED)


def clean(
    directory: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """Remove the checkpoints that a finished study no longer needs.

    Keeps the newest checkpoint of each trial on the front.
    """
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.run.clean import check_finished, remove_checkpoints, superfluous_checkpoints
        from study.sizes import size

        superfluous = superfluous_checkpoints(folder, check_finished(folder))
        amount = f"{len(superfluous.names)} checkpoints, {size(superfluous.num_bytes)}"
        exported = f"trials {', '.join(map(str, superfluous.kept))}" if superfluous.kept else "no trial"
        say(f"no longer needed: {amount}")
        say(f"without them, qar export works for {exported}; all other commands work as before")
        if dry_run or not superfluous.names:
            return
        if not yes and not typer.confirm("remove them?"):
            raise typer.Exit(FAILED)
        remove_checkpoints(folder, superfluous, say)
    say(f"removed {amount}")


def export(
    directory: Folder,
    trial: Annotated[
        str, typer.Option(help="Number or trial_id of the trial.", show_default=False, autocompletion=complete_trial)
    ],
    out: Annotated[Path, typer.Option(help="File to write.", show_default=False)],
    format: Annotated[
        str,
        typer.Option(
            help="qar: compressed, for qar evaluate. safetensors: dense state_dict. torch: ExportedProgram of "
            "torch.export. onnx: graph with codebooks and levels, for onnxruntime."
        ),
    ] = "qar",
    coding: Annotated[
        str | None,
        typer.Option(
            help="Coding of the levels in format qar: compact, entropy or huffman. Default: the coding of the study.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Write the quantized network of a trial to a file, and evaluate the file."""
    folder = study_at(directory)
    with one_line_errors(folder):
        from study.commands.export import export_trial

        exported = export_trial(
            folder, trial, out, format_name=format, coding=coding, force=force, fetch=trust_addresses
        )
    artifact, written = exported.artifact, exported.written
    epoch, recorded = artifact.provenance["epoch"], exported.trial.epochs.get(artifact.provenance["epoch"], {})
    say(f"{out}: trial {exported.trial.number} ({exported.trial.trial_id}), {exported.trial.state}, format {format}")
    if epoch < artifact.config.epochs:
        say(f"not trained to its end: {exported.trial.state} after epoch {epoch} of {artifact.config.epochs}")
    say(f"file_bytes {written.file_bytes}")
    if format == "qar":
        say(f"payload_bytes {artifact.bits.payload_bytes}")
        say(f"bits_per_weight {artifact.bits.bits_per_weight}")
        if artifact.coding != artifact.config.recipe.coding:
            say(f"recorded_bits_per_weight {recorded.get('bits_per_weight')} ({artifact.config.recipe.coding} coding)")
    say(f"val_accuracy {recorded.get('val_accuracy')} (recorded)")
    if written.missing:
        say(f"not evaluated: there is no {written.missing[0]}; install it with: pip install {written.missing[0]}")
    else:
        say(f"file_val_accuracy {written.accuracy} (each of {written.num_images} images as the network classifies it)")


def reproduce(
    directory: Folder,
    trial: Annotated[
        str, typer.Option(help="Number or trial_id of the trial.", show_default=False, autocompletion=complete_trial)
    ],
    data_dir: DataDir = None,
    dataset: Dataset = None,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Train a trial again without Ray, and compare its metrics with the recorded ones.

    The exit status is 1 if a number differs.
    """
    folder = study_at(directory)
    with one_line_errors(folder):
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


def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File written by qar export.", show_default=False)],
    split: Annotated[str, typer.Option(help="Split to evaluate on: validation or test.")] = "validation",
    data_dir: DataDir = None,
    dataset: Dataset = None,
    trust_addresses: TrustAddresses = False,
) -> None:
    """Show the accuracy and size of an exported network, without Ray."""
    with one_line_errors():
        import torch

        from trainables.codebooks.artifact_file import read_artifact
        from trainables.evaluation import evaluate as accuracy_of

        artifact = read_artifact(file, lambda name: _may_import(name, trust_addresses))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        accuracy = accuracy_of(artifact, split, data_dir, device, dataset=dataset, trust_addresses=trust_addresses)
    say(f"{'val' if split == 'validation' else split}_accuracy {accuracy}")
    if split == "validation":
        say(f"recorded_val_accuracy {artifact.provenance.get('val_accuracy')}")
    for measure in ("payload_bytes", "bits_per_weight", "conv_bits_per_weight", "linear_bits_per_weight"):
        say(f"{measure} {getattr(artifact.bits, measure)}")


def _may_import(name: str, trusted: bool) -> bool:
    """Return whether a file's model may be imported, after letting Python search the working directory for it."""
    from study.addresses import may_import
    from study.sources import add_working_folder

    add_working_folder()
    return may_import(name, trusted)
