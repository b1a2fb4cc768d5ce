"""The architecture holds: who imports whom, no circles, files that can be read in a sitting.

The order and the rules stand in structure.py, which also measures: `python tests/structure.py`.
Here the rules are first shown to fire, on a small tree that breaks one at a time, and then this
checkout is held to them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structure
from structure import LONG, RULES, Tree

ROOT = Path(__file__).resolve().parents[1]

# Imports that break a rule and may: (file, what it imports: a file, or a library) -> the reason.
# To cut an arrow is nearly always the better way.
EXCEPTIONS: dict[tuple[str, str], str] = {}
# Files over 500 lines that are read by looking something up, not from top to bottom -> the reason.
LONG_TABLES: dict[str, str] = {}
MOST = 10  # entries of both together

# A tree in the rooms of the order that breaks no rule.
SOUND = {
    "package/__init__.py": "from tapegrad import autograd, devices, nn, optim",
    "devices/__init__.py": "from tapegrad.devices.cuda import *",
    "devices/cuda.py": "def load():\n    import cupy",
    "autograd/__init__.py": "from tapegrad.autograd.core.tensor import Tensor",
    "autograd/core/__init__.py": "",
    "autograd/core/node.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from tapegrad.autograd.core.tensor import Tensor"
    ),
    "autograd/core/tensor.py": "from tapegrad.autograd.core import node",
    "autograd/ops/__init__.py": "from tapegrad.autograd.ops.shape import *",
    "autograd/ops/shape.py": "import tapegrad.devices\nfrom tapegrad.autograd.core import node",
    "autograd/ops/indexing.py": "from tapegrad.autograd.ops.shape import reshape",
    "autograd/replay/step.py": "from tapegrad.autograd.core.tensor import Tensor",
    "autograd/transforms/sample.py": "from tapegrad.autograd import ops",
    "autograd/debug/tape.py": "",
    "autograd/check/laws.py": "from tapegrad.autograd import Tensor",
    "nn/__init__.py": "from tapegrad.nn.layers import *\nfrom tapegrad.nn.module import Module",
    "nn/core/part.py": "from tapegrad.autograd import Tensor",
    "nn/module.py": "from tapegrad.nn.core.part import Part",
    "nn/layers/__init__.py": "from tapegrad.nn.layers.linear import *",
    "nn/layers/linear.py": "from tapegrad.nn.module import Module",
    "nn/criterions/losses.py": "from tapegrad.nn.layers import Linear",
    "nn/mxnet/module.py": "from tapegrad import optim",
    "nn/formats/__init__.py": "from tapegrad.nn.formats import caffe, torch7",
    "nn/formats/common/errors.py": "",
    "nn/formats/caffe/__init__.py": "",
    "nn/formats/caffe/files.py": "from tapegrad.nn.formats.common.errors import FormatError",
    "nn/formats/torch7/__init__.py": "",
    "nn/formats/torch7/files.py": "from tapegrad.nn.criterions.losses import L1",
    "nn/formats/mxnet/files.py": "from tapegrad.nn.mxnet import module",
    "optim/__init__.py": "",
    "optim/rules/sgd.py": "from tapegrad.autograd import Tensor",
}
# The rule, the file, what is added to it, and words of the complaint.
BREACHES = [
    ("between_folders", "autograd/debug/tape.py", "import tapegrad.nn", "may import devices"),
    ("between_folders", "devices/cuda.py", "from tapegrad import nn", "may import no other"),
    (
        "between_folders",
        "optim/rules/sgd.py",
        "def f():\n    from tapegrad.nn import L1",
        "autograd",
    ),
    (
        "between_folders",
        "nn/module.py",
        "from tapegrad.optim.rules.sgd import SGD",
        "nn/ may import",
    ),
    ("between_folders", "optim/rules/sgd.py", "from tapegrad import grad", "autograd, devices"),
    ("outside_rooms", "nn/linear.py", "", "no room 'linear'"),
    ("outside_rooms", "nn/formats/errors.py", "", "no room 'formats/errors'"),
    ("outside_rooms", "nn/formats/keras/files.py", "", "give a new room its place in ORDER"),
    (
        "between_rooms",
        "nn/layers/linear.py",
        "import tapegrad.nn.criterions.huber",
        "layers may import containers, core, methods, module, and not criterions",
    ),
    (
        "between_rooms",
        "nn/layers/linear.py",
        "def f():\n    from tapegrad.nn.criterions.huber import Huber",
        "(inside a function)",
    ),
    (
        "between_rooms",
        "nn/layers/linear.py",
        "import typing\nif typing.TYPE_CHECKING:\n    import tapegrad.nn.criterions.huber",
        "(for annotations)",
    ),
    (
        "between_rooms",
        "nn/layers/linear.py",
        "importlib.import_module('tapegrad.nn.criterions.huber')",
        "a registry",
    ),
    (
        "between_rooms",
        "nn/layers/linear.py",
        "kernels = late_module('tapegrad.nn.criterions.huber')",
        "(inside a function)",
    ),
    ("between_rooms", "nn/layers/linear.py", "from tapegrad.nn.mxnet import module", "not mxnet"),
    ("between_rooms", "nn/criterions/losses.py", "from tapegrad import nn", "is for users"),
    (
        "between_rooms",
        "autograd/debug/tape.py",
        "from tapegrad.autograd import vmap",
        "is for users",
    ),
    (
        "between_rooms",
        "autograd/debug/tape.py",
        "from tapegrad.autograd.transforms import sample",
        "not transforms",
    ),
    ("between_rooms", "autograd/replay/step.py", "from tapegrad.autograd import ops", "not ops"),
    (
        "between_rooms",
        "nn/formats/caffe/files.py",
        "from tapegrad.nn.formats.torch7.files import load",
        "stands in formats/common",
    ),
    ("between_rooms", "nn/formats/torch7/files.py", "import tapegrad.nn.mxnet.module", "not mxnet"),
    ("device_libraries", "nn/module.py", "import cupy as cp", "only devices/ imports cupy"),
    ("device_libraries", "optim/rules/sgd.py", "def f():\n    from mpi4py import MPI", "mpi4py"),
    ("device_libraries", "autograd/ops/shape.py", "__import__('cupyx.jit')", "cupyx.jit"),
    (
        "circles",
        "autograd/ops/shape.py",
        "def f():\n    from tapegrad.autograd.ops.indexing import take",
        "a circle of 2 files: autograd/ops/indexing.py:1 imports tapegrad.autograd.ops.shape",
    ),
    (
        "circles",
        "nn/layers/linear.py",
        "import tapegrad.nn.layers",
        "circle of 2 files: nn/layers/",
    ),
    ("stars", "nn/layers/linear.py", "from tapegrad.nn.module import *", "one by one"),
]


@pytest.fixture(scope="module")
def tree():
    return Tree(ROOT)


def written(root, files):
    """The tree of these files, written below a root."""
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return Tree(root)


def sound(root, **more):
    """The sound tree, with more lines at the end of some files."""
    added = {name: f"{SOUND.get(name, '')}\n{lines}" for name, lines in more.items()}
    return written(root, {**SOUND, "nn/criterions/huber.py": "", **added})


def nothing(found):
    """Fail with what was found, a line each."""
    if found:
        pytest.fail("\n".join([f"{len(found)} found:", *map(str, found)]), pytrace=False)


def test_a_sound_tree_breaks_no_rule(tmp_path):
    assert structure.broken(sound(tmp_path)) == []


@pytest.mark.parametrize(("rule", "file", "lines", "words"), BREACHES)
def test_each_breach_is_seen_by_its_rule_and_only_by_it(rule, file, lines, words, tmp_path):
    tree = sound(tmp_path, **{file: lines})
    found = [(each.__name__, str(broken)) for each in RULES for broken in each(tree)]
    assert [name for name, _ in found] == [rule]
    assert file in found[0][1]
    assert words in found[0][1]


def test_the_order_is_one():
    for folder, rooms in structure.MAY_IMPORT.items():
        for name, allowed in rooms.items():
            assert name not in allowed, f"ORDER[{folder!r}]: {name} stands above itself"


def test_every_rule_has_a_breach():
    assert {rule for rule, *_ in BREACHES} == {rule.__name__ for rule in RULES}


def test_a_complaint_names_file_and_line(tmp_path):
    (broken,) = structure.broken(sound(tmp_path, **{"nn/module.py": "\n\nimport cupy"}))
    assert str(broken).startswith("nn/module.py:4 imports cupy: only devices/ imports cupy.")


def test_a_circle_is_shown_step_by_step_and_with_who_else_is_on_one(tmp_path):
    files = {
        "devices/a.py": "import tapegrad.devices.b",
        "devices/b.py": "import tapegrad.devices.c",
        "devices/c.py": "def f():\n    import tapegrad.devices.b, tapegrad.devices.a",
    }
    (broken,) = structure.circles(written(tmp_path, files))
    assert str(broken).startswith(
        "a circle of 3 files: devices/b.py:1 imports tapegrad.devices.c; "
        "devices/c.py:2 imports tapegrad.devices.b (inside a function). "
    )
    assert str(broken).endswith("On circles with these: devices/a.py.")


def test_an_exception_excuses_one_import_and_must_be_needed(tmp_path):
    tree = sound(
        tmp_path,
        **{
            "nn/layers/linear.py": "from tapegrad.nn.criterions.huber import Huber",
            "nn/module.py": "import cupy",
            "autograd/ops/shape.py": "def f():\n    import tapegrad.autograd.ops.indexing",
        },
    )
    needed = {
        ("nn/layers/linear.py", "nn/criterions/huber.py"),
        ("nn/module.py", "cupy"),
        ("autograd/ops/shape.py", "autograd/ops/indexing.py"),
    }
    assert len(structure.broken(tree)) == 3
    assert structure.broken(tree.without(needed)) == []
    assert structure.needless(tree, needed) == []
    idle = {("nn/module.py", "nn/core/part.py"), ("nn/gone.py", "cupy")}
    assert structure.needless(tree, needed | idle) == sorted(idle)


def test_the_table_counts_rooms_arrows_and_circles(tmp_path):
    flat = written(
        tmp_path / "flat",
        {
            "nn/module.py": "def f():\n    import tapegrad.nn.linear",
            "nn/linear.py": "import tapegrad.nn.module, tapegrad.nn.axes",
            "nn/axes.py": "#\n" * (LONG + 1),
        },
    )
    rooms = sound(tmp_path / "rooms", **{"nn/core/part.py": "import tapegrad.nn.layers.linear"})
    found = structure.measures(flat, "nn")
    assert found == {
        "files": "3",
        "rooms": "3",
        "arrows": "3",
        "arrows up": "1*",
        "circles of rooms": "2",
        "circles of files at import": "0",
        "circles of files in functions too": "2",
        "function-level imports": "1",
        "imports for annotations": "0",
        "files over 500 lines": "1",
    }
    found = structure.measures(rooms, "nn")
    assert (found["rooms"], found["arrows up"], found["circles of rooms"]) == ("7", "1", "3")
    assert "3 -> 7" in structure.table(flat, rooms)
    assert "501 lines: nn/axes.py" in structure.table(flat)


@pytest.mark.extra
def test_the_table_of_this_checkout_is_printed_beside_an_older_one(tmp_path, capsys):
    sound(tmp_path)
    structure.main([str(tmp_path)])
    titles = [line.partition("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert {"rooms", "arrows", "arrows up", "function-level imports"} <= set(titles)


# This checkout


@pytest.mark.extra
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_this_tree_keeps(rule, tree):
    nothing(list(rule(tree.without(EXCEPTIONS))))


@pytest.mark.extra
def test_exceptions_are_few_have_a_reason_and_are_needed(tree):
    assert len(EXCEPTIONS) + len(LONG_TABLES) <= MOST
    assert all(reason.strip() for reason in [*EXCEPTIONS.values(), *LONG_TABLES.values()])
    nothing(
        [
            f"EXCEPTIONS: nothing breaks without {file} -> {target}, take it out"
            for file, target in structure.needless(tree, EXCEPTIONS)
        ]
    )


@pytest.mark.extra
def test_files_can_be_read_in_a_sitting(tree):
    long = {file for file, lines in tree.lines.items() if lines > LONG}
    found = [
        f"{file} has {tree.lines[file]} lines: at most {LONG}, or it is two ideas. Split it by "
        "subject; a table that is only looked up in may be listed in LONG_TABLES."
        for file in sorted(long - set(LONG_TABLES))
    ]
    found += [
        f"{file} is no longer over {LONG} lines: take it out of LONG_TABLES"
        for file in sorted(set(LONG_TABLES) - long)
    ]
    nothing(found)


# Imports each module in a process of its own, with nothing of tapegrad there before but the folders
# below it. The packages that it lies in are left empty, unless it imports them itself: otherwise
# `import tapegrad.nn.linear` would first run all of tapegrad and nn, and prove little.
ALONE = """
import gc, json, os, sys, traceback
from importlib import import_module
from importlib.util import find_spec, module_from_spec
import hypothesis, numpy, opt_einsum, pytest  # other people's, once for all

