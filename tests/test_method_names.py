"""The page of names that mean two things (nn/methods/conflicts.md) says what is so.

It is read as text: each row of its tables and each list of its last section.  What a row says of
today is compared with the classes, and a public method that the page does not know fails.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CRITERIONS, MODULES, WITHOUT_FILES

from tapegrad import nn, optim
from tapegrad.autograd.check import Draws
from tapegrad.nn.formats import torch7
from tapegrad.nn.methods.bigdl.spellings import python_spelling

PAGE = Path(nn.__file__).parent / "methods" / "conflicts.md"
TEXT = PAGE.read_text(encoding="utf-8")
OWNERS = ["Module", "Container", "Sequential", "gModule", "Criterion"]
TODAY = re.compile(r"\b(\w+): (method|property|attribute|absent)\b")
REFUSED = re.compile(r"`([^`]+)` is a (TypeError|ValueError): ([^.;]+)")
LISTS = re.compile(r"^- \*\*(.+), (there already|free to add):\*\* (.+)$", re.MULTILINE)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


COLUMNS = cells("name | Torch7 | BigDL | PyTorch and Python | today | decision | returns | error")
LINES = [cells(line) for line in TEXT.splitlines() if line.startswith("|")]
ROWS = [row for row in LINES if row != COLUMNS and set(row) != {"---"}]
NAMES = [row[0].strip("`") for row in ROWS]
LISTED = {
    (system, status): re.findall(r"`(\w+)`", names) for system, status, names in LISTS.findall(TEXT)
}
ALREADY = [name for (_, s), names in LISTED.items() for name in names if s == "there already"]
FREE = [name for (_, s), names in LISTED.items() for name in names if s == "free to add"]


def is_added(row: list[str]) -> bool:
    """Whether the row puts a name on Module that is not there yet."""
    return "Module: absent" in row[4] and row[5].startswith("Added") and "to gModule" not in row[5]


# What Module will have as methods and has not today.
PLANNED = [*FREE, *(row[0].strip("`") for row in ROWS if is_added(row))]


def samples() -> dict[str, Any]:
    """An instance of each class that the column `today` names, and of the base classes."""
    node = nn.node(nn.Identity())
    linear = nn.Linear(2, 2)
    found = [
        nn.Sequential(linear, nn.Tanh()),
        nn.gModule(node, linear(node)),
        nn.Profile(linear),
        nn.GPU(linear, 1),
        nn.View(2),
        nn.Reshape(2),
        nn.MSECriterion(),
        nn.MarginCriterion(),
        nn.L1Cost(),
        nn.MultiCriterion(),
        node,
    ]
    named = {type(each).__name__: each for each in found}
    bases = {"Module": nn.Tanh(), "Container": found[0], "Criterion": nn.Criterion()}
    return named | bases


SAMPLES = samples()


def kind(owner: str, name: str) -> str:
    """What `name` is for the class called `owner`: method, property, attribute or absent."""
    cls = getattr(nn, owner)
    missing = object()
    inherited = inspect.getattr_static(cls, name, missing)
    if inherited is not inspect.getattr_static(object, name, missing):
        if isinstance(inherited, property):
            return "property"
        return "method" if callable(inherited) else "attribute"
    return "attribute" if name in vars(SAMPLES[owner]) else "absent"


# The page -------------------------------------------------------------------------------------


def test_there_are_rows_and_lists() -> None:
    assert len(ROWS) >= 40
    assert {"Torch7", "PyTorch", "BigDL's modules", "BigDL's criterions"} <= {s for s, _ in LISTED}
    assert len(FREE) + len(ALREADY) >= 150


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_each_row_has_all_columns(row: list[str]) -> None:
    assert len(row) == len(COLUMNS)
    assert all(row), "an empty cell: write — for nothing"
    assert re.fullmatch(r"`\w+`", row[0])
    assert TODAY.search(row[4]), "the column `today` says `Class: method`, `property`, …"


def test_every_table_has_the_columns() -> None:
    heads = [row for row in LINES if row[0] == "name"]
    assert heads
    assert all(head == COLUMNS for head in heads)


def test_each_name_is_listed_once() -> None:
    every = [*NAMES, *ALREADY, *FREE]
    assert sorted(every) == sorted(set(every))


# What it says of today ------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_the_classes_are_today_what_the_row_says(row: list[str]) -> None:
    name = row[0].strip("`")
    for owner, said in TODAY.findall(row[4]):
        assert kind(owner, name) == said, f"{owner}.{name}"


@pytest.mark.parametrize(
    ("call", "error", "words"), [found for row in ROWS for found in REFUSED.findall(row[4])]
)
def test_what_the_page_says_is_refused_today_is_refused(call: str, error: str, words: str) -> None:
    names = {"m": nn.Linear(2, 2), "c": SAMPLES["Container"], "s": nn.Sequential(nn.Tanh())}
    names |= {"g": SAMPLES["gModule"], "node": SAMPLES["GraphNode"], "optim": optim}
    with pytest.raises({"TypeError": TypeError, "ValueError": ValueError}[error]) as caught:
        eval(call, names)
    assert words.strip() in str(caught.value)


def test_clone_takes_names_of_fields_or_one_bool() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    for arguments, shared in [((), False), (("weight",), True), ((True,), False), ((False,), True)]:
        weight = model.clone(*arguments).get(0).weight.detach().numpy()
        assert np.shares_memory(weight, model.get(0).weight.detach().numpy()) == shared
    with pytest.raises(ValueError, match="no module below has a field 'nosuch'"):
        model.clone("nosuch")
    with pytest.raises(TypeError, match="names of fields, or one bool"):
        model.clone(True, False)


def test_what_is_there_already_is_there() -> None:
    for name in ALREADY:
        assert any(kind(owner, name) != "absent" for owner in OWNERS), name


@pytest.mark.parametrize("owner", OWNERS)
def test_what_is_free_to_add_is_absent(owner: str) -> None:
    assert [name for name in FREE if kind(owner, name) != "absent"] == []


@pytest.mark.parametrize("owner", OWNERS)
def test_the_page_knows_every_public_name(owner: str) -> None:
    public = {name for name in dir(getattr(nn, owner)) if not name.startswith("_")}
    bigdl = [name for (s, _), names in LISTED.items() if s.startswith("BigDL") for name in names]
    spelled = map(python_spelling, [*bigdl, *NAMES])
    assert public <= {*NAMES, *ALREADY, *spelled}


def modules_of_all_classes() -> list[nn.Module]:
    cases = (MODULES | CRITERIONS).values()
    return [part for draw in cases for part in draw(Draws(0)).module.listModules()]


def test_no_attribute_of_ours_has_the_name_of_a_method_that_modules_have_or_get() -> None:
    names = {*PLANNED, *(name for name in ALREADY if kind("Module", name) == "method")}
    hidden = {
        (type(module).__name__, name)
        for module in modules_of_all_classes()
        for name in vars(module).keys() & names
    }
    assert hidden == set()


# Adding a method to Module --------------------------------------------------------------------


class Kept(nn.Module):
    """A person's class, with attributes that have the names of methods to come."""

    def __init__(self) -> None:
        self.inputs, self.quantize, self.layers = 3, "int8", [nn.Linear(2, 2)]

    def updateOutput(self, x: Any) -> Any:
        return self.layers[0](x)


