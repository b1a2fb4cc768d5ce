"""How-to pages: each answers one question, shortly, with code that runs (tests/test_readme.py)."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from page_tables import complaints, spans, world
from sitebuilder.pages import code_blocks, read_pages

ROOT = Path(__file__).resolve().parents[1]
PAGES = read_pages()
HOWTO = {path: page for path, page in PAGES.items() if path.startswith("howto/")}
ANSWERS = sorted(path for path in HOWTO if path != "howto/index.md")
TOPICS = (
    *("tensor|array|variable", "layer", "loss", "optimizer", "training-loop", "data", "saving"),
    *("device", "debug", "script"),
)
MIGRATION = sorted(
    path for path in PAGES if path.startswith("migration/") and path != "migration/index.md"
)


@pytest.mark.parametrize("path", ANSWERS)
def test_a_page_is_a_question_its_code_and_a_group(path):
    page = HOWTO[path]
    assert page.title.startswith("How to ") or page.title.endswith("?")
    assert page.meta.keys() >= {"area", "order"}
    assert code_blocks(page.source, "python")
    assert len(page.source.splitlines()) <= 120, "one question, in at most a screen and a half"


def test_no_two_pages_have_one_place_in_the_order():
    orders = [HOWTO[path].meta["order"] for path in ANSWERS]
    assert len(set(orders)) == len(orders)


# "weights.npz" is a file, and a full path says where it begins
MODULES = sorted(
    {name for name, value in world().items() if isinstance(value, ModuleType)}
    - {"weights", "tapegrad"}
)


@pytest.mark.parametrize("path", ANSWERS + MIGRATION)
def test_a_page_imports_the_modules_that_its_tables_name(path):
    text = PAGES[path].source
    named = re.compile(rf"(?<![\w.])({'|'.join(MODULES)})\.\w")
    used = {module for _, code in spans(text) for module in named.findall(code)}
    lines = "\n".join(re.findall(r"\bimport [\w, ]+", text))
    missing = sorted(m for m in used if not re.search(rf"\b{m}\b", lines))
    assert not missing, f"say where {missing} come from: (The table also needs `from … import …`.)"


EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow"}


def brought(commands):
    """The distributions that pip commands install, those of our extras included."""
    found = set()
    for word in re.findall(r"[\w.-]+(?:\[[^\]]*\])?", commands):
        name, _, extras = word.partition("[")
        found.add(name)
        if name == "tapegrad":
            for extra in filter(None, extras.rstrip("]").split(",")):
                found |= {re.split(r"[^\w.-]", need)[0].lower() for need in EXTRAS[extra.strip()]}
    return found


def foreign(page):
    """The distributions of other people that the code of a page imports."""
    tree = ast.parse("".join(code_blocks(page.source, "python")))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}
    roots -= {"numpy", "tapegrad", *sys.stdlib_module_names}
    return {DISTRIBUTIONS.get(root, root) for root in roots}


@pytest.mark.parametrize("path", ANSWERS + MIGRATION)
def test_a_page_says_what_must_be_installed(path):
    page = PAGES[path]
    commands = " ".join(re.findall(r"pip install ([^`\n]*)", page.source))
    missing = foreign(page) - brought(commands)
    assert not missing, f"say `pip install …` of {missing}"


@pytest.mark.parametrize("path", MIGRATION)
def test_a_page_of_migration_has_their_code_ours_and_what_is_missing(path):
    page = PAGES[path]
    assert any(code_blocks(page.source, language) for language in ("py", "lua", "scala"))
    assert code_blocks(page.source, "python")
    headings = " ".join(page.anchors)
    for topic in TOPICS:
        assert re.search(topic, headings), topic
    assert any("no equivalent" in anchor.replace("-", " ") for anchor in page.anchors)


@pytest.mark.parametrize("path", sorted(PAGES))
def test_commands_in_shell_blocks_exist(path):
    lines = [
        command.strip()
        for block in code_blocks(PAGES[path].source, "sh")
        for line in block.splitlines()
        for command in line.partition("#")[0].split("&&")
    ]
    wrong = [what for c in lines if c.startswith("tapegrad ") for what in complaints(c)]
    assert wrong == []
