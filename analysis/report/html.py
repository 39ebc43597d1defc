"""Writer of report.html: a self-contained interactive page about one or several studies.

The page can be read without JavaScript. It makes no network requests, and its content security policy forbids them.
Every text from a study is escaped: in the markup by `html.escape`, in the data by replacing `<`; the script only
creates text nodes.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from analysis.levels import FAMILIES
from analysis.report.findings import Findings
from analysis.report.html_sections import confirmed_section, failures_section, front_section, provenance_section
from analysis.report.page import PageStudy, page_study_of
from analysis.report.points import curves, search_points
from analysis.report.script import bundled_script
from analysis.statistics.family_gains import VALIDATION
from analysis.statistics.pareto import float_baseline
from trainables.result import END_STATES, TrialState

STATE_NAMES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped early",
    TrialState.RUNNING: "running",
    TrialState.FAIL: "failed",
}


def write_html(studies: Sequence[Findings], out: Path) -> Path:
    """Write report.html.

    Args:
        studies: statistics of the studies.
        out: an existing folder.

    Returns:
        Path of the file.

    Raises:
        DamagedFileError: the epochs of a study cannot be read.
    """
    page = page_of([page_study_of(findings) for findings in studies])
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def page_of(studies: Sequence[PageStudy]) -> str:
    """Return the page as text."""
    names = [study.origin.name for study in studies]
    style, script = _asset("report.css"), bundled_script()
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    several = len(studies) > 1
    return Template(_asset("report.html")).substitute(
        policy=policy,
        style=style,
        script=script,
        title=escape(f"Report of {_listed(names)}"),
        lead="".join(f"<p>{escape(_lead(study, several))}</p>" for study in studies),
        notices="".join(f'<p class="note" role="note">{escape(text)}</p>' for text in _notices(studies)),
        confirmed=confirmed_section(studies),
        front=front_section(studies),
        failures=failures_section(studies),
        provenance="".join(provenance_section(study) for study in studies),
        data=_json({"families": FAMILIES, "states": STATE_NAMES, "studies": [_data_of(study) for study in studies]}),
    )


def _asset(name: str) -> str:
    """Return the text of a file in `web`."""
    return (resources.files("analysis.report") / "web" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the hash of a style or script for the content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(values: object) -> str:
    """Return JSON that is safe inside a script element: without `<`, no text can end the element."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data_of(study: PageStudy) -> dict[str, Any]:
    origin, selection = study.origin, study.selection
    regularize, finetune = study.budget
    return {
        "name": origin.name,
        "commands": {"reproduce": origin.reproducing(0)[:-1], "export": origin.exporting(0)},
        "budget": [regularize, finetune],
        "common": origin.common,
        "baseline": float_baseline(study.trials),
        "measured": selection.measured,
        "search": search_points(selection),
        "curves": curves(study.findings.study.epochs, selection.curves),
        "confirmed": study.confirmed,
        "planned": study.findings.is_plan,
    }


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"


def _lead(study: PageStudy, named: bool) -> str:
    """Return a sentence with the counts of a study's trials, its model and its data set."""
    trials = study.trials
    counts = [
        f"{(trials['state'] == state).sum():,} {STATE_NAMES[state]}"
        for state in TrialState
        if (trials["state"] == state).any()
    ]
    text = f"{len(trials):,} trial{'s'[: len(trials) != 1]}" + (f": {', '.join(counts)}" if counts else "")
    common = study.origin.common
    if {"model", "dataset"} <= set(common):
        text += f"; {common['model']} on {common['dataset']}"
    if study.confirmed:
        seeds = max(len(point["trials"]) for point in study.confirmed)
        verb = "trained under" if study.findings.is_plan else "confirmed under"
        fresh = "" if study.findings.is_plan else "fresh "
        text += f"; {len(study.confirmed)} configurations {verb} {seeds} {fresh}seed{'s'[: seeds != 1]}"
    return f"{study.origin.name}: {text}." if named else f"{text}."


def _notices(studies: Sequence[PageStudy]) -> Iterable[str]:
    for study in studies:
        name, selection = study.origin.name, study.selection
        asked = study.origin.num_trials
        ended = int(study.trials["state"].isin(END_STATES).sum())
        if asked is not None and ended < asked:
            yield f"{name} has not finished: {ended} of {asked} trials have ended; this page shows only those."
        if len(selection.trials) < selection.measured:
            yield (
                f"{name} has {selection.measured:,} measured trials; the figure shows {len(selection.trials):,} of "
                "them: all that are on the front of any choice of families and levels, and an evenly spaced selection "
                "of the others. trials.parquet holds all trials."
            )
        if len(selection.curves) < len(selection.trials):
            yield f"{name}: the page has learning curves of {len(selection.curves):,} trials; epochs.parquet has all."
        for gap in study.findings.gaps:
            yield f"{name}: {gap}."
        if study.findings.is_plan:
            if study.findings.split == VALIDATION:
                yield (
                    f"{name} ran a plan that was evaluated only on the validation split. To evaluate it on the test "
                    "split, set trial.evaluate_test: true."
                )
        elif study.findings.confirmation is None:
            yield (
                f"{name} is not confirmed: its best trials were selected by the same validation accuracies that are "
                "shown, which are therefore too optimistic to be published. To measure the configurations of the front "
                f"under fresh seeds on the test split, run: {study.origin.confirming()}"
            )
