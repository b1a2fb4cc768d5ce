"""Reading a tracked value where that would cut a gradient: kept, or refused at its line.

Everything that turns a Tensor into a number by itself is tried in a function that is being
differentiated, in the forward code of a module, and outside of both, where it reads the value.
"""

import array
import cmath
import contextlib
import copy
import dataclasses
import functools
import math
import pickle
import statistics

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.errors import ConversionError

HERE = f"{__file__}:"


def entry(write):
    """A function of x that writes x[0] into an array by `write`, and returns the array."""

    def make(x):
        target = np.zeros(3)
        write(target, x[0])
        return target

    return make


def put_structured(target, value):
    np.zeros(2, [("a", float)])["a"][0] = value


def put_masked(target, value):
    np.ma.masked_array(target, [False, True, False])[0] = value


CONVERSIONS = {
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "complex": lambda x: complex(x[0]),
    "complex of two": lambda x: complex(1.0, x[0]) if False else complex(x[0], 1.0),
    "math.exp": lambda x: math.exp(x[0]),
    "math.floor": lambda x: math.floor(x[0]),
    "math.hypot": lambda x: math.hypot(x[0], x[1]),
    "math.fsum": math.fsum,
    "cmath.sqrt": lambda x: cmath.sqrt(x[0]),
    "statistics.fmean": statistics.fmean,
    "np.float64": lambda x: np.float64(x[0]) if not x.tracked else float(x[0]),
    "a[i] = t": entry(lambda a, t: a.__setitem__(0, t)),
    "a[i] += t": entry(lambda a, t: a.__setitem__(0, float(a[0]) + t)),
    "a[i, j] = t": entry(lambda a, t: a.reshape(1, 3).__setitem__((0, 1), t)),
    "a[()] = t": entry(lambda a, t: np.zeros(()).__setitem__((), t)),
    "a.flat[i] = t": entry(lambda a, t: a.flat.__setitem__(1, t)),
    "a.fill(t)": entry(lambda a, t: a.fill(t)),
    "a.itemset by put": entry(lambda a, t: a.put(0, float(t))),
    "a structured entry": entry(put_structured),
    "a masked entry": entry(put_masked),
    "array.array": lambda x: array.array("d", list(x)),
    "np.fromiter": lambda x: np.fromiter(iter(x), float),
    "np.vectorize": lambda x: np.vectorize(lambda t: t * x[0], otypes=[float])(np.ones(2)),
    "np.sum(initial=t)": lambda x: np.sum(np.ones(2), initial=x[0]),
    "np.max(initial=t)": lambda x: np.max(np.ones(2), initial=x[0]),
    "const.sum(initial=t)": lambda x: np.ones(2).sum(initial=x[0]),
    "np.interp(left=t)": lambda x: np.interp([-9.0], [0, 1.0], [1, 2.0], left=x[0]),
    "range(int)": lambda x: list(range(int(x[0]))),
    "pickle": pickle.dumps,
    "pickle in a dict": lambda x: pickle.dumps({"x": x}),
}

KEPT = {
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "deepcopy of a dict": lambda x: copy.deepcopy({"x": [x]})["x"][0],
    "dataclasses.asdict": lambda x: dataclasses.asdict(Held(x))["value"],
    "dataclasses.astuple": lambda x: dataclasses.astuple(Held(x))[0],
    "dataclasses.replace": lambda x: dataclasses.replace(Held(x)).value,
    "functools.partial": lambda x: functools.partial(np.multiply, x)(1.0),
    "np.copy": np.copy,
}

READS = {
    "numpy": lambda x: x.numpy() + 0,
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "compare": lambda x: x[0] > 0 and x[1] == 1.9 and 0.7 in x,
    "if": lambda x: 1 if x[0] > 0 else 2,
    "max": lambda x: max(x[0], x[1]),
    "sorted": lambda x: sorted([x[0], x[1]]),
    "print": lambda x: (repr(x), str(x), f"{x[0]:.3f}", f"{x}"),
    "bool": lambda x: bool(x[0]),
    "index": lambda x: [1, 2, 3][np.argmax(x)],
    "no_grad": lambda x: in_no_grad(x),  # noqa: PLW0108  # defined below,
}


@dataclasses.dataclass
class Held:
    value: object


def in_no_grad(x):
    with tg.no_grad():
        return float(x[0])


class Runs(nn.Module):
    """A module whose forward code calls a function, and returns x twice."""

    def __init__(self, call):
        self.call = call

    def updateOutput(self, x):
        self.call(x)
        return x * 2


def differentiated(call):
    return tg.grad(lambda x: (call(x), np.sum(x * x))[1])(POINT)


def as_forward_code(call):
    module = nn.Sequential().add(Runs(call))
    module.forward(POINT)
    return module.backward(POINT, np.ones(3))


