"""What docs/policy.md, SECURITY.md and CITATION.cff say is so: version, public names, words."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from types import ModuleType

import public_names
import pytest

import tapegrad

ROOT = Path(__file__).resolve().parents[1]
AGAIN = "run python -m tests.public_names, and say in CHANGELOG.md what was taken away"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_wherever_it_is_said():
    said = {
        "CHANGELOG.md": re.search(r"^## ([\d.]+)", text_of("CHANGELOG.md"), re.MULTILINE)[1],
        "CITATION.cff": re.search(r"^version: (.+)$", text_of("CITATION.cff"), re.MULTILINE)[1],
        "public_names.txt": public_names.listed()[0],
    }
    assert said == dict.fromkeys(said, tapegrad.__version__)
    major_minor = ".".join(tapegrad.__version__.split(".")[:2])
    assert re.search(r"^Version ([\d.]+),", text_of("README.md"), re.MULTILINE)[1] == major_minor
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", tapegrad.__version__)


def test_no_page_says_the_version_in_a_place_of_its_own():
    for page in [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]:
        assert tapegrad.__version__ not in page.read_text(encoding="utf-8"), page


def test_the_citation_has_the_fields_that_cff_1_2_requires():
    text = text_of("CITATION.cff")
    fields = dict(re.findall(r"^([a-z-]+):[ ]*(.*)$", text, re.MULTILINE))
    assert {"cff-version", "message", "title", "authors"} <= set(fields)
    assert fields["cff-version"] == "1.2.0"
    assert fields["type"] in ("software", "dataset")
    authors = text.split("\nauthors:\n")[1].split("\n- ")[0]
    assert re.match(r"  - (name|family-names): \S", authors)
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert (fields["title"], fields["license"]) == (project["name"], project["license"])
    assert project["authors"][0]["name"] in authors
    abstract = " ".join(text.split("abstract: >-\n")[1].split("\nauthors")[0].split())
    assert abstract == project["description"] + "."


@pytest.mark.extra
def test_the_public_names_are_listed():
    assert public_names.public_names() == public_names.listed()[1], AGAIN


def test_what_was_taken_away_is_in_the_changelog():
    entries = re.split(r"\n(?=- |#)", text_of("CHANGELOG.md"))
    said = " ".join(e for e in entries if "→" in e or "removed" in e.casefold())
    unsaid = [
        n for n in public_names.listed()[2] if not re.search(rf"\b{n.split('.')[-1]}\b", said)
    ]
    assert unsaid == [], "CHANGELOG.md says no 'removed' or '→' of these"


def test_a_name_that_is_taken_away_stays_in_the_list_until_the_next_minor_version():
    old = ("0.1.0", {"t.a", "t.b"}, {"t.c"})
    text = public_names.renewed({"t.a", "t.d"}, old, "0.1.1")
    assert text.splitlines()[1:] == ["t.a", "t.d", "removed: t.b", "removed: t.c"]
    text = public_names.renewed({"t.a", "t.d"}, old, "0.2.0")
    assert text.splitlines()[1:] == ["t.a", "t.d", "removed: t.b"]
    text = public_names.renewed({"t.a", "t.b", "t.c"}, old, "0.1.1")
    assert "removed" not in text, "a name that has come back"


@pytest.mark.extra
def test_rooms_that_public_names_lead_to_are_public():
    rooms = public_names.rooms()
    known = set(rooms.values())
    for name, room in rooms.items():
        if name != "tapegrad.nn.mxnet":  # whose row says so of all modules in it
            hidden = [
                n
                for n in room.__all__
                if isinstance(found := getattr(room, n), ModuleType)
                and found.__name__.startswith("tapegrad.")
                and found not in known
            ]
            assert hidden in ([], ["safetensors_file"]), name


@pytest.mark.extra
def test_pages_import_only_what_is_public_or_experimental():
    allowed = {**public_names.rooms(), **public_names.rooms("Experimental")}
    allowed = {room.__name__ for room in allowed.values()}
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text("utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        code = "\n".join(blocks)
        for name in re.findall(r"^\s*from (tapegrad[\w.]*) import", code, re.MULTILINE):
            assert importlib.import_module(name).__name__ in allowed, (page.name, name)


def test_security_names_what_exists_and_no_address():
    text = text_of("SECURITY.md")
    assert not re.search(r"[\w.]+@[\w.]+|https?://", text)
    for path in re.findall(r"`(nn\.[\w.]+)", text):
        found = tapegrad
        for part in path.split("."):
            found = getattr(found, part)
    for name in re.findall(r"`(\w+Error)`", text):
        assert name in tapegrad.errors.__all__
    for command in re.findall(r"`tapegrad (\w+)", text):
        assert f"`{command}`" in tapegrad_commands(), command


def tapegrad_commands() -> str:
    """The line of the command line's own docstring that lists them."""
    return text_of("package/cli.py").partition("\n")[0].replace("`tapegrad ", "`")


def test_the_least_python_is_said_alike():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    least = project["requires-python"].removeprefix(">=")
    rows = re.findall(r"^\| (3\.\d+) \|", text_of("docs/policy.md"), re.MULTILINE)
    assert rows[0] == least
    assert f"Python {least} or later" in text_of("README.md")
    named = [c.split()[-1] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert named == rows, "a classifier for each Python that is tested"
