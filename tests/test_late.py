"""What is put off at import comes when it is asked for, and is what it would have been."""

import copy
import functools
import importlib
import inspect
import pickle
import sys

import numpy as np
import pytest

import tapegrad
from tapegrad import autograd, ops
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.signatures import (
    DeclaredParameters,
    names_of_parameters,
    parameters_in,
    parameters_of,
)


def test_a_late_module_is_imported_by_the_first_call_and_only_then(tmp_path, monkeypatch):
    (tmp_path / "counts_its_imports.py").write_text("import sys\nsys.counted += 1\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "counted", 0, raising=False)
    module = late_module("counts_its_imports")
    assert sys.counted == 0
    assert module().number == 3
    assert module() is sys.modules.pop("counts_its_imports")
    assert sys.counted == 1
    assert module().number == 3
    assert sys.counted == 1


@pytest.mark.parametrize("door", [tapegrad, autograd], ids=lambda door: door.__name__)
def test_every_name_of_a_door_is_there_and_stays_the_same(door):
    for name in door.__all__:
        assert getattr(door, name) is getattr(door, name), name
    assert set(door.__all__) <= set(dir(door))
    with pytest.raises(
        AttributeError, match=rf"module '{door.__name__}' has no attribute 'nosuch'"
    ):
        _ = door.nosuch


def test_replay_is_the_function_and_not_the_folder_of_its_name():
    importlib.import_module("tapegrad.autograd.replay.step")
    assert inspect.isfunction(autograd.replay)
    assert tapegrad.replay is autograd.replay


# Bodies -------------------------------------------------------------------------------------------


def test_a_late_body_is_made_once_when_it_is_first_needed(monkeypatch):
    declaration = sys.modules["tapegrad.autograd.core.declaration"]
    monkeypatch.setattr(declaration, "_numba", [True])
    made = []

    def double(xp, x):
        return xp.add(x, x)

    primitive = autograd.Primitive(double, differentiable=False)

    @primitive.on("numba", late=True)
    def _():
        made.append(lambda xp, x: 2 * x)
        return made[-1]

    assert made == []
    assert primitive.body_for(np) is made[0]
    assert primitive.body_for(np) is made[0]
    assert primitive.bodies == {"numba": made[0]}
    assert len(made) == 1
    primitive.on("numba", late=True)(lambda: double)  # another in its place, which is replaced too
    primitive.on("numba")(made[0])
    assert primitive.body_for(np) is made[0]


@pytest.mark.parametrize("x", [np.eye(2), np.eye(2)[0]], ids=str)
def test_the_late_body_of_matmul_takes_what_the_plain_one_does(x):
    primitive = ops.matmul.primitive
    found = primitive.body_for(np)
    assert tuple(inspect.signature(found).parameters) == ("xp", "x1", "x2", "out")
    np.testing.assert_array_equal(found(np, x, x + 1), primitive.body(np, x, x + 1))


# What parameters a function has -------------------------------------------------------------------


def _marked():
    def function(xp, x): ...

    function.mark = True
    return function


def _with_signature():
    def function(a, b, c): ...

    function.__signature__ = inspect.signature(lambda xp, x, *, size=2: None)
    return function


@functools.wraps(_marked())
def _wrapping(a, b, c): ...


class _Callable:
    def __call__(self, xp, x, *, size=2): ...


FUNCTIONS = [
    lambda: None,
    lambda xp, x: None,
    lambda xp, x=None, y=1: None,
    lambda xp, x, /, y, *, size, step=2: None,
    lambda xp, *xs, size=0, **more: None,
    lambda *, size: None,
    _marked(),
    _with_signature(),
    _wrapping,
    _Callable(),
    _Callable().__call__,
    functools.partial(lambda xp, x, y: None, y=2),
]


def _annotated(xp: int, xs: list[int], *, size: "float", step: int = 1) -> float:
    total = step  # a variable, which is no parameter
    total += size
    return total


@pytest.mark.parametrize("function", [*FUNCTIONS, _annotated, *(ops.conv2d, ops.where)])
def test_parameters_are_those_of_the_signature(function):
    found, signature = parameters_of(function), inspect.signature(function)
    assert names_of_parameters(function) == tuple(signature.parameters)
    expected = parameters_in(signature)
    assert found[:3] == expected[:3]
    own = {name: found.annotations.get(name) for name in signature.parameters}
    assert own == {name: expected.annotations.get(name) for name in signature.parameters}
    for p in signature.parameters.values():
        assert (p.name in found.settings) == (p.kind is p.KEYWORD_ONLY)
        assert found.defaults.get(p.name, p.empty) is p.default


def test_parameters_by_name_alone_have_no_defaults():
    assert DeclaredParameters(("x",)) == (("x",), (), {}, {})


@pytest.mark.parametrize("first", [hash, str, copy.copy, inspect.Signature.replace, pickle.dumps])
def test_the_signature_of_a_primitive_is_whole_whatever_reads_it_first(first):
    @autograd.primitive
    def some_own_primitive_of_this_test(xp, x, weight=None, *, axes, eps=1e-5): ...

    try:
        signature = some_own_primitive_of_this_test.__signature__
        first(signature)
        expected = inspect.signature(lambda x, weight=None, *, axes, eps=1e-5: None)
        assert signature == expected
        assert str(signature) == "(x, weight=None, *, axes, eps=1e-05)"
        assert copy.copy(signature) == signature == pickle.loads(pickle.dumps(signature))
        assert inspect.signature(some_own_primitive_of_this_test) == expected
        with pytest.raises(AttributeError, match="nosuch"):
            _ = signature.nosuch
    finally:
        registry = sys.modules["tapegrad.autograd.core.declaration"]._registry
        del registry["some_own_primitive_of_this_test"]
