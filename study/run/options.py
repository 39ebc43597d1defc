"""Options that every command that runs trials has."""

from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console

from study.terminal import PlainConsole, say


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Place where a study runs, and receivers of its messages.

    Attributes:
        address: address of a running Ray cluster; None to start Ray on this machine.
        verbose: also show the messages of Ray and Optuna.
        trust_addresses: allow downloads from, and connections to, the addresses that the study names.
        console: shows the progress and tables.
        say: prints a line.
    """

    address: str | None = None
    verbose: bool = False
    trust_addresses: bool = False
    console: Console = field(default_factory=PlainConsole)
    say: Callable[[str], None] = say
