"""The kit for a GPU: its tables, which docs/benchmarks.md shows, and what it does if a part fails."""

import argparse
import shutil
from pathlib import Path
from typing import Any

import gpu_kit
import pytest
from plans import Lines, read_lines

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "benchmarks" / "data" / "gpu-kit-h200.jsonl"
PAGE = (ROOT / "docs" / "benchmarks.md").read_text().split("\n## On a GPU, measured\n")[1].split("\n## ")[0]


def tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[list[str]]]:
    """The cells of each table that the kit prints of a folder, without the header, by title."""
    gpu_kit.show_tables(folder)
    result: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif line:
            rows = result.setdefault(line, [])
    return {title: cells[2:] for title, cells in result.items() if cells[2:]}


def test_every_part_of_a_run_has_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(MEASURED, tmp_path / "lines.jsonl")
    shown = {title.split(" (")[0]: len(rows) for title, rows in tables(tmp_path, capsys).items()}
    assert shown == {
        "Checks of training on the device": 40,
        "An epoch": 10,
        "A step": 24,
        "Kernels of a step at K = 16": 10,
        "An epoch of a small network": 2,
    }


def test_page_shows_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(MEASURED, tmp_path / "lines.jsonl")
    shown = {title.split(" (")[0]: rows for title, rows in tables(tmp_path, capsys).items()}
    for network, family, _, seconds, ratio in shown["An epoch"]:
        told = "| |" if family == "none" else f"| {ratio} ["
        assert f"| {network} | {family} | 3 | {seconds} {told}" in PAGE
    ratios: dict[tuple[str, str], list[str]] = {}
    for network, family, _, _, ratio in shown["A step"]:
        ratios.setdefault((network, family), []).append(ratio)
    for (network, family), cells in ratios.items():
        assert f"| {network} | {family} | {' | '.join(cells)} |" in PAGE
    for network, family, kernels, busy in shown["Kernels of a step at K = 16"]:
        assert f"| {network} | {family} | {kernels} |" in PAGE
        assert f" {busy} |" in PAGE
    for trials, n, alone, packed, gain in shown["An epoch of a small network"]:
        assert f"| {trials} | {n} | {alone} | {packed} | {gain} [" in PAGE


def test_part_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> list[list[float]]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_kit, "timed_epochs", fail)
    lines = Lines(tmp_path, 60.0)
    arguments = argparse.Namespace(data="images.npz", width=0.1, images=100, repeats=3)
    assert gpu_kit.timed(lines, arguments, "vgg16") == {}
    lines.attempt("pack", fail, model="vgg16", together=2)  # type: ignore[arg-type]
    assert [line["part"] for line in read_lines(tmp_path)] == ["epoch", "pack"]
    assert tables(tmp_path, capsys)["What failed"] == [
        ["epoch", "vgg16", "", "", "RuntimeError: out of memory"],
        ["pack", "vgg16", "", "2", "RuntimeError: out of memory"],
    ]
