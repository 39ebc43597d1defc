"""Static sections of report.html, readable without JavaScript: tables of results and provenance."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

from analysis.levels import levels_text
from analysis.names import field_text
from analysis.report.page import PageStudy
from analysis.statistics.family_gains import ACCURACIES, TEST, VALIDATION
from analysis.statistics.pareto import front
from trainables.result import FINETUNE, REGULARIZE

Cell = tuple[str, object]
"""Text of a table's cell, and the value by which the column is sorted."""


def confirmed_section(studies: Sequence[PageStudy]) -> str:
    """Return the section with means over seeds and the optimism of the searches; empty if there are no means."""
    rows = []
    optimism = []
    fields = _fields_of(studies)
    several = len(studies) > 1
    searched = not all(study.findings.is_plan for study in studies)
    # Confirmations of older versions were evaluated on the test split only after tuning.
    tested = any(point["accuracy"]["test"][REGULARIZE] for study in studies for point in study.confirmed)
    for index, study in enumerate(studies):
        results, split = study.findings.results, study.findings.split
        if results is None:
            continue
        for (_, row), point in zip(results.iterrows(), study.confirmed, strict=True):
            assert row["config_hash"] == point["config_hash"]
            before = point["accuracy"]["test" if tested else "validation"][REGULARIZE]
            rows.append(
                (
                    f"c{index}:{point['config_hash']}",
                    [
                        *([_text(study.origin.name)] if several else []),
                        *_configuration_cells(row, fields),
                        _number(row["bits_per_weight"], ".2f"),
                        _mean(row, TEST, split),
                        _with_interval(before),
                        _mean(row, VALIDATION, split),
                        *([_number(row["searched_val_accuracy"], ".4f")] if searched else []),
                        *([_number(row["optimism"], "+.4f")] if searched else []),
                        _number(row["seeds"], ".0f"),
                    ],
                )
            )
        if len(differences := results["optimism"].dropna()):
            optimism.append(
                f"{study.origin.name}: the validation accuracy in the search minus the test accuracy in the "
                f"confirmation is {differences.mean():+.4f} on average over {len(differences)} configurations."
            )
    if not rows:
        return ""
    head = [*(["Study"] if several else []), "Family", "K", "λ", "Placement", *fields, "Bits/weight"]
    head += [
        "Test accuracy",
        f"{'Test' if tested else 'Validation'} before tuning",
        "Validation",
        *(["In the search", "Optimism"] if searched else []),
        "Seeds",
    ]
    if not searched:
        title = "Results of the plan" if len(studies) == 1 else "Results of the plans"
        text = "Means over the seeds of each configuration, with 95% confidence intervals."
    else:
        title = "Confirmed results"
        text = (
            "Configurations of the front, trained again under fresh seeds for the full budget: means over seeds, with "
            "95% confidence intervals. Only these trials were evaluated on the test split."
        )
    table = _table("confirmed", f"{title}, by increasing bits", head, rows)
    notes = "".join(f"<p>{escape(text)}</p>" for text in optimism)
    optimism_part = f'<h3 id="optimism">Optimism of the search</h3>{notes}' if optimism else ""
    return (
        f'<section aria-labelledby="confirmed-title"><h2 id="confirmed-title">{title}</h2>'
        f"<p>{text}</p>{table}{optimism_part}</section>"
    )


def _mean(row: pd.Series, split: str, split_of_interval: str) -> Cell:
    """Return a mean accuracy, with its interval if the interval in the row is of this split."""
    mean = row[ACCURACIES[split][FINETUNE]]
    return _with_interval([mean, row["low"], row["high"]]) if split == split_of_interval else _number(mean, ".4f")


def front_section(studies: Sequence[PageStudy]) -> str:
    """Return the section with the front of single trials."""
    several = len(studies) > 1
    fields = _fields_of(studies)
    rows = [
        (
            f"s{index}:{row['number']}",
            [
                *([_text(study.origin.name)] if several else []),
                *_configuration_cells(row, fields),
                _number(row["bits_per_weight"], ".2f"),
                _number(row["val_accuracy"], ".4f"),
                _number(row["val_accuracy_pre_tuning"], ".4f"),
                _number(row["float_val_accuracy"], ".4f"),
                _number(row["artifact_bytes"], ",.0f"),
                _number(row["seed"], ".0f"),
                (str(row["trial_id"]), row["number"]),
            ],
        )
        for index, study in enumerate(studies)
        for _, row in front(study.trials).iterrows()
    ]
    searched = not all(study.findings.is_plan for study in studies)
    title = "Front of the search" if searched else "Front of single trials"
    text = f"{'Trials of the search' if searched else 'Trials'} with the full budget for which no other trial has "
    text += (
        "higher accuracy at fewer bits. They were selected by the validation accuracies shown, which are therefore "
        "higher than a fresh seed would give."
    )
    head = [*(["Study"] if several else []), "Family", "K", "λ", "Placement", *fields, "Bits/weight"]
    head += ["Validation accuracy", "Before tuning", "Float", "Bytes", "Seed", "Trial"]
    shown = _table("front", f"{title}, by increasing bits", head, rows) if rows else ""
    empty = "<p>No front yet: no quantized trial has been trained for the full budget.</p>"
    return (
        f'<section aria-labelledby="front-title"><h2 id="front-title">{title}</h2>'
        f"<p>{text}</p>{shown or empty}</section>"
    )


