"""The notebook of the docs: it runs from top to bottom in a fresh kernel."""

from pathlib import Path
from typing import Any

import pytest

from study import Study
from tests.support.notebooks import execute, read_notebook

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
MOST_BYTES = 200_000


def kinds(notebook: Any) -> list[list[str]]:
    """Types of the outputs of each cell of code, without the streams that libraries may use."""
    return [
        sorted({kind for output in cell.outputs for kind in output.get("data", {})})
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    executed = execute(NOTEBOOK, tmp_path)
    assert sum("image/png" in types for types in kinds(executed)) == 1
    assert sum("text/html" in types for types in kinds(executed)) == 3, "tables"
    for name, trials in (("notebook", 6), ("own-loop", 3)):
        known = Study.open(tmp_path / "studies" / name)
        assert (known.status().state, len(known.trials())) == ("finished", trials)


def test_notebook_is_small_and_links_lead_somewhere() -> None:
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    assert [cell.cell_type for cell in read_notebook(NOTEBOOK).cells].count("code") == 8


def test_notebook_is_stored_as_it_was_executed() -> None:
    notebook = read_notebook(NOTEBOOK)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "from top to bottom"
    assert [output.output_type for cell in notebook.cells for output in cell.get("outputs", ())].count("error") == 0
    assert sum("image/png" in types for types in kinds(notebook)) == 1
    assert sum("text/html" in types for types in kinds(notebook)) == 3, "tables"
