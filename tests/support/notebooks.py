"""Notebooks: execution in a fresh kernel of this interpreter."""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient


def read_notebook(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def execute(path: Path, cwd: Path) -> Any:
    """Return a notebook after all its cells were executed in a folder; the first cell that raises ends it."""
    notebook = read_notebook(path)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(notebook, timeout=1500, kernel_name="python3", resources={"metadata": {"path": str(cwd)}})
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        if cell.cell_type == "code":  # what libraries say about the kernel's packages is of no interest
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":  # executes the notebook of the docs anew, in a folder that is given
    import sys

    source = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
    nbformat.write(execute(source, Path(sys.argv[1])), source)
