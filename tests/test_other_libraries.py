"""The runs against other libraries: tables, workers that may crash, causes."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))

from others import running  # noqa: E402  # its folder is set before
from others.causes import CAUSES, CLASSES, cause_of  # noqa: E402
from others.tables import function_of, rows  # noqa: E402


def proofs():
    """Names of the proofs in benchmarks/found, by reading."""
    return {
        node.name
        for path in (ROOT / "benchmarks" / "found").glob("in_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    }


def test_every_fault_in_the_table_of_causes_has_its_proof():
    real = {cause.cause for cause in CAUSES if cause.kind == "real"}
    assert real <= proofs(), real - proofs()


def test_causes_are_of_known_classes_and_libraries():
    assert {cause.kind for cause in CAUSES} <= set(CLASSES) - {"unclassified"}
    patterns = {cause.library for cause in CAUSES}
    assert patterns <= {"*", "torch_*", *running.LIBRARIES}
    for cause in CAUSES:
        re.compile(cause.text if cause.text != "*" else ".")


def test_the_first_line_that_fits_is_the_cause():
    known = cause_of("torch_functions", "special.sinc", "its_second_derivative_is_right", "x")
    assert (known.kind, known.cause) == ("real", "sinc_second")
    unknown = cause_of("jax", "jax jnp.abs", "its_gradient_is_linear_in_the_cotangent", "x")
    assert unknown.kind == "unclassified"


def test_a_line_of_a_table_is_a_subject():
    [one, other] = rows("f {2,3} | x ** $ | N C > 0 | kinks=True\n# a remark\n")
    assert (one.name, other.name) == ("f 2", "f 3")
    assert function_of(other, {})(2) == 8
    assert one.inputs[0].low == 0
    assert one.options == {"kinks": True}
    [two] = rows("g | a + b | N; N below C")
    assert function_of(two, {})(1, 2) == 3


@pytest.mark.extra
@pytest.mark.parametrize(
    ("library", "needs", "least"),
    [("torch_modules", "torch", 240), ("torch_functions", "torch", 300), ("hips", "autograd", 260),
     ("jax", "jax", 130)],
)  # fmt: skip
def test_the_tables_can_be_read(library, needs, least):
    try:
        importlib.metadata.version(needs)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"no {needs}")
    # in its own process, where `import autograd` is HIPS's and not the folder of the repository
    code = f"from others.running import subjects; print(len(subjects({library!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert int(done.stdout or 0) >= least, done.stderr


@pytest.mark.extra
def test_a_subject_that_ends_the_process_is_a_record(monkeypatch, tmp_path):
    (tmp_path / "crashing.py").write_text(
        "import os, types\n"
        "def holds(profile): return types.SimpleNamespace(outcomes=[])\n"
        "def crash(profile): os.kill(os.getpid(), 11)\n"
        "def raises(profile): raise ValueError('no')\n"
        "SUBJECTS = {'a': holds, 'b': crash, 'c': raises}\n"
    )
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import sys\nsys.path[:0] = [{str(ROOT / 'benchmarks')!r}, {str(tmp_path)!r}]\n"
        "from others import running\nrunning.LIBRARIES['test'] = 'crashing'\n"
        "import json\nrunning.work('test', json.loads(sys.stdin.read()), 60, 'pr')\n"
    )
    monkeypatch.setattr(running, "WORKER", [sys.executable, str(driver)])
    monkeypatch.setattr(running, "subjects", lambda _: dict.fromkeys("abc", types.SimpleNamespace))
    found = {record.name: record.end for record in running.records("test", minutes=2)}
    assert found == {"a": "", "b": "ended by signal 11", "c": "ValueError: no"}
