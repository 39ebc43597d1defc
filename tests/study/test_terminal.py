"""Printed text can't control the terminal, nor display other text than it holds."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import CliRunner

from study.cli import app
from study.doctor.check import Check, CheckStatus, check_lines
from study.terminal import PlainConsole, one_line, printable
from tests.support.example_studies import make_study
from tests.support.ledgers import change_facts

HOSTILE = {
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "clear": ("a\x1b[2J\x1b[Hb", "ab"),
    "title": ("a\x1b]0;title\x07b", "ab"),
    "clipboard": ("a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
    "unended": ("a\x1b]8;;http://evil", "a"),
    "C1": ("a\x9b31mb\x85c", "abc"),
    "carriage return": ("good\rbad", "goodbad"),
    "backspace": ("good\b\b\b\bbad", "goodbad"),
    "bidi": ("a\u202eb\u2066c\u200fd", "abcd"),
    "surrogate": ("a\udc80b", "ab"),
    "harmless": ("λ = 1e-3 → ⌈log2 K⌉ 猫\n\tx", "λ = 1e-3 → ⌈log2 K⌉ 猫\n\tx"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_control_sequences_go_and_all_else_stays(kind: str) -> None:
    text, expected = HOSTILE[kind]
    assert printable(text) == expected


@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    shown = printable(text)
    assert not any(ord(sign) < 32 and sign not in "\n\t" for sign in shown)
    assert not any(127 <= ord(sign) < 160 for sign in shown)
    assert printable(shown) == shown
    assert len(one_line(text).splitlines()) <= 1


def test_status_shows_a_hostile_failure_as_one_harmless_line(tmp_path) -> None:  # type: ignore[no-untyped-def]
    study = make_study(tmp_path / "small")
    hostile = "".join(text for text, _ in HOSTILE.values()) + "\ntrial 99 failed: forged"

    def forge(facts: list[dict[str, Any]]) -> None:
        for fact in facts:
            if fact["fact"] == "ended" and fact["state"] == "FAIL":
                fact["failure"] = hostile

    change_facts(study.ledger, forge)
    done = CliRunner().invoke(app, ["status", str(study.path)])
    assert done.exit_code == 0
    assert printable(done.stdout) == done.stdout
    (line,) = (line for line in done.stdout.splitlines() if "failed:" in line)
    assert line.endswith("forged")


def test_errors_name_hostile_paths_harmlessly() -> None:
    done = CliRunner().invoke(app, ["status", "nowhere\x1b[2J\nqar: all is well"])
    assert done.exit_code == 2
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tables_show_markup_and_escapes_as_text() -> None:
    table = Table("name")
    table.add_row("[bold]x[/bold]\x1b[2J")
    file = io.StringIO()
    console = PlainConsole(file=file, width=80)
    console.print(table)
    console.print("[red]y\x1b[2J")
    assert "[bold]x[/bold]" in file.getvalue()
    assert "[red]y" in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_no_word_of_a_long_line_is_broken() -> None:
    file = io.StringIO()
    path = "/".join(["a-long-folder"] * 12)
    PlainConsole(file=file, width=80).print(f"trouble at {path}; go on with: qar resume {path}")
    assert file.getvalue() == f"trouble at {path}; go on with: qar resume {path}\n"


def test_the_doctor_shows_what_nodes_say_harmlessly() -> None:
    (line,) = check_lines([Check("data set", CheckStatus.FAIL, "node\x1b[2J: \u202eevil\nforged")])
    assert line.plain.endswith("node: evil forged")


def test_findings_are_wrapped_between_words_and_remedies_are_not() -> None:
    remedy = "install the same on every node: pip install --constraint constraints.txt ."
    check = Check("versions", CheckStatus.FAIL, "optuna 5.0.0 on 2, 4.0.0 on 1; torch 2.15.0 on 2", remedy)
    finding, advice = check_lines([check], columns=40)
    assert finding.plain.splitlines() == [
        "fail versions  optuna 5.0.0 on 2, 4.0.0",
        " " * 15 + "on 1; torch 2.15.0 on 2",
    ]
    assert advice.plain == " " * 15 + f"→ {remedy}"
    assert len(check_lines([check])[0].plain.splitlines()) == 1
