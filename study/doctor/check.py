"""Records of the doctor: the state of a node, the result of a check, and how results are printed."""

import textwrap
from dataclasses import dataclass
from enum import StrEnum

from rich.text import Text

from study.doctor.probe import NodeProbe
from study.terminal import one_line


class CheckStatus(StrEnum):
    """Result of a check of the doctor."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """Result of one check, shown as one line of the table.

    Attributes:
        name: subject of the check.
        status: whether the check has passed.
        finding: observed state, in one line.
        remedy: what the user should do; empty if nothing.
    """

    name: str
    status: CheckStatus
    finding: str
    remedy: str = ""


@dataclass(frozen=True)
class Node:
    """A node of the cluster that answered, and its state.

    Attributes:
        name: hostname.
        resources: as Ray counts them: CPU, GPU, memory and object_store_memory in bytes.
        probe: values measured on the node.
        skew: seconds by which its clock is ahead of the driver's, beyond what network delay explains.
        unseen: names of nodes whose file in the storage this node can't read.
        unwritable: reason why this node can't write to the storage, in one line; None if it can.
        unfetched: names of nodes from whose object stores this node can't fetch.
        epoch_seconds: seconds that an epoch takes on this node; None if it was not timed.
        start_seconds: seconds that a trial takes to start on this node; None if it was not timed.
        epoch_error: reason why the timed epoch failed, in one line; None if it didn't.
    """

    name: str
    resources: dict[str, float]
    probe: NodeProbe
    skew: float = 0.0
    unseen: tuple[str, ...] = ()
    unwritable: str | None = None
    unfetched: tuple[str, ...] = ()
    epoch_seconds: float | None = None
    start_seconds: float | None = None
    epoch_error: str | None = None

    @property
    def kind(self) -> str:
        """Kind of the node, in words; nodes of the same kind are assumed to be equally fast."""
        gpus = int(self.resources.get("GPU", 0))
        return f"{self.resources.get('CPU', 0):g} CPUs" + (f" and {gpus} GPUs" if gpus else "")


@dataclass(frozen=True)
class UnreachableNode:
    """A node that did not answer, and the reason, in one line."""

    name: str
    error: str


def _wrapped(text: str, indent: int, columns: int | None) -> str:
    """Return a text in one line, or in lines of a terminal's width that are indented from the second on."""
    if columns is None:
        return one_line(text)
    room = max(20, columns - indent)
    lines = textwrap.wrap(one_line(text), room, break_long_words=False, break_on_hyphens=False)
    return f"\n{'':{indent}}".join(lines)


def check_lines(checks: list[Check], columns: int | None = None) -> list[Text]:
    """Return the lines to print for checks: one for each, and the remedy below it.

    Args:
        checks: results, in the order to print them.
        columns: width of the terminal, within which findings are wrapped between words; None to wrap nothing. Remedies
            hold commands to copy, and are never wrapped.
    """
    width = max(len(check.name) for check in checks)
    indent = width + 7
    colours = {CheckStatus.PASS: "green", CheckStatus.WARN: "yellow", CheckStatus.FAIL: "red"}
    lines = []
    for check in checks:
        lines.append(
            Text.assemble(
                (f"{check.status:5}", colours[check.status]),
                f"{check.name:{width}}  {_wrapped(check.finding, indent, columns)}",
            )
        )
        if check.remedy:
            lines.append(Text(f"{'':{width + 5}}  → {one_line(check.remedy)}"))
    return lines
