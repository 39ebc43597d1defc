"""Fuzzing targets: the kinds of files that the program reads, each with a sound example and its reader."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tests.fuzz.damage import BYTES, Damage


class Target(ABC):
    """One kind of file.

    Attributes:
        errors: exceptions with one-line messages that the reader may raise; every other one is a defect.
        damages: random changes that are tried, by name.
    """

    errors: ClassVar[tuple[type[Exception], ...]]
    damages: ClassVar[Mapping[str, Damage]] = BYTES

    @abstractmethod
    def write(self, folder: Path) -> Path:
        """Write a sound example into a new folder; returns the file that is to be damaged."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Return what the program makes of the file, in a form that can be compared with `==`."""

    def accepts(self, damage: str, sound: Any, result: Any) -> bool:
        """Whether a file that was read in spite of its damage may give this result."""
        return bool(result == sound)
