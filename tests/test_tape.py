"""The tape as an object; what printing and the debugger show."""

from __future__ import annotations

import gc
import io
import pdb  # noqa: T100  # the debugger is what is tested
import re
import weakref
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import Parameter, Tape, Tensor, grad, nn

F32 = np.float32


def perceptron():
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
    return nn.MSECriterion()(model(np.ones((5, 3), F32)), np.zeros((5, 2), F32))


def chain(length):
    p = Parameter(np.ones(4))
    y = p
    for _ in range(length // 3):
        y = np.tanh(y * 0.9 + p)
    return y


# What is on it ------------------------------------------------------------------------------------


def test_entries_are_the_calls_in_order_with_their_operands():
    w, b = Parameter(np.ones((2, 3))), Parameter(np.ones(2))
    y = np.sum(np.tanh(np.ones((4, 3)) @ w.T + b), axis=0)
    tape = Tape(y)
    entries = list(tape)
    assert len(tape) == len(entries) == 5
    assert [e.operation for e in entries] == ["transpose", "matmul", "add", "tanh", "sum"]
    serials = [e.serial for e in entries]
    assert serials == sorted(serials)
    assert [e.operands for e in entries] == [
        ("parameter 0 (2, 3)",),
        ("constant (4, 3)", serials[0]),
        (serials[1], "parameter 1 (2,)"),
        (serials[2],),
        (serials[3],),
    ]
    assert entries[-1].settings == {"axis": 0, "keepdims": False}
    assert [e.shape for e in entries] == [(3, 2), (4, 2), (4, 2), (4, 2), (2,)]
    assert {e.dtype for e in entries} == {np.dtype(float)}
    assert [e.nbytes for e in entries] == [0, 4 * 3 * 8, 0, 4 * 2 * 8, 0]


def test_variables_of_grad_are_inputs_and_numbers_are_shown():
    seen = {}

    def f(x, w):
        y = np.concatenate([x * 2, w, np.ones(2)])
        seen["entries"] = list(Tape(y))
        return y.sum()

    grad(f, (0, 1))(np.ones(3), np.ones(4))
    product, joined = seen["entries"]
    assert product.operands == ("input 0 (3,)", "2")
    assert joined.operands == ((product.serial, "input 1 (4,)", "constant"),)
    assert joined.settings == {"axis": 0}


def test_an_inner_derivative_shows_its_variables_as_calls_on_the_outer_ones():
    seen = {}

    def inner(u):
        seen["operations"] = [e.operation for e in Tape(u * u)]
        return (u * u).sum()

    grad(lambda x: grad(inner)(x).sum())(np.ones(2))
    assert seen["operations"] == ["identity", "multiply"]


def test_memory_is_counted_once_however_often_it_is_kept():
    x = np.ones((10, 10))
    p = Parameter(np.ones(10))
    y = (p * x[0]) * x[1] + p * x[0]
    tape = Tape(y)
    assert tape.nbytes == x.nbytes  # rows of x are views of it
    assert sum(e.nbytes for e in tape) == 3 * 80
    z = np.tanh(p)
    assert Tape([y, z]).nbytes == x.nbytes + z.nbytes


def test_a_nest_has_one_tape_and_what_is_shared_is_on_it_once():
    p = Parameter(np.ones(2))
    y = np.tanh(p)
    tape = Tape({"a": y * 2, "b": [y * 3, None, Tensor([1.0])]})
    assert [e.operation for e in tape] == ["tanh", "multiply", "multiply"]


def test_a_module_shows_the_tape_of_its_last_forward():
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    with pytest.raises(ValueError, match="call forward"):
        Tape(model)
    model.forward(np.ones((4, 3), F32))
    operations = [e.operation for e in Tape(model)]
    assert operations == ["identity", "affine", "identity", "tanh"]


def test_several_results_and_hand_written_gradients_are_listed():
    class Doubled(nn.Linear):
        def accGradParameters(self, input, gradOutput, scale=1):
            super().accGradParameters(input, gradOutput, 2 * scale)

    parts = np.split(Parameter(np.ones(4)), 2)
    first, second = list(Tape(parts[1]))
    assert (first.operation, first.shape) == ("split", None)
    assert second.operands == (first.serial,)
    model = nn.Sequential(Doubled(3, 2))
    model.forward(np.ones((4, 3), F32))
    entry = list(Tape(model))[-1]
    assert entry.operation == "Doubled"
    assert entry.operands[1:] == ("0.weight (2, 3)", "0.bias (2,)")


@pytest.mark.parametrize("y", [Tensor([1.0]), [], np.ones(2)])
def test_what_is_not_tracked_has_no_tape(y):
    with pytest.raises(ValueError, match="not tracked"):
        Tape(y)


def test_a_parameter_alone_has_an_empty_tape():
    tape = Tape(Parameter(np.ones(2)))
    assert len(tape) == 0
    assert "parameter 0" in tape.draw().svg


def test_repr_is_one_line():
    text = repr(Tape(perceptron()))
    assert text == "<Tape of 7 calls on 4 parameters and 0 inputs, 868 B>"


def test_a_tape_keeps_the_record_alive_as_long_as_itself_and_no_longer():
    y = np.tanh(Parameter(np.ones(3))) * 2
    node = weakref.ref(y._node)
    tape = Tape(y)
    gc.disable()
    try:
        del y
        assert node() is not None
        tape.show(io.StringIO())
        tape.draw()
        del tape
        assert node() is None  # by reference count alone
    finally:
        gc.enable()


@pytest.mark.extra
def test_a_tape_a_hundred_thousand_calls_deep_is_no_recursion():
    assert len(Tape(chain(99_999))) == 99_999


# The table ----------------------------------------------------------------------------------------


def shown(y, **options):
    out = io.StringIO()
    Tape(y).show(out, **options)
    return out.getvalue().splitlines()


def test_the_table_is_aligned_and_ends_with_a_total():
    lines = shown(perceptron())
    assert len(lines) == 1 + 7 + 1
    heads = ["operation", "operands", "settings", "result", "dtype"]
    starts = [lines[0].index(head) for head in heads]
    for line in lines[1:-1]:
        for start in starts:
            if len(line) > start:
                assert line[start - 1] == " "
    affine = next(line for line in lines if "affine" in line)
    assert re.search(r"constant \(5, 3\), .+\(16,\) +\(5, 16\) +float32 +60 B$", affine)
    assert lines[-1] == "7 calls, 868 B kept in 5 arrays"


def test_a_long_tape_is_cut_in_the_middle():
    lines = shown(chain(60), limit=10)
    assert len(lines) == 1 + 10 + 1 + 1
    assert lines[6].split() == ["…", "50", "more", "calls"]
    assert "tanh" in lines[-2]
    assert len(shown(chain(60), limit=None)) == 62
    assert len(shown(chain(60))) == 1 + 40 + 1 + 1
    assert len(shown(chain(60), limit=60)) == 62
    assert len(shown(chain(60), limit=1)) == 4


def test_without_a_file_it_goes_to_standard_output(capsys):
    Tape(np.tanh(Parameter(np.ones(2)))).show()
    assert "tanh" in capsys.readouterr().out


# The picture --------------------------------------------------------------------------------------


def parts(picture):
    root = ET.fromstring(picture.svg)
    space = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(float(r.get(key)) for key in ("x", "y", "width", "height"))
        for r in root.iter(f"{space}rect")
    ]
    texts = [t.text for t in root.iter(f"{space}text")]
    arrows = [p.get("d") for p in root.iter(f"{space}path") if p.get("marker-end")]
    return root, texts, boxes, arrows


