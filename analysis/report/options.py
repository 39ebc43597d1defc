"""Options of `qar report` for what figures and tables show."""

from collections.abc import Sequence
from pathlib import Path

from analysis.costs import COSTS
from analysis.literature import read_literature
from analysis.names import Names, read_names
from analysis.study import StudyResults
from analysis.view import PHASES, View
from trainables.choices import choose


def view_of(
    *,
    cost: str = "bits",
    loss: bool = False,
    families: str | None = None,
    levels: str | None = None,
    phases: str | None = None,
    names: Path | None = None,
    literature: Path | None = None,
) -> View:
    """Return the view that the options of a command ask for.

    Args:
        cost: key of `analysis.costs.COSTS`.
        loss: whether accuracy is shown as its difference from the float baseline.
        families: names, separated by commas; None for all.
        levels: values of K, separated by commas; None for all.
        phases: names of phases, separated by commas; None for both.
        names: YAML file as `analysis.names.read_names` reads it.
        literature: CSV file as `analysis.literature.read_literature` reads it.

    Raises:
        ValueError: an option is not as above; one line.
    """
    shown = PHASES if phases is None else _listed("phases", phases)
    for phase in shown:
        choose("phase", phase, PHASES)
    return View(
        cost_name=choose("cost", cost, COSTS),
        loss=loss,
        families=None if families is None else _listed("families", families),
        levels=None if levels is None else _levels(levels),
        phases=tuple(phase for phase in PHASES if phase in shown),
        names=Names() if names is None else read_names(names),
        literature=None if literature is None else read_literature(literature),
    )


def _listed(option: str, text: str) -> tuple[str, ...]:
    """Return the parts of a text between commas, each once, in order."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ValueError(f"{option} must be names separated by commas, got {text!r}; leave the option out for all")
    return tuple(dict.fromkeys(parts))


def _levels(text: str) -> tuple[int, ...]:
    parts = _listed("levels", text)
    if not all(part.isdecimal() and part.isascii() and int(part) >= 2 for part in parts):
        raise ValueError(f"levels must be whole numbers of at least 2 separated by commas, got {text!r}; write 2,4,8")
    return tuple(map(int, parts))


def check_choice(view: View, studies: Sequence[StudyResults]) -> None:
    """Raise ValueError if a chosen family or value of K, or all of the literature, fits no trial of the studies."""
    tables = [study.trials for study in studies]
    tables += [study.confirmation.trials for study in studies if study.confirmation is not None]
    families = view.names.order(family for table in tables for family in table["family"])
    levels = sorted({int(value) for table in tables for value in table["num_levels"].dropna()})
    for family in view.families or ():
        if family not in families:
            raise ValueError(f"no trial is of family {family!r}; choose from {families}")
    for value in view.levels or ():
        if value not in levels:
            raise ValueError(f"no trial has K = {value}; choose from {levels}")
