"""The engine's own contracts: plans, records, observers and interpreters, generated source."""

import ast
import inspect
import linecache
import pdb  # noqa: T100  # a debugger is what is tried
import traceback
from pathlib import Path

import numpy as np
import pytest

from tapegrad import (
    AnomalyError,
    Parameter,
    Tensor,
    checkpoint,
    custom_vjp,
    detect_anomaly,
    grad,
    nn,
    no_grad,
    ops,
    replay,
    vmap,
)
from tapegrad.autograd.core import mode
from tapegrad.autograd.core.node import Node, Plan, parents_of, record_call
from tapegrad.autograd.debug.tape import Tape
from tapegrad.autograd.transforms.variables import variable


class ByHand(nn.Module):
    """Doubles, and says so in a gradient of its own."""

    def updateOutput(self, x):
        return x * 2

    def updateGradInput(self, x, gradOutput):
        return gradOutput * 2


def records():
    """A node of each kind of record, by name."""
    x = Parameter([0.5, 2.0])
    return {
        "one operand": ops.tanh(x)._node,
        "two operands": (x * x)._node,
        "a list": ops.concatenate([x, Tensor([1.0]), x])._node,
        "a result of several": ops.split(x, 2)[1]._node,
        "a variable": variable(x)._node,
        "a checkpoint": checkpoint(ops.exp)(x)._node,
        "a checkpoint of several results": checkpoint(lambda x: [x + 1, x * 2])(x)[0]._node,
        "a module by hand": nn.Sequential().add(ByHand())(x)._node,
    }


# Plans and records --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", records())
def test_a_plan_is_all_that_the_protocol_names(name):
    node = records()[name]
    plan = node.plan
    assert Plan in type(plan).__mro__
    named = set(Plan.__annotations__)
    assert named == {"mask", "names", "primitive", "pull", "push", "sources"}
    for attribute in named:
        getattr(plan, attribute)
    assert type(plan).restrict is not Plan.restrict
    assert len(plan.names) == len(plan.sources) == len(node.saved)
    push = plan.push_for((0,))
    assert push.by_rule + push.the_rest == (0,)
    assert callable(push.function) == bool(push.by_rule)
    pull, taken = plan.restrict((0,))
    assert callable(pull)
    assert all(0 <= i < len(node.saved) for i in taken)
    if plan.primitive is not None:
        assert len(plan.mask) == len(plan.primitive.arguments)


@pytest.mark.parametrize("name", records())
def test_the_tape_and_anomaly_mode_read_every_kind_of_record(name):
    with detect_anomaly():
        node = records()[name]
        y = Tensor(np.zeros(2)).with_node(node)
        assert repr(node.plan) in {entry.operation for entry in Tape(y)}
        if node.shape is not None:
            with pytest.raises(AnomalyError, match="a NaN comes into the reverse"):
                y.with_node(node).backward([np.nan] * 2)


def test_whoever_reads_plans_asks_them_for_what_is_promised():
    """No `getattr(plan, …, None)`: the protocol is what there is."""
    for name in ("debug.tape", "debug.anomaly", "reverse.sweep", "transforms.checkpoint"):
        module = __import__(f"tapegrad.autograd.{name}", fromlist=["x"])
        assert 'plan, "' not in inspect.getsource(module)


def test_a_record_has_one_parent_or_a_tuple_and_the_form_of_its_result():
    first, second = Parameter([1.0])._node, Parameter([2.0])._node
    plan = ops.add.primitive.plan((True, True))
    array = np.zeros((2, 3), np.float32)
    one, two, none = (
        record_call(plan, parents, (), array) for parents in ((first,), (first, second), ())
    )
    assert one.parents is first
    assert parents_of(one) == (first,)
    assert two.parents == parents_of(two) == (first, second)
    assert none.parents == parents_of(none) == ()
    assert one.serial < two.serial < none.serial
    assert (one.shape, one.dtype) == ((2, 3), np.float32)
    several = record_call(plan, (first,), (), [array, array])
    assert several.shape is None
    assert several.dtype is None


def test_specialised_calls_write_the_record_that_record_call_makes():
    x, w = Parameter([1.0, 2.0]), Parameter([3.0, 4.0])
    fast = (x * w)._node
    with mode.install_observer(mode.Observer()):  # which takes the general way
        general = (x * w)._node
    assert fast.serial < general.serial
    for slot in ("plan", "parents", "saved", "shape", "dtype"):
        a, b = getattr(fast, slot), getattr(general, slot)
        assert type(a) is type(b)
        if slot == "saved":
            assert all(p is q for p, q in zip(a, b, strict=True))
        else:
            assert a == b
    assert set(Node.__slots__) == {
        "__weakref__", "serial", "plan", "parents", "saved", "shape", "dtype",
    }  # fmt: skip