def test_each_call_is_a_box_and_each_use_of_a_parameter_stands_beside_it(tmp_path):
    picture = Tape(perceptron()).draw()
    root, texts, boxes, arrows = parts(picture)
    assert root.get("width")
    assert len(boxes) == 7 + 4 + 1
    assert len(arrows) == 6 + 4 + 1
    assert {"parameter 3", "16×3", "result", "scalar"} <= set(texts)
    assert any(re.fullmatch(r"affine \d+", t) for t in texts)
    picture.save(tmp_path / "tape.svg")
    assert (tmp_path / "tape.svg").read_text(encoding="utf-8") == picture._repr_svg_()


@pytest.mark.parametrize("make", [perceptron, lambda: chain(60), lambda: [chain(6), chain(9)]])
def test_boxes_stand_apart_arrows_point_down_and_are_short(make):
    _, _, boxes, arrows = parts(Tape(make()).draw())
    for i, (x, y, w, h) in enumerate(boxes):
        for ox, oy, ow, oh in boxes[:i]:
            assert x + w <= ox or ox + ow <= x or y + h <= oy or oy + oh <= y
    for arrow in arrows:
        words = re.findall(r"(-?[\d.]+),(-?[\d.]+)", arrow)
        (_, top), *_, (_, bottom) = [(float(x), float(y)) for x, y in words]
        assert 0 < bottom - top < 60  # each operand stands in the row above


