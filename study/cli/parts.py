"""Commands on parts of studies: the list of families, and the check of parts that users write."""

from typing import Annotated

import typer

from study.cli.errors import FAILED, one_line_errors
from study.cli.options import DataDir
from study.terminal import say


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A family, model, data set or placement: as module:attribute, or a built-in name.", show_default=False
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Kind of the part: family, model, dataset or placement. Default: what fits the name.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[str, typer.Option(help="Size of a model's images, as HEIGHTxWIDTHxCHANNELS.")] = "32x32x3",
    classes: Annotated[int, typer.Option(min=2, help="Number of classes of a model.")] = 10,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of a model, for example depth=20."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Check that a part that you wrote behaves as the built-in ones do.

    The exit status is 1 if a check fails.
    """
    with one_line_errors():
        from study.commands.check import image_shape_of, options_of
        from study.sources import add_working_folder
        from trainables.conformance.kinds import check_part, kind_of

        add_working_folder()
        kind = kind or kind_of(name)
        shape, options = image_shape_of(image), options_of(set_ or [])
        say(f"{name}: {kind}")
        broken = 0
        for found in check_part(
            name, kind, image_shape=shape, num_classes=classes, options=options, data_dir=data_dir or "data"
        ):
            broken += not found.passed
            say(f"{'pass' if found.passed else 'FAIL'}  {found.name}: {found.detail}")
    if broken:
        raise typer.Exit(FAILED)


def families(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A family, also as module:attribute. Default: all.", show_default=False),
    ] = None,
) -> None:
    """List the families of regularizers, and which parts come from the paper."""
    with one_line_errors():
        from trainables.families import FAMILIES, family_of
        from trainables.import_path import is_import_path

        if name is not None and is_import_path(name):
            from study.sources import add_working_folder
            from trainables.regularizers.own.own_family import declared_family

            add_working_folder()
            listed = {name: declared_family(name)}
        else:
            listed = FAMILIES if name is None else {name: family_of(name)}
    for name, family in listed.items():
        say(f"{name} ({family.kind}): {family.title}")
        for label, text in (
            ("penalty of a weight", family.penalty),
            ("forward pass", family.forward),
            ("representatives", family.representatives),
            ("given by the source", family.given),
            ("ours", family.ours),
            ("source", family.source),
        ):
            if label != "forward pass" or text != "w":
                say(f"    {label:20} {text}")
