"""Parts named by import path, `module:attribute`: resolving them, and calling them with the arguments they name.

This module owns the error lines of all parts that users write: models, data sets, families and placements.
"""

import importlib
import inspect
import re
import traceback
from collections.abc import Mapping
from typing import Any

IMPORT_PATH_FORM = "<module>:<attribute>"
"""Form of an import path, as error messages show it in lists of choices."""

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

TORCHVISION = "torchvision:"
"""Prefix of the name of any of torchvision's classifiers of images."""
NPZ = "npz:"
"""Prefix of the path of a prepared data set."""
FOLDER = "folder:"
"""Prefix of the path of a tree of images."""

PATH_PREFIXES = (NPZ, FOLDER)
RESERVED_PREFIXES = (TORCHVISION, *PATH_PREFIXES)
"""Beginnings of names that have the form of an import path but are none."""

PLACES = "beside the study's YAML file or in the working directory"
"""Folders in which the code of a new study is searched for, besides the installed packages."""


class PartError(ValueError):
    """A part can't be imported, or must not be; the message is one line."""


def is_import_path(name: str) -> bool:
    """Return whether a name has the form `module:attribute`; nothing is imported."""
    return not name.startswith(RESERVED_PREFIXES) and _FORM.fullmatch(name) is not None


def module_of(name: str) -> str:
    """Return the module of an import path."""
    return name.partition(":")[0]


def resolve(kind: str, name: str) -> Any:
    """Import a part.

    Args:
        kind: noun for error messages, such as `model`.
        name: import path of the part.

    Raises:
        PartError: there is no such module, its import fails, or it has no such attribute; one line.
    """
    module_name, _, attribute = name.partition(":")
    module = _module(kind, name, module_name)
    part: Any = module
    for step in attribute.split("."):
        if not hasattr(part, step):
            raise PartError(
                f"{kind} {name!r} must name an attribute of {module_name}, got {step!r}; "
                f"choose from {_public_names(part)}"
            )
        part = getattr(part, step)
    return part


def _module(kind: str, name: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise PartError(
                f"{kind} {name!r} must lie in a module that Python finds, got no module {missing!r}; "
                f"put it {PLACES}, install it, or correct the name"
            ) from None
        raise PartError(
            f"{kind} {name!r} must lie in a module that can be imported, got: it imports {missing!r}, which Python "
            f"does not find; put that {PLACES}, or install it"
        ) from None
    except Exception as error:  # code of users may raise anything
        raise PartError(
            f"{kind} {name!r} must lie in a module that can be imported, got {reason_of(error)}; mend it"
        ) from None


def reason_of(error: BaseException) -> str:
    """Return type, message and place of an error of a user's code, in one line."""
    message = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    own = [frame for frame in frames if not frame.filename.startswith("<frozen") and frame.filename != __file__]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {message}{place}" if message else f"{type(error).__name__}{place}"


def _public_names(part: Any) -> list[str]:
    """Return the names that a part defines itself, without those that a module imports from others."""
    names = [name for name in vars(part) if not name.startswith("_")] if hasattr(part, "__dict__") else []
    owner = getattr(part, "__name__", None)
    if inspect.ismodule(part):
        names = [name for name in names if getattr(getattr(part, name), "__module__", None) == owner]
    return sorted(names)[:20]


def accepted_arguments(part: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters that a callable accepts by keyword, and whether it accepts any other keyword."""
    parameters = inspect.signature(part).parameters
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    return named, any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())


def arguments_for(
    kind: str,
    name: str,
    part: Any,
    offered: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    options_key: str = "",
) -> dict[str, Any]:
    """Return the keyword arguments to call a part with: those offered that its signature names, and all options.

    Args:
        kind: noun for error messages.
        name: name of the part, for error messages.
        part: the part.
        offered: arguments that the part may name.
        options: arguments that the user has set, all of which the part must accept.
        options_key: key of the configuration that holds the options.

    Raises:
        PartError: the part is not callable, does not accept an option, or needs an argument that is not there.
    """
    if not callable(part):
        raise PartError(f"{kind} {name!r} must be a function or a class, got {type(part).__name__}; correct the name")
    named, takes_any = accepted_arguments(part)
    for key in options or {}:
        if key in offered or (key not in named and not takes_any):
            choices = sorted(set(named) - set(offered))
            raise PartError(
                f"{options_key} must hold arguments of {kind} {name!r}, got {key!r}; "
                + (f"choose from {choices}" if choices else "leave it out, for it has none")
            )
    arguments = {key: value for key, value in offered.items() if key in named} | dict(options or {})
    for key, parameter in named.items():
        if parameter.default is parameter.empty and key not in arguments:
            remedy = f"set {options_key}.{key}, or give it a default" if options_key else "give it a default"
            raise PartError(
                f"{kind} {name!r} must be callable with {', '.join(offered)}"
                + (f" and what {options_key} holds" if options_key else "")
                + f", got a signature that also needs {key!r}; {remedy}"
            )
    _refuse_positional_only(kind, name, part, offered)
    return arguments


def _refuse_positional_only(kind: str, name: str, part: Any, offered: Mapping[str, Any]) -> None:
    for parameter in inspect.signature(part).parameters.values():
        if parameter.kind == parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise PartError(
                f"{kind} {name!r} must take its arguments by name ({', '.join(offered)}), got the positional-only "
                f"{parameter.name!r}; remove the / from its signature"
            )
