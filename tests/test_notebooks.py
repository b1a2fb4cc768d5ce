"""Notebooks run from top to bottom and are stored without outputs.

Each is executed in a kernel of this very interpreter, from another directory, as a reader would
run it; a cell that raises fails the test. Stored outputs would go stale and hide what changed:
whoever wants executed copies names a folder in the environment variable TAPEGRAD_EXECUTED.
"""

import ast
import json
import os
import re
import sys
import time
from pathlib import Path

import gallery_page
import pytest

FOLDER = gallery_page.NOTEBOOKS
NOTEBOOKS = [
    path for path in sorted(FOLDER.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts
]
OF_GALLERY = [path for path in NOTEBOOKS if path.parent == gallery_page.GALLERY]
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
of_gallery = pytest.mark.parametrize("path", OF_GALLERY, ids=lambda path: path.stem)

# With this a notebook learns for seconds, and without it as long as it takes to be good.
FAST = 'fast = bool(os.environ.get("TAPEGRAD_GALLERY_FAST"))'
# Seconds of processor time that a notebook may take; three times what the longest takes here.
LIMIT = 36
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def code_of(path):
    return [text for kind, text in gallery_page.cells_of(path) if kind == "code"]


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS][:1] == ["00_quickstart.ipynb"]
    assert OF_GALLERY


@every_notebook
def test_it_is_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert set(cell["metadata"]) <= {"tags"}
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}


@every_notebook
def test_its_links_lead_somewhere(path):
    for kind, text in gallery_page.cells_of(path):
        if kind == "markdown":
            for target in LINK.findall(text):
                assert (path.parent / target).exists(), target


@of_gallery
def test_it_can_be_run_fast_and_proves_that_it_learned(path):
    cells = code_of(path)
    assert FAST in cells[0].splitlines()
    assert any(re.search(r"\bfast\b", text) for text in cells[1:])
    last = [node for text in cells[-2:] for node in ast.walk(ast.parse(text))]
    assert any(isinstance(node, ast.Assert) for node in last)
    kind, text = gallery_page.cells_of(path)[-1]
    assert kind == "markdown"
    assert text.startswith("Go on with")


def test_the_gallery_is_numbered_and_listed():
    numbers = [int(path.name.partition("_")[0]) for path in OF_GALLERY]
    assert numbers == list(range(1, len(numbers) + 1))
    made = gallery_page.page()
    assert gallery_page.PAGE.read_text(encoding="utf-8") == made, "python tests/gallery_page.py"


def seconds_of_children():
    used = os.times()
    return used.children_user + used.children_system


@pytest.mark.extra
@every_notebook
def test_it_runs(path, tmp_path, figures):
    nbclient = pytest.importorskip("nbclient", reason="pip install 'tapegrad[ci]'")
    nbformat = pytest.importorskip("nbformat", reason="pip install 'tapegrad[ci]'")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    question = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    notebook.cells.insert(0, question)
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    # Matrices are small here: a second BLAS thread gains nothing, and costs where cores are shared.
    asked = {"TAPEGRAD_GALLERY_FAST": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    began, used = time.perf_counter(), seconds_of_children()
    client.execute(env={**asked, **os.environ})
    wall, used = time.perf_counter() - began, seconds_of_children() - used
    assert notebook.cells[0].outputs[0].text.strip() == sys.executable
    # What a cell says on standard error is a warning that a reader would see.
    errors = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert not errors
    figures(f"{path.stem}: {used:.1f} s of a processor, {wall:.1f} s")
    if folder := os.environ.get("TAPEGRAD_EXECUTED"):
        executed = Path(folder, path.relative_to(FOLDER))
        executed.parent.mkdir(parents=True, exist_ok=True)
        del notebook.cells[0]
        nbformat.write(notebook, executed)
    fast = bool(os.environ.get("TAPEGRAD_GALLERY_FAST", "1"))
    assert not fast or used < LIMIT