POINT = np.array([0.7, 1.9, 0.4])
PLACES = {
    "grad": (differentiated, 2 * POINT, "being differentiated"),
    "forward": (as_forward_code, np.full(3, 2.0), "Sequential[0].Runs"),
}
per_place = pytest.mark.parametrize("place", PLACES)


@per_place
@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_conversion_that_would_cut_a_gradient_is_refused_at_its_line(name, place):
    run, _, words = PLACES[place]
    with pytest.raises(ConversionError) as caught:
        run(CONVERSIONS[name])
    text = str(caught.value)
    assert text.startswith(HERE)
    assert words in text
    assert ".item()" in text


@pytest.mark.parametrize("name", CONVERSIONS)
def test_elsewhere_a_conversion_reads_the_value(name):
    CONVERSIONS[name](tg.Parameter(POINT) * 1)


@per_place
@pytest.mark.parametrize("name", READS)
def test_explicit_reads_comparisons_and_printing_are_allowed(name, place):
    run, right, _ = PLACES[place]
    np.testing.assert_allclose(run(READS[name]), right)
    READS[name](tg.Parameter(POINT) * 1)


@pytest.mark.parametrize("name", KEPT)
def test_copies_keep_the_gradient(name):
    gradient = tg.grad(lambda x: np.sum(KEPT[name](x) * x))(POINT)
    np.testing.assert_allclose(gradient, 2 * POINT)

    class Copies(nn.Module):
        def updateOutput(self, x):
            return KEPT[name](x) * x

    module = Copies()
    module.forward(POINT)
    np.testing.assert_allclose(module.backward(POINT, np.ones(3)), 2 * POINT)


def test_a_copy_of_one_sample_keeps_the_gradient():
    per_row = tg.vmap(tg.grad(lambda x: np.sum(copy.deepcopy(x) * copy.copy(x))))
    np.testing.assert_allclose(per_row(np.stack([POINT, -POINT])), [2 * POINT, -2 * POINT])


def test_a_copy_is_no_view():
    def f(x):
        y = copy.copy(x)
        y[0] = 0.0
        return np.sum(x * y)

    np.testing.assert_allclose(tg.grad(f)(POINT), 2 * POINT * [0, 1, 1] + [0, 0, 0])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_parameter_copied_while_its_module_runs_is_refused(duplicate):
    parameter = tg.Parameter(POINT)
    for run in (differentiated, as_forward_code):
        with pytest.raises(ConversionError, match=r"Parameter is copied|pickle reads"):
            run(lambda x: duplicate(parameter))
    duplicate(parameter)


def test_hand_written_gradients_may_read_what_they_like():
    class ByHand(nn.Module):
        def updateOutput(self, x):
            self.scale = float(x[0])
            return x * 1

        def updateGradInput(self, x, grad_output):
            self.gradInput = grad_output * self.scale
            return self.gradInput

    module = ByHand()
    module.forward(POINT)
    np.testing.assert_allclose(module.backward(POINT, np.ones(3)), np.full(3, 0.7))


def test_a_program_may_catch_the_refusal_and_go_on():
    def f(x):
        with contextlib.suppress(TypeError):
            float(x[0])
        if x[1] > 0:
            raise KeyError("another error")
        return np.sum(x)

    with pytest.raises(KeyError):
        tg.grad(f)(POINT)


@pytest.mark.parametrize(
    "derivative",
    [
        tg.jacobian,
        tg.hessian,
        tg.elementwise_grad,
        tg.value_and_grad,
        lambda f: lambda x: tg.vjp(f, x),
        lambda f: lambda x: tg.jvp(f, x, x),
        lambda f: lambda x: tg.hvp(f, x, x),
        lambda f: tg.grad(tg.checkpoint(f)),
        lambda f: tg.grad(lambda x: np.sum(tg.grad(f)(x))),
    ],
)
def test_every_derivative_watches(derivative):
    with pytest.raises(ConversionError, match=r"np\.exp for math\.exp"):
        derivative(lambda x: np.sum(x) * math.exp(x[0]))(POINT)


def test_scipy_callbacks_are_refused():
    integrate = pytest.importorskip("scipy.integrate")
    optimize = pytest.importorskip("scipy.optimize")
    for f in (
        lambda x: integrate.quad(lambda t: t * x[1], 0, 1)[0] * x[0],
        lambda x: integrate.quad(lambda t: t, 0, x[0])[0] * x[0],
        lambda x: optimize.brentq(lambda r: r**2 - x[0], 0, 10) * x[1],
        lambda x: optimize.newton(lambda r: r**2 - x[0], 1.0) * x[1],
        lambda x: optimize.minimize(lambda r: (r[0] - x[0]) ** 2, [0.0]).x[0] * x[1],
    ):
        try:
            gradient = tg.grad(f)(POINT)
        except ConversionError as error:
            assert str(error).startswith(HERE)  # noqa: PT017  # newton is right instead
        else:
            np.testing.assert_allclose(gradient[0], POINT[1] / (2 * POINT[0] ** 0.5), rtol=1e-6)
