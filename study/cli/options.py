"""Arguments and options that several commands share."""

from typing import Annotated, Any

import typer

from study.cli.completion import complete_study
from study.cli.errors import one_line_errors


def without_credentials(parameter: typer.CallbackParam, value: Any) -> Any:
    """Refuse an address that holds credentials, for provenance and messages would keep it."""
    if value is not None:
        from study.config import refuse_credentials

        name = parameter.opts[0] if parameter.param_type_name == "option" else str(parameter.metavar)
        with one_line_errors():
            for address in value if isinstance(value, list | tuple) else [value]:
                remedy = "put them where the tools of that place look for them, as into ~/.aws/credentials"
                refuse_credentials(name, address, remedy)
    return value


Folder = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="Folder or URI of the study.",
        show_default=False,
        callback=without_credentials,
        autocompletion=complete_study,
    ),
]
Storage = Annotated[
    str,
    typer.Option(
        help="Folder that holds the studies: a path, s3://BUCKET/FOLDER, gs://… or az://….",
        callback=without_credentials,
    ),
]
Trials = Annotated[int | None, typer.Option(help="Number of trials in total, including anchors.", show_default=False)]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of a running Ray cluster. Default: start Ray on this machine.", callback=without_credentials
    ),
]
TrustAddresses = Annotated[
    bool,
    typer.Option(
        "--trust-addresses",
        help="Use the addresses and run the code that the study or the exported file names.",
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        help="Folder that holds the data sets. Default: the folder that the trial used.", callback=without_credentials
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|npz:PATH",
        help="Data set to use. Default: the one that the trial used.",
        show_default=False,
        callback=without_credentials,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Also show the messages of Ray and Optuna.")]
