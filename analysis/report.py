"""The report of a study: figures, tables, and the summary that the command prints."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.confirmed import confirmed, load_confirmation
from analysis.front import REFERENCE, candidates, float_baseline, front, hypervolume
from analysis.load import load_trials
from trainables.result import STATES


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written.

    Attributes:
        text: the summary for a terminal: counts, the front as a table, where the figures are.
        files: paths of all files.
    """

    text: str
    files: list[Path]


def write_report(study: Path, out: Path) -> Report:
    """Writes the report of the study in folder `study` into the folder `out`.

    Raises:
        ValueError: there is no study, or `out` can't be written.
        DamagedFileError: its tables can't be read.
    """
    from analysis.plots import save_front  # matplotlib takes a second to import

    trials, confirmation = load_trials(study), load_confirmation(study)
    results = None if confirmation is None else confirmed(trials, confirmation)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = save_front(trials, out, results)
        table, summary = out / "front.csv", out / "summary.json"
        front(trials).to_csv(table, index=False)
        summary.write_text(json.dumps(summarize(trials), indent=2) + "\n")
        if results is not None:
            files.append(out / "confirmed.csv")
            results.to_csv(files[-1], index=False)
    except OSError as error:
        raise ValueError(f"report {out} can't be written: {error.strerror}; choose another --out") from None
    text = _text(trials, out) if results is None else f"{_text(trials, out)}\n\n{_confirmed_text(results, out)}"
    return Report(text=text, files=[*files, table, summary])


def summarize(trials: pd.DataFrame) -> dict[str, object]:
    """The figures of a study in short: counts by state, float baseline, size and hypervolume of the front."""
    return {
        "trials": len(trials),
        **{state: int((trials["state"] == state).sum()) for state in STATES},
        "float_baseline_val_accuracy": float_baseline(trials),
        "front_size": len(front(trials)),
        "hypervolume": hypervolume(trials),
        "hypervolume_reference": {"val_accuracy": REFERENCE[0], "bits_per_weight": REFERENCE[1]},
    }


def _text(trials: pd.DataFrame, out: Path) -> str:
    counts = [f"{(trials['state'] == state).sum()} {state}" for state in STATES if (trials["state"] == state).any()]
    lines = [f"{len(trials)} trial{'s'[: len(trials) != 1]}" + (": " + ", ".join(counts) if counts else "")]
    reasons = trials["failure"].dropna().value_counts()
    lines += [f"{count} failed: {reason}" for reason, count in reasons.items()]
    baseline = float_baseline(trials)
    if baseline is not None:
        lines.append(f"float baseline: validation accuracy {baseline:.4f}")
    if candidates(trials).empty:
        lines.append("no front yet: no quantized trial has been trained for the full budget")
    else:
        accuracy, bits = REFERENCE
        lines += [
            "",
            "front of accuracy against bits:",
            _front_text(front(trials)),
            "",
            f"hypervolume {hypervolume(trials):.4f} of the area up to accuracy {accuracy:g} and {bits:g} bits",
        ]
    return "\n".join([*lines, f"plot: {out / 'front.pdf'} (and .svg, .png); table: {out / 'front.csv'}"])


def _front_text(rows: pd.DataFrame) -> str:
    shown = pd.DataFrame(
        {
            "bits/weight": rows["bits_per_weight"].map("{:.2f}".format),
            "val accuracy": rows["val_accuracy"].map("{:.4f}".format),
            "pre-tuning": rows["val_accuracy_pre_tuning"].map("{:.4f}".format),
            "family": rows["family"],
            "K": rows["num_levels"].astype(int),
            "λ": rows["lam"].map(lambda lam: "–" if pd.isna(lam) else f"{lam:.1e}"),
            "placement": rows["placement"],
            "trial": rows["trial_id"],
        }
    )
    return shown.to_string(index=False)


def _confirmed_text(results: pd.DataFrame, out: Path) -> str:
    """The confirmed results, which are the result; the search's are only what led to them."""
    shown = pd.DataFrame(
        {
            "bits/weight": results["bits_per_weight"].map("{:.2f}".format),
            "test accuracy": results["test_accuracy"].map("{:.4f}".format),
            "95% interval": [
                "–" if pd.isna(low) else f"[{low:.4f}, {high:.4f}]"
                for low, high in zip(results["low"], results["high"], strict=True)
            ],
            "seeds": results["seeds"],
            "searched": results["searched_val_accuracy"].map(lambda value: "–" if pd.isna(value) else f"{value:.4f}"),
            "family": results["family"],
            "K": results["num_levels"].map(lambda levels: "float" if pd.isna(levels) else f"{levels:.0f}"),
            "λ": results["lam"].map(lambda lam: "–" if pd.isna(lam) else f"{lam:.1e}"),
            "placement": results["placement"].fillna("–"),
        }
    )
    lines = ["confirmed under fresh seeds, on the test split:", shown.to_string(index=False)]
    optimism = results["optimism"].dropna()
    if len(optimism):
        lines += ["", f"optimism of the search: validation minus test accuracy {optimism.mean():+.4f} on average"]
    return "\n".join([*lines, f"table: {out / 'confirmed.csv'}"])