# Observers and interpreters -----------------------------------------------------------------------


class Listener(mode.Observer):
    """Notes what it is told."""

    def __init__(self):
        self.calls, self.handed, self.open = [], [], None

    def call(self, primitive, operands, settings, results):
        self.calls.append(primitive.name)
        if self.open is not None:
            self.handed.append((*self.open, primitive.name))

    def before_delivery(self, node, parent):
        self.open = repr(node.plan), tuple(parent.shape)

    def after_delivery(self, node):
        assert self.open is not None
        self.open = None


def test_the_sweep_tells_an_observer_what_it_fits_and_adds_up():
    row, x = Parameter(np.ones((1, 3))), Parameter(np.ones((2, 3)))
    listener = Listener()
    with mode.install_observer(listener):
        y = ops.exp(x)
        (row * y + y).sum().backward()
    assert listener.open is None
    # what multiply hands to the row is summed over an axis, what it hands to y is added up
    assert ("multiply", (1, 3), "sum") in listener.handed
    assert ("multiply", (2, 3), "add") in listener.handed
    assert {name for _, _, name in listener.handed} == {"sum", "add"}


def test_after_an_error_in_what_the_sweep_adds_up_the_next_call_is_a_call_again():
    x = Parameter(np.array([1e-9]))
    with detect_anomaly():
        with pytest.raises(AnomalyError, match="added to what reached") as kept:
            (x * 1e308 + x * 1.7e308).sum().backward()
        with pytest.raises(AnomalyError, match="log makes the first NaN"):
            np.log(Tensor([-1.0]))  # while the traceback of the first holds the sweep
    assert kept.value.phase == "reverse"


def test_a_forwarder_tells_the_outer_observer_everything():
    told = {n for n, f in vars(mode.Observer).items() if inspect.isfunction(f)}
    assert told <= set(vars(mode.Forwarder))
    listener = Listener()
    forwarder = mode.Forwarder(listener)
    with mode.install_observer(forwarder):
        (Parameter(np.ones((1, 3))) * Tensor(np.ones((2, 3)))).sum().backward()
    assert ("multiply", (1, 3), "sum") in listener.handed
    assert listener.open is None


def test_an_interpreter_takes_the_calls_and_an_observer_hears_of_what_it_makes_of_them():
    class Negated(mode.Interpreter):
        def interpret(self, primitive, operands, settings, aux):
            token = mode.switch_mode(mode.make_mode(True, mode.observer(), None))
            try:
                return -primitive.function(*operands, **settings)
            finally:
                mode.reset_mode(token)

    listener = Listener()
    token = mode.switch_mode(mode.Mode(True, listener, Negated()))
    try:
        assert mode.is_followed()
        y = ops.exp(Tensor(np.zeros(2)))
        with no_grad():  # which changes neither
            z = ops.exp(Tensor(np.zeros(2)))
    finally:
        mode.reset_mode(token)
    assert y.tolist() == z.tolist() == [-1.0, -1.0]
    assert listener.calls == ["exp", "negative"] * 2
    assert not mode.is_followed()


def test_anomaly_mode_inside_a_batch_sees_the_calls_on_the_whole_batch():
    def f(x):
        with detect_anomaly():
            return np.log(x - 1)

    np.testing.assert_allclose(vmap(f)(np.array([2.0, 3.0])), np.log([1.0, 2.0]))
    with pytest.raises(AnomalyError, match=r"log makes the first NaN.*the first at \[1\]"):
        vmap(f)(np.array([2.0, 0.5]))


def test_anomaly_mode_around_a_batch_takes_no_sample_for_a_nan():
    """Samples have NaN in place of values, and sweeps over the tape of one run inside the batch."""
    with detect_anomaly():
        g = vmap(grad(lambda x: np.sum(np.sin(x) * x)))(np.ones((2, 3)))
    np.testing.assert_allclose(g, np.cos(1) + np.sin(1))


def test_a_replayed_step_inside_a_batch_runs_as_it_stands():
    step = replay(np.exp)
    x = np.array([0.0, 1.0])
    for _ in range(3):
        np.testing.assert_array_equal(vmap(step)(x), np.exp(x))
    assert step.recorded == 0