@pytest.fixture
def add_methods(monkeypatch: pytest.MonkeyPatch) -> Any:
    def add() -> None:
        for name in PLANNED:
            monkeypatch.setattr(nn.Module, name, lambda self, *_: self, raising=False)

    return add


def with_and_without_the_methods(module: nn.Module, path: Path, add_methods: Any) -> None:
    module.save(path)
    before = nn.load(path, classes=[Kept])
    add_methods()
    assert vars(nn.load(path, classes=[Kept])).keys() == vars(before).keys()


@pytest.mark.extra
@pytest.mark.parametrize("name", sorted({*MODULES, *CRITERIONS} - {"gModule", *WITHOUT_FILES}))
def test_a_new_method_leaves_files_as_they_are(name: str, tmp_path: Path, add_methods: Any) -> None:
    module = (MODULES | CRITERIONS)[name](Draws(0)).module
    with_and_without_the_methods(module, tmp_path / "m.safetensors", add_methods)


@pytest.mark.parametrize("module", [SAMPLES["gModule"], Kept()], ids=["gModule", "Kept"])
def test_a_new_method_with_the_name_of_an_attribute_leaves_files_readable(
    module: nn.Module, tmp_path: Path, add_methods: Any
) -> None:
    with_and_without_the_methods(module, tmp_path / "m.safetensors", add_methods)


@pytest.mark.parametrize("name", ["lenet", "mlp_flattened", "shared"])
def test_a_new_method_leaves_torch7_files_as_they_are(name: str, add_methods: Any) -> None:
    file = Path(__file__).parent / "data" / "torch7" / "t7" / f"{name}.bin.t7"
    before = [vars(part).keys() for part in torch7.load(file).listModules()]
    add_methods()
    assert [vars(part).keys() for part in torch7.load(file).listModules()] == before
