"""What a file of a room declares is to be found at the front door, without a list to remember."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tapegrad import nn, optim
from tapegrad.autograd import ops, primitives
from tapegrad.nn.core.own import own_classes
from tapegrad.optim.core.rule import UpdateRule

# Classes that no user makes: what others are made of, or bases of a family.
INSIDE = {
    "AbstractRecurrent": "base of the layers of one step",
    "Cell": "base of BigDL's recurrent cells",
    "Bidirectional": "base of SeqBLSTM and SeqBGRU",
    "Gate": "a part of LSTM",
    "Kept": "what missing='keep' leaves of a class of BigDL that is not here",
    "Masked": "base of the layers that mask steps of zeros",
    "OnnxGraph": "nn.formats.onnx.OnnxGraph: what nn.load makes of ONNX's files",
    "Peephole": "a part of LSTM",
    "Remembering": "base of what remembers states between sequences",
    "SymbolLayer": "a part of MXNet's SymbolModule",
    "SymbolModule": "mx.SymbolModule: what nn.load makes of MXNet's files",
}


# Rules that are called as functions only.
WITHOUT_CLASS = {"nag"}


def import_all_of(package):
    """Import every file of a package, so that one which nobody imports is seen."""
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)


def test_every_layer_container_and_criterion_is_handed_on():
    import_all_of(nn)
    own = {c.__name__: c for c in own_classes(nn.Module).values() if c.__name__[0] != "_"}
    hidden = {name for name, cls in own.items() if getattr(nn, name, None) is not cls}
    assert hidden == set(INSIDE), (
        "a public class of nn that `nn` does not have: put its name into its file's __all__, and "
        "its file into the room's __init__"
    )
    assert {name for name in own if name not in nn.__all__} == hidden


def test_every_primitive_of_ops_is_handed_on():
    import_all_of(ops)
    own = {n: f for n, f in primitives().items() if f.__module__.startswith(f"{ops.__name__}.")}
    assert len(own) > 200
    hidden = [name for name, function in own.items() if getattr(ops, name, None) is not function]
    assert hidden == [], (
        "a primitive that `ops` does not have: put its name into its file's __all__, and its file "
        "into the room's __init__"
    )
    assert own.keys() <= set(ops.__all__)


def test_every_rule_of_an_optimizer_is_handed_on():
    import_all_of(optim)
    files = [file for name, file in sys.modules.items() if name.startswith(f"{optim.__name__}.")]
    rules = {
        n: rule for file in files for n, rule in vars(file).items() if isinstance(rule, UpdateRule)
    }
    assert len(rules) > 10
    hidden = [name for name, rule in rules.items() if getattr(optim, name, None) is not rule]
    assert hidden == [], "a rule that `optim` does not have: put its name into its file's __all__"
    assert rules.keys() <= set(optim.__all__)
    found = {c for file in files for c in vars(file).values() if isinstance(c, type)}
    classes = {c for c in found if issubclass(c, optim.Optimizer) and c is not optim.Optimizer}
    assert {c.__name__ for c in classes} <= set(optim.__all__), "put it into its file's __all__"
    ran = {cls.rule for cls in classes}
    assert {name for name, rule in rules.items() if rule not in ran} == WITHOUT_CLASS, (
        "a rule that no optimizer runs: give it a class, in its own file"
    )


def test_every_option_of_an_optimizer_has_a_word_in_its_rules_docstring():
    rules = {n: r for n in optim.__all__ if isinstance(r := getattr(optim, n), UpdateRule)}
    silent = [
        f"{name}: {option}"
        for name, rule in rules.items()
        for option in rule.options
        if not re.search(rf"\b{option}\b", rule.__doc__ or "")
    ]
    assert silent == [], "say in the rule's docstring what the option is"


@pytest.mark.extra
def test_every_format_is_there_when_nn_is():
    """A room of formats registers itself when it is imported: when formats are asked for."""
    rooms = {path.parent.name for path in Path(nn.formats.__file__).parent.glob("*/files.py")}
    code = (
        "import sys; from tapegrad import nn;"
        "assert not any(name.startswith('tapegrad.nn.formats') for name in sys.modules);"
        "kinds = nn.core.files.formats();"
        "print(*(kind.load.__module__.split('.')[3] for kind in kinds))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert set(found.split()) == rooms, "import the room in nn/formats/__init__.py"


@pytest.mark.parametrize("door", [nn, ops, optim], ids=lambda door: door.__name__)
def test_no_name_is_handed_on_twice(door):
    assert len(door.__all__) == len(set(door.__all__))