# Generated source ---------------------------------------------------------------------------------


def broken():
    """A traceback that passes through a specialised call, and one through a joined rule."""
    f = custom_vjp(lambda x, w: x * w)

    def fails(g, w):
        raise RuntimeError("in the rule")

    f.vjp(x=fails, w=lambda g, x: g * x)
    x = Parameter([1.0, 2.0])
    try:
        ops.add(x, np.zeros(3))
    except ValueError:
        yield traceback.format_exc()
    try:
        f(x, x).sum().backward()
    except RuntimeError:
        yield traceback.format_exc()


def test_tracebacks_show_the_lines_of_generated_source():
    forward, reverse = broken()
    assert '"<tapegrad add>"' in forward
    assert "_y = _body(_x1, _x2)" in forward
    assert "c0 = rule_0(g, w)" in reverse
    linecache.checkcache()  # doctest, pdb and IPython do so; it drops what has changed on the disk
    assert "_y = _body(_x1, _x2)" in next(broken())


def test_the_source_of_a_specialised_call_can_be_read():
    ops.tanh(np.zeros(2))
    text = inspect.getsource(ops.tanh)
    assert text.startswith("def _call(x):")
    assert "_node.plan = _plan_1" in text
    assert inspect.getsourcefile(ops.tanh) == "<tapegrad tanh>"


def test_a_debugger_steps_through_generated_source(capsys, monkeypatch):
    ops.sinh(np.zeros(2))
    debugger = pdb.Pdb(nosigint=True, readrc=False)
    commands = iter(["step"] * 4 + ["where", "continue"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(commands))
    debugger.use_rawinput = True
    debugger.runcall(lambda: ops.sinh(np.zeros(2)))
    assert "-> if isinstance(x, _Tensor):" in capsys.readouterr().out


def test_generated_source_is_kept_once_for_each_text():
    def entries():
        return [name for name in linecache.cache if name.startswith("<tapegrad")]

    def make(fn):
        f = custom_vjp(fn)
        f.vjp(x=lambda g: g * 2)
        return f(np.ones(2)), grad(lambda x: f(x).sum())(np.ones(2))

    make(lambda x: x + 1)
    before = len(entries())
    for _ in range(20):
        make(lambda x: x + 1)
    assert len(entries()) == before
    two = custom_vjp(lambda x, w: x * w)  # the same name, another text
    two.vjp(x=lambda g, w: g * w, w=lambda g, x: g * x)
    two(np.ones(2), np.ones(2))
    own = inspect.getsource(two)
    assert own.startswith("def _call(x, w):")
    f = custom_vjp(lambda x: x + 1)
    f.vjp(x=lambda g: g)
    f(np.ones(2))
    assert inspect.getsource(f).startswith("def _call(x):")
    assert inspect.getsource(two) == own


# Who writes the slots of a Tensor, as the docstring of core/tensor.py says.
WRITERS = {
    "_bare": """
        autograd/check/modules/trial.py autograd/core/parameter.py autograd/core/tensor.py
        autograd/core/views.py autograd/reverse/ownership.py autograd/reverse/write.py
        autograd/transforms/sample.py nn/core/memory.py nn/core/part.py
        nn/methods/bigdl/weights.py nn/methods/torch7.py
    """,
    "_node": """
        autograd/check/modules/trial.py autograd/core/parameter.py autograd/core/tensor.py
        autograd/forward/streaming.py autograd/reverse/sweep.py autograd/reverse/write.py
        autograd/transforms/checkpoint.py autograd/transforms/sample.py
        autograd/transforms/variables.py nn/core/by_hand.py nn/core/part.py
    """,
    "_alias": """
        autograd/core/tensor.py autograd/core/views.py autograd/reverse/write.py
        autograd/transforms/sample.py nn/core/part.py
    """,
}


@pytest.fixture(scope="module")
def writes():
    """(file, attribute) of each attribute that the package sets or deletes."""
    root = Path(__file__).resolve().parents[1]
    return {
        (path.relative_to(root).as_posix(), node.attr)
        for folder in ("package", "devices", "autograd", "nn", "optim")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
    }


@pytest.mark.extra
@pytest.mark.parametrize("slot", WRITERS)
def test_a_slot_of_a_tensor_is_written_where_the_page_says(slot, writes):
    assert {file for file, name in writes if name == slot} == set(WRITERS[slot].split())
