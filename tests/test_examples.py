"""Every public name has an example, in its docstring, in docs/examples/ or on a page.

The examples of docs/examples/ run while the site is built, which shows what they show; here they
run in a process of their own, since some register a class, a back end or an operation.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sitebuilder import written
from sitebuilder.examples import seen
from sitebuilder.names import public_names
from sitebuilder.notebooks import notebook_pages
from sitebuilder.pages import code_blocks, read_pages
from sitebuilder.usage import used_names

ROOT = Path(__file__).resolve().parents[1]

FILE = """import numpy as np

import math

scale = 2
table = [0, 0]
table[1] = scale
other = math.pi
from string import digits, hexdigits

# %% maximum minimum
np.maximum(table[1], 1)


# %% hypot
# %% arctan2
def half(x):
    # what is halved
    return x / 2


half(np.hypot(3, 4))  # 5 / 2
_ = half(1)
math.sin(0.0) + np.arctan2(0, 1)

# %% LinAlgError
np.linalg.inv(np.zeros((2, 2)))

# %% ValueError
raise ValueError(" ".join(digits * 5))
"""


@pytest.fixture
def examples(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.py").write_text(FILE, encoding="utf-8")
    return written.examples(tmp_path)


def test_an_example_is_shown_as_at_a_prompt(examples):
    assert list(examples) == [
        f"tapegrad.a.b.{name}"
        for name in ("maximum", "minimum", "hypot", "arctan2", "LinAlgError", "ValueError")
    ]
    assert written.run(examples["tapegrad.a.b.hypot"]).splitlines() == [
        ">>> import numpy as np",
        ">>> import math",
        ">>> def half(x):",
        "...     # what is halved",
        "...     return x / 2",
        ">>> half(np.hypot(3, 4))  # 5 / 2",
        "np.float64(2.5)",
        ">>> _ = half(1)",
        ">>> math.sin(0.0) + np.arctan2(0, 1)",
        "np.float64(0.0)",
    ]


def test_what_stands_above_is_shown_as_far_as_it_is_used(examples):
    text = written.run(examples["tapegrad.a.b.minimum"])
    assert text.splitlines() == [
        ">>> import numpy as np",
        ">>> scale = 2",
        ">>> table = [0, 0]",
        ">>> table[1] = scale",
        ">>> np.minimum(table[1], 1)",  # the first name is replaced
        "np.int64(1)",
    ]


def test_the_error_that_an_example_is_about_is_shown(examples):
    text = written.run(examples["tapegrad.a.b.LinAlgError"])
    assert text.endswith("    ...\nLinAlgError: Singular matrix")
    lines = written.run(examples["tapegrad.a.b.ValueError"]).splitlines()
    assert lines[0] == ">>> from string import digits"  # and not hexdigits, which it does not use
    assert lines[-1].startswith("    ")  # a long message goes on
    assert max(map(len, lines)) <= written.WIDTH


def test_where_a_library_is_missing_the_code_alone_is_shown(monkeypatch):
    lacking = written.Example(("a",), "import no_such_library\n", "a = no_such_library.a\na\n")
    monkeypatch.setattr(written, "examples", lambda: {"tapegrad.a": lacking})
    assert written.shown("tapegrad.a").splitlines() == [
        ">>> import no_such_library",
        ">>> a = no_such_library.a",
        ">>> a",
    ]
    assert written.shown("tapegrad.b") == ""


def test_bad_examples_are_found(tmp_path):
    (tmp_path / "front_door.py").write_text(
        "# %% fails\nfails = 1 / 0\n# %% quiet\nquiet = 1\n# %% where\nwhere = object()\nwhere\n"
        "# %% absent\n1 + 1\n# %% good\ngood = 1\ngood\n",
        encoding="utf-8",
    )
    found = [line.partition("\n")[0] for line in written.problems(written.examples(tmp_path))]
    assert found == [
        "tapegrad.fails: ZeroDivisionError: division by zero",
        "tapegrad.quiet: shows nothing",
        "tapegrad.where: shows an address in memory, or a folder of one run:",
        "tapegrad.absent: does not use its name",
    ]
    (tmp_path / "twice.py").write_text("# %% a a\na = 1\na\n", encoding="utf-8")
    written.examples.cache_clear()
    with pytest.raises(ValueError, match="two examples of a"):
        written.examples(tmp_path)


def used_on_pages() -> Iterator[str]:
    """The names that code on a written page or in a notebook uses."""
    for page in read_pages().values():
        yield from (name.path for name in used_names(code_blocks(page.source, "python")))
    for notebook in notebook_pages(execute=False):
        yield from (name.path for name in used_names(notebook.code))


@pytest.mark.extra
def test_every_public_name_has_an_example():
    names = public_names()
    known = {*seen(), *written.examples(), *used_on_pages()}
    known |= {path for path, name in names.items() if ">>>" in name.doc}
    assert [path for path in names if path not in known] == [], (
        "write an example of each: in its docstring, or in the file of its namespace in "
        "docs/examples/ (docs/sitebuilder/written.py says how)"
    )
    assert sorted(set(written.examples()) - set(names)) == []


@pytest.mark.extra
def test_the_examples_run_and_show_something():
    code = (
        "from sitebuilder import written\n"
        "print(''.join(line + '\\n' for line in written.problems(written.examples())), end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "docs",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
