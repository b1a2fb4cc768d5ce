"""CHANGELOG.md is true: what was renamed has its new name, and not the old one beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tapegrad
from tapegrad import autograd, devices, nn, optim
from tapegrad.autograd import check, ops
from tapegrad.autograd.check.functions import FunctionTrial
from tapegrad.autograd.check.modules import ModuleTrial
from tapegrad.autograd.core.former import FORMER
from tapegrad.autograd.debug import tape
from tapegrad.autograd.ops import batch_rules, scipy_ufuncs
from tapegrad.autograd.surface import coverage
from tapegrad.devices import strict
from tapegrad.nn.core import files

TEXT = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
SECTION = TEXT.split("### Renamed before the first release\n")[1].split("\n## ")[0]
ENTRIES = [re.sub(r"\s+", " ", entry) for entry in f"\n{SECTION}".split("\n- ")[1:]]
NAME = r"`[\w.]+(?:\(\))?`"  # an entry with arguments is about these, and is not read here
NAMES = rf"({NAME}(?:(?:,| and) {NAME})*)"


SUBJECTS = [
    "Gradients",
    "NumPy's and SciPy's functions",
    "Modules",
    "Training",
    "Files",
    "Homes for Torch7, BigDL and MXNet",
    "Speed",
    "Scaling out",
    "Checking",
    "Command line, hints and types",
    "Documentation and packaging",
]


def last_parts(names: str) -> list[str]:
    return [name.rstrip("()").split(".")[-1] for name in re.findall(r"`(.+?)`", names)]


def renamed(clause: str) -> Iterator[tuple[str, str]]:
    """The pairs (old, new) of a clause such as "`a`, `b` → `x`, `y`", or "`a` → `x`, `b` → `y`"."""
    several = clause.count("→") == 1
    for old, new in re.findall(f"{NAMES} → {NAMES}" if several else f"({NAME}) → ({NAME})", clause):
        if len(last_parts(old)) == len(last_parts(new)):
            yield from zip(last_parts(old), last_parts(new), strict=True)


RENAMED = [pair for entry in ENTRIES for part in re.split("[;:] ", entry) for pair in renamed(part)]
HOMES = [
    tapegrad, autograd, ops, batch_rules, check, coverage, devices, files, nn, optim, scipy_ufuncs,
    strict, tape, FunctionTrial, ModuleTrial, check.Draws(), nn.Conv1d(1, 1, 1), optim.Callback,
    optim.Checkpoints, optim.ExponentialMovingAverage, optim.SGD(nn.Linear(1, 1), lr=1),
    optim.Trainer, tapegrad.Tensor,
]  # fmt: skip


def test_entries_stand_under_subjects_in_one_order():
    version = TEXT.split("\n## ")[1]
    before, *sections = version.split("\n### ")
    assert "\n- " not in before, f"move the entry under one of {SUBJECTS}"
    titles = [section.partition("\n")[0] for section in sections]
    assert titles == [*SUBJECTS, "Renamed before the first release"]
    assert all("\n- " in section for section in sections)
    entries = re.findall(r"^- .*(?:\n  .*)*", version, re.MULTILINE)
    assert len(entries) == len(set(entries)) == len(re.findall(r"^- ", version, re.MULTILINE))
    plain = re.sub(
        r"^(- .*(?:\n  .*)*|### .*|.*unreleased.*|\s*)$", "", version, flags=re.MULTILINE
    )
    assert not plain.strip(), "text that belongs to no entry"


def test_the_section_has_renames_and_each_once():
    assert len(RENAMED) > 40
    assert len(RENAMED) == len(set(RENAMED))
    assert [entry for entry in ENTRIES if "→" not in entry] == []


@pytest.mark.parametrize(("old", "new"), RENAMED, ids=lambda name: name)
def test_a_renamed_thing_has_its_new_name_alone_or_warns(old, new):
    homes = [home for home in HOMES if hasattr(home, new)]
    assert homes, f"nothing is called {new}"
    warns = any(former.old.endswith(f".{old}()") and new in former.new for former in FORMER)
    assert warns or [home for home in homes if hasattr(home, old)] == []
