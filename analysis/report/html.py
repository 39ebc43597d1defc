"""report.html: one self-contained page of one or several studies, interactive, and readable without its script.

The page asks no network for anything, and its policy forbids it to. Every text of a study is escaped: in the markup
by `html.escape`, in the data by leaving no `<`, and the script writes text nodes alone.
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
from trainables.result import COMPLETE, FAIL, PRUNED, RUNNING, STATES

STATE_NAMES = {COMPLETE: "complete", PRUNED: "stopped early", RUNNING: "running", FAIL: "failed"}


def write_html(studies: Sequence[Findings], out: Path) -> Path:
    """Write report.html of some studies into the folder `out`; returns the file's path.

    Raises:
        DamagedFileError: a study's epochs can't be read.
    """
    page = page_of([page_study_of(findings) for findings in studies])
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def page_of(studies: Sequence[PageStudy]) -> str:
    """The page, as text."""
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
    return (resources.files("analysis.report") / "web" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(values: object) -> str:
    """JSON that can stand inside a script element: no `<` in it, so nothing that could end that or begin another."""
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
    """Counts of a study, in one sentence."""
    trials = study.trials
    counts = [
        f"{(trials['state'] == state).sum():,} {STATE_NAMES[state]}"
        for state in STATES
        if (trials["state"] == state).any()
    ]
    text = f"{len(trials):,} trial{'s'[: len(trials) != 1]}" + (f": {', '.join(counts)}" if counts else "")
    common = study.origin.common
    if {"model", "dataset"} <= set(common):
        text += f"; {common['model']} on {common['dataset']}"
    if study.confirmed:
        seeds = max(len(point["trials"]) for point in study.confirmed)
        how = "under" if study.findings.is_plan else "confirmed under"
        fresh = "" if study.findings.is_plan else "fresh "
        text += f"; {len(study.confirmed)} configurations {how} {seeds} {fresh}seed{'s'[: seeds != 1]}"
    return f"{study.origin.name}: {text}." if named else f"{text}."


def _notices(studies: Sequence[PageStudy]) -> Iterable[str]:
    for study in studies:
        name, selection = study.origin.name, study.selection
        asked = study.origin.num_trials
        ended = int(study.trials["state"].isin([COMPLETE, PRUNED, FAIL]).sum())
        if asked is not None and ended < asked:
            yield f"{name} has not finished: {ended} of {asked} trials have ended; this page shows those so far."
        if len(selection.trials) < selection.measured:
            yield (
                f"{name} has {selection.measured:,} measured trials; {len(selection.trials):,} of them are in the "
                "figure: all that can be on a front, of any families and levels, and an even share of the others. "
                "trials.parquet has all."
            )
        if len(selection.curves) < len(selection.trials):
            yield f"{name}: learning curves of {len(selection.curves):,} trials are here; epochs.parquet has all."
        for gap in study.findings.gaps:
            yield f"{name}: {gap}."
        if study.findings.is_plan:
            if study.findings.split == VALIDATION:
                yield (
                    f"{name} ran a plan that was measured on the validation split alone; with trial.evaluate_test: "
                    "true its results are on the test split."
                )
        elif study.findings.confirmation is None:
            yield (
                f"{name} is not confirmed: what is shown was chosen on the validation split that it is measured on, "
                f"and is too good to be reported. Confirm it with: {study.origin.confirming()}"
            )
