"""What a file of a room declares is to be found at the front door, without a list to remember."""

import importlib
import pkgutil

import pytest

from tapegrad import nn
from tapegrad.autograd import ops, primitives
from tapegrad.nn.core.own import own_classes

# Classes that no user makes: what others are made of, or bases of a family.
INSIDE = {
    "AbstractRecurrent": "base of the layers of one step",
    "Bidirectional": "base of SeqBLSTM and SeqBGRU",
    "Gate": "a part of LSTM",
    "Masked": "base of the layers that mask steps of zeros",
    "Peephole": "a part of LSTM",
    "Remembering": "base of what remembers states between sequences",
}


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
    assert [
        name for name, function in own.items() if getattr(ops, name, None) is not function
    ] == []
    assert own.keys() <= set(ops.__all__)


@pytest.mark.parametrize("door", [nn, ops], ids=lambda door: door.__name__)
def test_no_name_is_handed_on_twice(door):
    assert len(door.__all__) == len(set(door.__all__))
