"""Interface of the formats of files: writes a network to a file, and runs the file."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from trainables.codebooks.artifact import Artifact

Logits = Callable[[Tensor], Tensor]
"""Function from pixels in [0, 255], float32, (n, channels, height, width), to logits, (n, classes)."""


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """A format of files.

    Attributes:
        content: what such a file holds, in a few words.
        write: writes a network to a file.
        load: returns the function that a file computes in its own runtime. The artifact gives what the file does not
            hold, never its weights.
        writer: packages that writing needs besides those of qar.
        runtime: packages that loading needs besides those of qar.
    """

    content: str
    write: Callable[[Path, Artifact], None]
    load: Callable[[Path, Artifact], Logits]
    writer: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()

    def missing(self, packages: tuple[str, ...]) -> list[str]:
        """Return those of the packages that are not installed."""
        return [package for package in packages if find_spec(package) is None]