def load(module, emptied):
    for package in emptied:
        if package not in sys.modules:
            sys.modules[package] = module_from_spec(find_spec(package))
    import_module(module)

for modules, then in json.load(sys.stdin):
    for module, emptied in modules.items():
        sys.stdout.flush()
        if os.fork() == 0:
            try:
                load(module, emptied)
            except BaseException as error:
                at = traceback.extract_tb(error.__traceback__)[-1]
                said = f"{module}: {type(error).__name__}: {error} ({at.filename}:{at.lineno})"
                print(said, flush=True)
            os._exit(0)
        if status := os.wait()[1]:
            print(f"{module}: the process ended with {status}")
    if then:
        load(then, ["tapegrad"])
        gc.freeze()
print("done")
"""


@pytest.mark.extra
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked for each module")
def test_every_module_can_be_the_first_that_is_imported(tree):
    points_to = structure.graph((i.file, i.target) for i in tree.ours("start"))

    def folder(file):
        first = file.partition("/")[0]
        return "check" if file.startswith("autograd/check/") else first

    def modules(*folders):
        """Module -> the packages around it that it does not import."""
        found = {}
        for module, file in tree.files.items():
            parts = module.split(".")
            around = [".".join(parts[:end]) for end in range(1, len(parts))]
            needs = structure.reached(file, points_to)
            if folder(file) in folders:
                found[module] = [name for name in around if tree.files.get(name) not in needs]
        return found

    steps = [
        (modules("package"), None),
        (modules("devices"), "tapegrad.devices"),
        (modules("autograd"), "tapegrad.autograd"),
        (modules("check", "nn", "optim"), None),
    ]
    assert sum(len(found) for found, _ in steps) == len(tree.files)
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        check=False,
    )
    *found, last = done.stdout.splitlines() or [""]
    nothing(found if last == "done" else [*found, last, done.stderr])
