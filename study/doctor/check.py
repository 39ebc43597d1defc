"""What the doctor has seen of nodes, and what it says of it."""

from dataclasses import dataclass

from rich.text import Text

from study.doctor.probe import NodeProbe
from study.terminal import one_line

PASS, WARN, FAIL = "pass", "warn", "fail"


@dataclass(frozen=True)
class Check:
    """One line of the table: what was looked at, `PASS`, `WARN` or `FAIL`, what was found, and what to do about it."""

    name: str
    status: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Node:
    """A node of the cluster, and what was seen there.

    Attributes:
        name: hostname.
        resources: as Ray counts them: CPU, GPU, memory and object_store_memory in bytes.
        probe: what was seen.
        skew: seconds that its clock is ahead of the driver's, beyond what the way there and back explains.
        unseen: names of nodes whose file in the storage can't be read there.
        unwritable: why it can't write the storage, in one line.
        unfetched: names of nodes whose objects don't get there.
        epoch_seconds: that one of the float baseline takes, if that was timed there.
        epoch_error: why that failed, in one line.
    """

    name: str
    resources: dict[str, float]
    probe: NodeProbe
    skew: float = 0.0
    unseen: tuple[str, ...] = ()
    unwritable: str | None = None
    unfetched: tuple[str, ...] = ()
    epoch_seconds: float | None = None
    epoch_error: str | None = None


@dataclass(frozen=True)
class Lost:
    """A node on which nothing could be seen, and why, in one line."""

    name: str
    error: str


def kind_of(resources: dict[str, float]) -> str:
    """Nodes of one kind are taken to be equally fast."""
    gpus = int(resources.get("GPU", 0))
    return f"{resources.get('CPU', 0):g} CPUs" + (f" and {gpus} GPUs" if gpus else "")


def lines_of(found: list[Check]) -> list[Text]:
    """The checks as they are printed: a line each, and the remedy below it."""
    width = max(len(check.name) for check in found)
    colours = {PASS: "green", WARN: "yellow", FAIL: "red"}
    lines = []
    for check in found:
        lines.append(
            Text.assemble(
                (f"{check.status:5}", colours[check.status]), f"{check.name:{width}}  {one_line(check.found)}"
            )
        )
        if check.remedy:
            lines.append(Text(f"{'':{width + 5}}  → {one_line(check.remedy)}"))
    return lines
