"""README and docs are true: their code prints what they say; the README's commands are CI's."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
PAGES = {
    page.relative_to(ROOT if page.name == "README.md" else ROOT / "docs").as_posix(): blocks
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "python" in dict(blocks := BLOCK.findall(page.read_text(encoding="utf-8")))
}
SETUP = "python3 -m venv .venv && . .venv/bin/activate && "
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


# Runs programs in folders that it is told on standard input, each in a fork of its own: to import
# NumPy and tapegrad takes longer than most pages.  A fork leaves the loop and ends as any program.
FORKS = """
import os, runpy, sys
import numpy, tapegrad
from tapegrad import nn, optim

def begin(folder):
    os.chdir(folder)
    for number, file in enumerate((os.devnull, "printed", "errors")):
        opened = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv[:], sys.path[0] = ["example.py"], folder

while folder := os.read(0, 4096).decode().rstrip():
    if not (child := os.fork()):
        begin(folder)
        runpy.run_path("example.py", run_name="__main__")
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def program():
    """Runs example.py in a folder; returns its exit status, what it printed, and its errors."""
    command = [sys.executable, "-W", "error", "-c", FORKS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forks:

        def run(folder):
            forks.stdin.write(f"{folder}\n")
            forks.stdin.flush()
            status = int(forks.stdout.readline())
            return status, *((folder / name).read_text() for name in ("printed", "errors"))

        yield run
        forks.stdin.close()


# The README by default, what is in docs/ with what is extra: a page runs for some seconds.
@pytest.mark.parametrize(
    "page",
    ["README.md", *(pytest.param(p, marks=pytest.mark.extra) for p in PAGES if p != "README.md")],
)
def test_the_code_runs_from_top_to_bottom_and_prints_what_follows_it(page, tmp_path, program):
    # In a process of its own: one block declares a wrong primitive, which must not outlive it.
    code = "".join(text for language, text in PAGES[page] if language == "python")
    shown = "".join(text for language, text in PAGES[page] if language == "text")
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    status, printed, errors = program(tmp_path)
    assert status == 0, errors
    printed = printed.replace(f"{tmp_path}{os.sep}", "")
    # Decimal fractions are the machine's; all else is compared as it stands.
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown)
    for number, claim in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        assert float(number) == pytest.approx(float(claim), rel=0.05)


def test_the_first_example_is_a_layer_and_its_training_loop_in_fifteen_lines():
    first = next(text for language, text in BLOCKS if language == "python")
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) == 15
    assert "class " in first
    assert "for " in first
    assert max(map(len, lines)) <= 100


def test_the_two_commands_that_set_up_a_fresh_machine_are_there_once():
    lines = [line for _, text in BLOCKS for line in text.splitlines()]
    assert [line for line in lines if line.startswith(SETUP)] == [
        SETUP + "pip install '.[demo]' && tapegrad demo",
        SETUP + "pip install -e '.[test]' && pytest",
    ]


def test_every_extra_is_described():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    for extra in extras:
        assert re.search(rf"^\| `{extra}` ", page, flags=re.MULTILINE), extra


def test_it_can_be_read_in_a_sitting():
    assert len(README.splitlines()) < 200


def test_every_file_that_it_links_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" not in target, "links lead into the repository"
        assert (ROOT / target).exists(), target