def failures_section(studies: Sequence[PageStudy]) -> str:
    """Return the section with failed trials by reason; empty if none failed."""
    rows: list[tuple[str, list[Cell]]] = []
    for study in studies:
        for reason, count in study.trials["failure"].dropna().value_counts().items():
            rows.append(("", [_text(study.origin.name), _number(count, ",.0f"), _text(str(reason))]))
    if not rows:
        return ""
    table = _table("failures", "Failed trials by reason", ["Study", "Trials", "Reason"], rows)
    return f'<section aria-labelledby="failed-title"><h2 id="failed-title">Failed trials</h2>{table}</section>'


def provenance_section(study: PageStudy) -> str:
    """Return the section with the provenance of a study and its training time."""
    origin, trials, epochs = study.origin, study.trials, study.findings.study.epochs
    regularize, finetune = study.budget
    facts = {
        "Folder": origin.address,
        "Epochs per trial": f"{regularize} regularize, {finetune} finetune",
        "Seeds of the plan" if study.findings.is_plan else "Seeds of the search": _some(origin.provenance.get("seeds")),
        "Hosts": _some(origin.provenance.get("hosts")),
        "Devices": _some(sorted(trials["device"].dropna().unique())),
        "Training time, all trials": _duration(trials["train_seconds"].sum()),
        "Training time by family": _costs(trials.groupby("family")["train_seconds"].sum()),
        "Training time by phase": _costs(epochs.groupby("phase")["train_seconds"].sum().sort_index(ascending=False)),
        "Wall-clock time": _duration(origin.provenance["wall_seconds"]) if "wall_seconds" in origin.provenance else "–",
    }
    confirmation = study.findings.confirmation
    if confirmation is not None:
        facts["Confirmation"] = (
            f"{len(confirmation)} trials, seeds {_some(sorted(confirmation['seed'].unique()))}, "
            f"training {_duration(confirmation['train_seconds'].sum())}"
        )
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    rows = [
        (
            "",
            [
                (str(number), number),
                _text(str(session.get("started", "–"))[:16].replace("T", " ")),
                _text(str(session.get("outcome") or "interrupted")),
                _text(str(session.get("driver", "–"))),
                _text(_commit(session)),
                _text(", ".join(f"{name} {version}" for name, version in (session.get("versions") or {}).items())),
            ],
        )
        for number, session in enumerate(origin.sessions, start=1)
    ]
    head = ["Session", "Started (UTC)", "Outcome", "Driver", "Commit", "Versions"]
    name = escape(origin.name)
    table = _table(f"sessions of {origin.name}", f"Sessions of {origin.name}", head, rows) if rows else ""
    return f'<section class="provenance"><h2>Provenance of {name}</h2><dl class="facts">{listed}</dl>{table}</section>'


def _commit(session: dict[str, Any]) -> str:
    """Return the commit of a session as text."""
    sha = session.get("git_sha")
    return "unknown" if not sha else f"{sha[:12]}{', with uncommitted changes' if session.get('git_dirty') else ''}"


def _some(values: Iterable[object] | None, most: int = 12) -> str:
    """Return the first values as text, and the number of the others."""
    texts = [str(value) for value in values or ()]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return (", ".join(texts[:most]) + more) or "–"


def _costs(seconds: pd.Series) -> str:
    return ", ".join(f"{name} {_duration(value)}" for name, value in seconds.items()) or "–"


def _duration(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02}:{seconds:02}"


def _fields_of(studies: Sequence[PageStudy]) -> list[str]:
    """Return the dotted names of the further searched fields of all studies, each once."""
    return list(dict.fromkeys(name for study in studies for name in study.findings.fields))


def _configuration_cells(row: pd.Series, fields: Sequence[str]) -> list[Cell]:
    quantized = not pd.isna(row["num_levels"])
    return [
        _text(str(row["family"]) if quantized else "float"),
        (levels_text(row["num_levels"], row.get("groups")), row["num_levels"]) if quantized else _number(None, ""),
        _number(row["lam"], ".2g"),
        _text(str(row["placement"]) if quantized else "–"),
        *(_field(row.get(name)) for name in fields),
    ]


def _text(value: str) -> Cell:
    return value, value


def _field(value: Any) -> Cell:
    """Return the value of a searched field, which may be a number, a text or a truth value."""
    text = field_text(value)
    return text, "" if text == "–" else value


def _number(value: Any, form: str) -> Cell:
    return ("–", "") if pd.isna(value) else (format(value, form), float(value))


def _with_interval(values: Sequence[float | None] | None) -> Cell:
    """Return a mean with the bounds of its interval, as far as they are known."""
    if values is None or pd.isna(values[0]):
        return "–", ""
    mean, low, high = values
    bounds = "" if pd.isna(low) else f" [{low:.4f}, {high:.4f}]"
    return f"{mean:.4f}{bounds}", mean


def _table(name: str, caption: str, head: Sequence[str], rows: Sequence[tuple[str, list[Cell]]]) -> str:
    """Return a table that the script makes sortable; rows with a key are points of the figure."""
    header = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "".join(_row(key, cells) for key, cells in rows)
    label = escape(caption)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table data-table="{escape(name)}">'
        f"<caption>{label}</caption><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(key: str, cells: Sequence[Cell]) -> str:
    shown = "".join(f'<td data-value="{escape(str(order))}">{escape(text)}</td>' for text, order in cells)
    return f'<tr data-point="{escape(key)}">{shown}</tr>' if key else f"<tr>{shown}</tr>"
