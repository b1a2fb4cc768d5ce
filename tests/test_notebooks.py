"""Notebooks run from top to bottom and are stored without outputs.

Each is executed in a kernel of this very interpreter, from another directory, as a reader would
run it; a cell that raises fails the test. Stored outputs would go stale and hide what changed.
"""

import json
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def test_there_is_a_notebook():
    assert [path.name for path in NOTEBOOKS][:1] == ["00_quickstart.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert set(cell["metadata"]) <= {"tags"}
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}


@pytest.mark.extra
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="pip install 'tapegrad[ci]'")
    nbformat = pytest.importorskip("nbformat", reason="pip install 'tapegrad[ci]'")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    question = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    notebook.cells.insert(0, question)
    nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    assert notebook.cells[0].outputs[0].text.strip() == sys.executable
    # What a cell says on standard error is a warning that a reader would see.
    errors = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert not errors
