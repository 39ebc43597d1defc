"""report.html in a real Chromium: what it shows, what its switches and keys do, and that it keeps to itself."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.levels import FAMILIES
from analysis.report.findings import Findings, load_findings
from analysis.report.html import write_html
from analysis.study import read_studies
from tests.support.chromium import Page
from tests.support.example_studies import confirm_study, make_explored_study, make_study, write_plan_study

pytestmark = pytest.mark.chromium

SHOWN = [family for family in FAMILIES if family in ("none", "RS", "RC", "RM", "RE")]
"""Families of the example study, in their order."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study and its confirmation."""
    folder = tmp_path_factory.mktemp("report")
    study = make_explored_study(folder / "explored")
    confirm_study(study)
    return write_html([load_findings(study.path)], folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with Page() as page:
        yield page


@pytest.fixture
def page(browser: Page, report: Path) -> Iterator[Page]:
    """The page as it is when it is opened; after the test, it must have had no trouble and asked for nothing else."""
    browser.troubles.clear()
    browser.requests.clear()
    browser.open(report)
    browser.run("localStorage.clear()")
    yield browser
    assert browser.troubles == []
    assert browser.requests == [report.resolve().as_uri()]


def counted(page: Page) -> int:
    """Return the number of points that the page says it shows."""
    found = re.match(r"Showing (\d+) of", page.text("#shown"))
    assert found
    return int(found[1])


def marks(page: Page) -> list[str]:
    """Keys of the points that have a mark of their own: those of the front, and confirmed ones."""
    return list(page.run("[...document.querySelectorAll('#plot [data-point]')].map((mark) => mark.dataset.point)"))


def chosen(page: Page) -> str:
    return page.text("#details h3").split("\n")[0]


def search_view(page: Page, phase: str = "finetune") -> None:
    page.click("input[name=split][value=validation]")
    page.click(f"input[name=phase][value={phase}]")


def test_confirmed_results_are_shown_first(page: Page) -> None:
    assert page.run("document.querySelector('input[name=split]:checked').value") == "test"
    assert {key[0] for key in marks(page)} == {"c"}
    assert page.run("document.querySelectorAll('#plot .bar').length") == counted(page) == len(marks(page))
    assert page.text("#details .badge") == "confirmed"
    assert re.search(r"0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]\s+test accuracy", page.text("#details .big"))


def test_search_is_drawn_in_another_way_than_what_is_confirmed(page: Page) -> None:
    search_view(page, "regularize")
    page.click("input[value=confirmed]")
    assert page.run("document.querySelectorAll('#plot .bar').length") == 0
    assert {key[0] for key in marks(page)} == {"s"}
    assert page.run("document.querySelectorAll('#plot .crowd').length") > 0
    assert counted(page) == 18, "of 20 trials, the float baseline is a line and one has failed"
    page.click("input[name=phase][value=finetune]")
    assert counted(page) == 15, "three were stopped before they were tuned"


@pytest.mark.parametrize(("control", "hidden"), [("RM", 6), ("none", 3), ("stopped early", 3), ("complete", 15)])
def test_filter_takes_its_points_away_and_brings_them_back(control: str, hidden: int, page: Page) -> None:
    search_view(page, "regularize")
    page.click("input[value=confirmed]")
    before, drawn = counted(page), marks(page)
    page.click(f"input[value='{control}']")
    assert counted(page) == before - hidden
    page.click(f"input[value='{control}']")
    assert (counted(page), marks(page)) == (before, drawn)


def test_front_is_that_of_what_is_shown(page: Page) -> None:
    """At K = 4 alone RE has the highest accuracy and the most bits, so each family is on the front."""
    search_view(page)
    page.click("input[value=confirmed]")
    for name, value in (("lowest", 4), ("highest", 4)):
        page.run(f"{name}.value = {value}; {name}.dispatchEvent(new Event('change'))")
    assert counted(page) == len(marks(page)) == 5
    page.click("input[value=RE]")
    assert counted(page) == len(marks(page)) == 4


def test_range_of_levels_stays_in_order(page: Page) -> None:
    page.run("highest.value = 2; highest.dispatchEvent(new Event('change'))")
    page.run("lowest.value = 8; lowest.dispatchEvent(new Event('change'))")
    assert page.run("[lowest.value, highest.value]") == ["8", "8"]


def test_families_stand_in_the_order_of_the_figures(page: Page) -> None:
    assert page.run("[...document.querySelectorAll('#families input')].map((input) => input.value)") == SHOWN


def test_nothing_to_show_is_said(page: Page) -> None:
    for family in SHOWN:
        page.click(f"input[value={family}]")
    assert "nothing to show" in page.text("#plot")
    assert page.text("#details") == "No point is chosen."


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize(("phase", "words"), [("finetune", "after tuning"), ("regularize", "before tuning")])
def test_switches_change_what_is_measured(split: str, phase: str, words: str, page: Page) -> None:
    page.click(f"input[value={split}]")
    page.click(f"input[value={phase}]")
    assert f"{split} accuracy, {words}" in page.text("#plot")
    assert counted(page) > 0


def test_mouse_over_a_point_shows_its_details(page: Page) -> None:
    search_view(page)
    page.click("input[value=confirmed]")
    page.point(*page.middle("#plot [data-point='s0:1']"))
    assert chosen(page) == "none, K = 2"
    text = page.text("#details")
    for part in ("1 (explored-00001)", "kmeans", "4 of 4", "regularize", "finetune", "explored --trial 1"):
        assert part in text
    assert page.run("document.querySelectorAll('#details .chart .curve').length") == 2


def test_click_holds_a_point_until_escape(page: Page) -> None:
    first, second = marks(page)[:2]
    page.point(*page.middle(f"#plot [data-point='{first}']"), click=True)
    held = chosen(page)
    page.point(*page.middle(f"#plot [data-point='{second}']"))
    assert chosen(page) == held
    page.run("plot.focus()")
    page.press("Escape")
    page.point(*page.middle(f"#plot [data-point='{first}']"))
    page.point(*page.middle(f"#plot [data-point='{second}']"))
    assert chosen(page) != held


def test_keyboard_alone_reaches_a_point_and_its_details(page: Page) -> None:
    for _ in range(40):
        page.press("Tab")
        if page.run("document.activeElement.id") == "plot":
            break
    assert page.run("document.activeElement.id") == "plot"
    assert page.run("getComputedStyle(plot).outlineStyle") == "solid", "the focus can be seen"
    page.press("Home")
    seen = [chosen(page)]
    for _ in range(len(marks(page)) - 1):
        page.press("ArrowRight")
        seen.append(chosen(page))
        assert page.text("#spoken").startswith(f"{seen[-1]}, confirmed, test accuracy 0.")
    assert len(set(seen)) == len(marks(page))
    page.press("ArrowLeft")
    assert chosen(page) == seen[-2]
    page.press("Enter")
    assert page.run("document.activeElement.id") == "details"
    page.press("Escape")
    assert page.run("document.activeElement.id") == "plot"


def test_arrows_up_and_down_go_through_all_points(page: Page) -> None:
    search_view(page)
    page.click("input[value=all]")
    page.run("plot.focus()")
    page.press("ArrowDown", times=40)
    seen = set()
    for _ in range(counted(page)):
        seen.add((chosen(page), page.text("#details .big")))
        page.press("ArrowUp")
    assert len(seen) == counted(page)


def test_point_that_was_stopped_early_says_where(page: Page) -> None:
    search_view(page, "regularize")
    page.click("input[value=confirmed]")
    page.click("input[value=complete]")
    page.click("input[value=all]")
    text = page.text("#details")
    assert "stopped early after 1 of 4" in text
    assert "stopped here" in text


def test_command_can_be_copied(page: Page) -> None:
    page.click("#details .command button")
    page.run("new Promise((resolve) => setTimeout(resolve, 200))")
    assert page.text("#details .command button") == "Copied"
    assert re.fullmatch(r"qar reproduce \S+/explored/confirm --trial \d+", page.text("#details .command code"))


@pytest.mark.parametrize("table", ["confirmed", "front"])
def test_tables_are_sorted_by_a_click_on_their_head(table: str, page: Page) -> None:
    rows = f"[...document.querySelectorAll('[data-table={table}] tbody tr')]"
    cells = f"{rows}.map((row) => Number(row.cells[4].dataset.value))"
    header = f"[data-table={table}] th:nth-child(5) button"
    page.click(header)
    assert page.run(cells) == sorted(page.run(cells))
    page.click(header)
    assert page.run(cells) == sorted(page.run(cells), reverse=True)
    assert page.run(f"document.querySelector('[data-table={table}] th:nth-child(5)').ariaSort") == "descending"


def test_row_of_a_table_leads_to_its_point(page: Page) -> None:
    page.click("input[value=RE]")
    page.click("[data-table=front] tbody tr:last-child button")
    row = page.run("document.querySelector('[data-table=front] tbody tr:last-child').dataset.point")
    assert page.run("document.querySelector('input[name=split]:checked').value") == "validation"
    assert f"--trial {row.removeprefix('s0:')}" in page.text("#details")
    assert page.run("document.activeElement.id") == "details"
    page.click("#details > button")
    assert page.text("#details .badge") == "confirmed"


def test_dark_and_light_follow_the_system_and_the_button(page: Page, report: Path) -> None:
    def ground() -> int:
        """Return the lightness of the page's background; 0 is black."""
        return int(page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))

    assert ground() > 200
    page.prefer_dark(True)
    assert ground() < 60
    page.click("#theme")
    assert ground() > 200
    page.open(report)
    assert ground() > 200, "it is remembered"
    page.prefer_dark(False)
    page.requests.pop()