def test_settings_are_drawn_where_they_are_not_the_defaults():
    p = Parameter(np.ones((2, 3)))
    _, texts, _, _ = parts(Tape(np.sum(p, axis=1)).draw())
    assert "axis=1" in texts
    assert "keepdims=False" not in texts


def test_too_many_boxes_are_one_that_says_so():
    _, texts, boxes, _ = parts(Tape(chain(3000)).draw())
    assert len(boxes) == 1
    assert "too many to draw" in texts[1]


# Printing shows numbers ---------------------------------------------------------------------------


def texts_of(x):
    return [
        str(x),
        repr(x),
        f"{x}",
        f"{x:>40}",
        f"{x!r}",
        str([x]),
        f"{x[0]:.2f}",
        f"{x.sum():.1e}",
    ]


NUMBERS = [
    lambda f: grad(lambda x: f(x).sum())(np.array([1.5, 2.25])),
    lambda f: tg.jacobian(f)(np.array([1.5, 2.25])),
    lambda f: tg.value_and_grad(lambda x: f(x).sum())(np.array([1.5, 2.25])),
    lambda f: tg.vjp(f, np.array([1.5, 2.25])),
    lambda f: grad(lambda x: grad(lambda u: f(u).sum())(x * 1.0).sum())(np.array([1.5, 2.25])),
    lambda f: tg.hessian(lambda x: f(x).sum())(np.array([1.5, 2.25])),
    lambda f: tg.replay(f)(np.array([1.5, 2.25])),
    lambda f: tg.detect_anomaly()(f)(Tensor(np.array([1.5, 2.25]))),
]


@pytest.mark.parametrize("run", NUMBERS)
def test_printing_in_a_function_that_is_differentiated_or_recorded_shows_numbers(run):
    seen = []

    def f(x):
        seen.extend(texts_of(x))
        return x * x

    run(f)
    assert len(seen) >= 8
    for text in seen[:6]:
        assert "1.5" in text
        assert "2.25" in text
    assert seen[6] == "1.50"
    assert seen[7] == "3.8e+00"
    assert not any(word in text for text in seen for word in ("object at", "Node", "Traced"))


@pytest.mark.parametrize("run", NUMBERS)
def test_print_writes_numbers_and_leaves_the_result_alone(run, capsys):
    expected = run(lambda x: x * x)

    def f(x):
        print(x, x.shape, x.dtype)  # noqa: T201  # what is tested
        return x * x

    found = run(f)
    line = capsys.readouterr().out.splitlines()[0]
    assert re.match(r"Tensor\(\[1\.5 ?, 2\.25\](, tracked)?\) \(2,\) float64", line)
    assert repr(found if not callable(found[1]) else found[0]) == repr(
        expected if not callable(expected[1]) else expected[0]
    )


@pytest.mark.parametrize("run", [*NUMBERS[:6], NUMBERS[7]])
def test_the_debugger_shows_numbers(run):
    said = io.StringIO()

    def f(x):
        commands = io.StringIO("p x\npp x[1]\np x[0].item() + 1\np x.tolist()\nwhatis x\nc\n")
        debugger = pdb.Pdb(stdin=commands, stdout=said, nosigint=True, readrc=False)
        debugger.use_rawinput = False
        y = x * x
        if not said.getvalue():
            debugger.set_trace()
        return y

    run(f)
    text = said.getvalue()
    assert re.search(r"Tensor\(\[1\.5 ?, 2\.25\]", text)
    assert "2.25" in text
    assert re.search(r"^\(Pdb\) 2\.5$", text, flags=re.MULTILINE)
    assert "[1.5, 2.25]" in text
    assert "tapegrad.autograd.core.tensor.Tensor" in text


# The page -----------------------------------------------------------------------------------------
