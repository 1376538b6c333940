"""The notebook of `docs/` runs as it stands."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "python.ipynb"
LIMIT_S = 300


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_the_stored_outputs_are_small():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert 0 < len(str(outputs(notebook))) < 8000
    assert not [output for output in outputs(notebook) if output.output_type == "error"]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    ran = NotebookClient(notebook, timeout=LIMIT_S, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "\n".join(str(output) for output in outputs(ran))
    assert "numerals, front" in printed
    assert "stderr" not in printed
    assert not list(tmp_path.iterdir())