def test_every_control_has_a_name(page: Page) -> None:
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "checkbox", "radio", "combobox", "application", "region", "link"}
    named = [(node["role"]["value"], node["name"]["value"]) for node in nodes if node["role"]["value"] in controls]
    assert {"button", "checkbox", "radio", "application"} <= {role for role, _ in named}
    assert [role for role, name in named if not name.strip()] == []


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_page_fits_its_window(width: int, page: Page) -> None:
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.run("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    assert page.run("Math.abs(plot.firstChild.viewBox.baseVal.width - plot.clientWidth)") <= 1, "text keeps its size"
    page.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)


@pytest.mark.parametrize("width", [360, 1280])
def test_confirmed_marks_stay_inside_the_plot(width: int, page: Page) -> None:
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    page.run("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    marks = "[...document.querySelectorAll('#plot .confirmed')].map((mark) => mark.getBBox().x + mark.getBBox().width)"
    right = page.run("plot.firstChild.viewBox.baseVal.width")
    ends = page.run(marks)
    assert ends
    assert max(ends) <= right
    page.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)


def test_page_is_readable_without_its_script(report: Path) -> None:
    with Page(scripts=False) as page:
        page.open(report)
        text = page.send("DOM.getOuterHTML", nodeId=page.send("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
        tree = page.send("Accessibility.getFullAXTree")["nodes"]
        said = " ".join(node["name"]["value"] for node in tree if node["role"]["value"] in ("StaticText", "cell"))
    assert 'id="explorer" aria-labelledby="explorer-title" hidden' in text
    for part in ("Confirmed results", "Front of the search", "explored-00012", "Optimism", "kmeans", "none"):
        assert part in said
    assert "along the front" not in said, "what does nothing isn't shown"


def test_texts_of_a_study_are_harmless(browser: Page, tmp_path: Path) -> None:
    """A name, a folder and a failure that would be markup if they were not escaped."""
    name = "<script>alert(1)</script>"
    study = make_explored_study(tmp_path / "<img src=x onerror=alert(2)>")
    settings = yaml.safe_load(study.study_yaml.read_text())
    settings["name"] = name
    settings["trial"]["model"] = "</script><script>alert(3)</script>"
    study.study_yaml.write_text(yaml.safe_dump(settings))
    browser.troubles.clear()
    browser.open(write_html([load_findings(study.path)], tmp_path))
    assert browser.text("h1") == f"Report of {name}"
    assert "</script><img src=x onerror=alert(1)>" in browser.text("[data-table=failures]")
    assert browser.run("[document.scripts.length, document.images.length]") == [2, 0]
    assert "qar reproduce '" in browser.text("#details .command code")
    assert browser.troubles == []


def test_policy_lets_no_script_of_others_run(page: Page) -> None:
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert page.run("window.ran === undefined")
    assert "Content Security Policy" in page.troubles.pop()


def test_several_studies_are_told_apart(browser: Page, tmp_path: Path) -> None:
    studies = [make_explored_study(tmp_path / name, name, bonus=bonus) for name, bonus in (("a", 0.0), ("b", 0.01))]
    browser.troubles.clear()
    browser.open(
        write_html([Findings(study=study) for study in read_studies([study.path for study in studies])], tmp_path)
    )
    assert browser.text("h1") == "Report of a and b"
    assert counted(browser) == 30
    assert browser.run("document.querySelectorAll('#plot .front').length") == 2
    assert {key[:2] for key in marks(browser)} == {"s0", "s1"}
    browser.click("#studies input[value=a]")
    assert counted(browser) == 15
    assert {key[:2] for key in marks(browser)} == {"s1"}
    assert "not confirmed" in browser.text(".note")
    assert browser.troubles == []


@pytest.mark.parametrize("trials", [{"ended": False}, {}])
def test_small_and_unfinished_studies_have_a_page(trials: dict[str, Any], browser: Page, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", **trials)
    browser.troubles.clear()
    browser.open(write_html([load_findings(study.path)], tmp_path))
    assert counted(browser) == 2
    assert ("has not finished: 4 of 5" in browser.text("main")) == bool(trials)
    assert browser.troubles == []


@pytest.mark.parametrize("tested", [True, False])
def test_results_of_a_plan_are_means_and_nothing_is_called_a_search(
    tested: bool, browser: Page, tmp_path: Path
) -> None:
    write_plan_study(tmp_path / "planned", tested=tested)
    browser.troubles.clear()
    browser.open(write_html([load_findings(tmp_path / "planned")], tmp_path))
    split = "test" if tested else "validation"
    assert browser.text("#details .badge") == "mean over seeds"
    assert f"{split} accuracy" in browser.text("#details .big")
    assert browser.run("document.querySelectorAll('#plot .bar').length") == 6
    for text in ("as searched", "of the search", "confirm"):
        assert text not in browser.text("main").lower(), text
    assert browser.troubles == []
