"""Laws of MXNet's operators: each one of the registry, on drawn attributes and arrays.

An operator without a case in cases_mxnet.py fails.  What a law cannot ask of an operator stands in
a table below with its reason, and a stale entry fails.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases_mxnet import CASES, Draw

from tapegrad import devices
from tapegrad.autograd import Tensor, replay, vjp
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn import mxnet as mx
from tapegrad.nn.mxnet.attributes import Float, text_of, texts_of
from tapegrad.nn.mxnet.declaration import Call, operators
from tapegrad.nn.mxnet.symbol.running import RunPlan

pytestmark = pytest.mark.extra  # README's command has five minutes

NAMES = sorted(set(operators()) - {"Custom"})  # test_mxnet_custom.py has its laws
OWN = "its gradient is declared, not that of its values"
# operator -> why its gradient is not the derivative
OWN_GRADIENTS = {
    "BlockGrad": OWN,
    "IdentityAttachKLSparseReg": OWN,
    "_contrib_gradientmultiplier": OWN,
    "_contrib_round_ste": OWN,
    "_contrib_sign_ste": OWN,
}
# operator -> why float32 may differ from float64
OF_TYPE = {
    "Dropout": "the draws depend on the type",
    "_arange": "the type is an attribute",
    "_eye": "the type is an attribute",
    "_full": "the type is an attribute",
    "_linspace": "the type is an attribute",
    "_ones": "the type is an attribute",
    "_zeros": "the type is an attribute",
    "one_hot": "the type is an attribute",
    "Cast": "the type is an attribute",
    "amp_cast": "the type is an attribute",
    "_image_to_tensor": "images are float32",
    "argmax": "places are float32",
    "argmax_channel": "places are float32",
    "argmin": "places are float32",
    "argsort": "places are float32",
    "topk": "places are float32",
    "argwhere": "places are whole numbers",
    "_contrib_index_array": "places are whole numbers",
    "_histogram": "counts are whole numbers",
    "shape_array": "lengths are whole numbers",
    "size_array": "lengths are whole numbers",
}
OF_VALUES = {
    "_contrib_boolean_mask": "its shape depends on the numbers",
    "argwhere": "its shape depends on the numbers",
}
DEEP = range(1, 9)  # seeds beside 0, which the default run takes


def drawn_numbers(kinds, given, d):
    """Numbers for some of the attributes that a case leaves out, near their defaults."""
    found = {}
    for key, kind in kinds.items():
        if type(kind) is Float and key not in given and isinstance(kind.default, float):
            near = abs(kind.default) if kind.default else 0.5
            if d.flag():
                found[key] = round(near * d.rng.uniform(0.6, 0.95), 3 if near > 0.1 else 14)
    return found


def cast(x, dtype):
    """x as `dtype`; arrays of whole numbers, of quantized operators, stay as they are."""
    return x if x.dtype.kind in "iu" else x.astype(dtype)


class Example:
    """A drawn call of an operator."""

    def __init__(self, name, seed):
        self.op = operators()[name]
        # the seed depends on the name, so that operators with one case get other draws
        draw = Draw([seed, *name.encode()])
        settings, self.arrays = CASES[name](draw)
        self.settings = {**drawn_numbers(self.op.kinds, settings, draw), **settings}
        self.texts = texts_of(self.op.kinds, self.settings)
        self.a = self.op.read(self.texts)
        self.train = not self.op.random
        self.names = list(self.arrays)
        if not self.op.variadic:
            assert self.names == self.op.input_names(self.a), f"{name}: the case's inputs"
        self.free = [
            n for n in self.names if n not in self.op.flat and n not in self.op.auxiliary(self.a)
        ]

    def run(self, arrays, generator=None):
        """All visible outputs."""
        stream = generator or devices.Generator(seed=3)
        call = Call(self.a, self.train or self.op.name == "Dropout", stream, "node")
        inputs = [x if isinstance(x, Tensor) else Tensor(x) for x in arrays.values()]
        with np.errstate(all="ignore"):
            return self.op(call, *inputs)[: len(self.op.output_names(self.a))]

    def floats(self, *point, dtype=np.float64):
        """The outputs that are floating point, as a function of the free inputs."""
        values = {key: cast(value, dtype) for key, value in self.arrays.items()}
        values |= dict(zip(self.free, point, strict=True))
        return [y for y in self.run(values) if np.dtype(y.dtype).kind == "f"]

    def point(self, dtype=np.float64):
        return tuple(self.arrays[name].astype(dtype) for name in self.free)

    def values(self, *point):
        return [np.asarray(y.detach().numpy()) for y in self.floats(*point)]

    def symbol(self):
        mx_inputs = [mx.sym.var(name) for name in self.names]
        function = getattr(mx.sym._internal, self.op.name)
        return function(*mx_inputs, name="node", **self.settings)

    def __repr__(self):
        shapes = ", ".join(f"{k}{v.shape}" for k, v in self.arrays.items())
        return f"{self.op.name}({shapes}, {self.settings})"


def test_every_operator_has_a_case_and_every_case_an_operator():
    missing, stale = set(NAMES) - set(CASES), set(CASES) - set(NAMES)
    assert not missing, f"write a case in tests/cases_mxnet.py for {sorted(missing)}"
    assert not stale, f"take the case out of tests/cases_mxnet.py: {sorted(stale)}"
    for table in (OWN_GRADIENTS, OF_TYPE, OF_VALUES):
        assert not set(table) - set(operators())


# attribute -> why no case draws it
NOT_DRAWN = {
    **dict.fromkeys(("workspace", "cudnn_off", "cudnn_tune", "ctx", "key", "ndev"), "no effect"),
    **dict.fromkeys(("lazy_update", "sparse_grad", "forward_stype"), "no effect on dense arrays"),
    **dict.fromkeys(("is_int", "init_output", "infer_range"), "no effect on one run"),
    **dict.fromkeys(
        ("BatchNorm.min_calib_range", "BatchNorm.max_calib_range"), "for quantized graphs alone"
    ),
    **dict.fromkeys(("dtype", "out_dtype"), "the laws choose the type"),
    "layout": "test_mxnet_operators.py compares channels last with channels first",
    "out_grad": "the head gradient counts then",
    "minimum_negative_samples": "MXNet does not read it on a CPU",
    "_random_negative_binomial.k": "test_mxnet_namespaces.py looks at the moments",
    "_random_negative_binomial_like.k": "test_mxnet_namespaces.py looks at the moments",
    "lstm_state_clip_nan": "states are no NaN",
    "_linspace.step": "MXNet does not read it",
    "_linspace.repeat": "MXNet does not read it",
}


def test_every_attribute_is_drawn():
    for name in NAMES:
        drawn = set()
        for seed in range(24):
            drawn |= set(Example(name, seed).settings)
        missing = {
            key
            for key in set(operators()[name].kinds) - drawn
            if not {key, f"{name}.{key}"} & set(NOT_DRAWN)
        }
        assert not missing, f"no case of {name} draws {missing}"


def gradient_is_the_derivative(example):
    """The gradient agrees with central differences along a random direction."""
    if example.op.loss(example.a) or example.op.name in OWN_GRADIENTS or not example.free:
        return
    rng = np.random.default_rng(1)
    point = example.point()
    outputs, pull = vjp(example.floats, point)
    v = [rng.standard_normal(y.shape) for y in outputs]
    gradients = [np.asarray(g) for g in pull(v)]
    u = [rng.standard_normal(x.shape) for x in point]
    h = 1e-6
    ahead = example.values(*[x + h * d for x, d in zip(point, u, strict=True)])
    behind = example.values(*[x - h * d for x, d in zip(point, u, strict=True)])
    quotient = sum(((a - b) / (2 * h) * w).sum() for a, b, w in zip(ahead, behind, v, strict=True))
    slope = sum((g * d).sum() for g, d in zip(gradients, u, strict=True))
    terms = sum(np.abs(g * d).sum() for g, d in zip(gradients, u, strict=True))
    assert abs(quotient - slope) <= 1e-5 * (1 + terms), f"{example}: {slope}, found {quotient}"


def gradient_ignores_the_head(example):
    """A loss has its own gradient, whatever comes from above; it is not 0."""
    if not example.op.loss(example.a):
        return
    outputs, pull = vjp(example.floats, example.point())
    first = pull([np.ones(y.shape) for y in outputs])
    second = pull([np.full(y.shape, 7.0) for y in outputs])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert np.asarray(a).any(), f"{example}: the gradient is 0"


def labels_and_indices_get_no_gradient(example):
    """The inputs that are declared flat have the gradient 0."""
    flat = [
        name
        for name in example.names
        if name in example.op.flat and example.arrays[name].dtype.kind == "f"
    ]
    if not flat:
        return

    def of_flat(*point):
        values = {key: cast(value, np.float64) for key, value in example.arrays.items()}
        values |= dict(zip(flat, point, strict=True))
        return [y for y in example.run(values) if np.dtype(y.dtype).kind == "f"]

    outputs, pull = vjp(of_flat, tuple(example.arrays[n].astype(np.float64) for n in flat))
    for g in pull([np.ones(y.shape) for y in outputs]):
        assert not np.asarray(g).any()


def float32_agrees_with_float64(example):
    """float32 arrays give float32 results and gradients, close to those of float64."""
    if example.op.name in OF_TYPE or example.op.random:
        return
    # what float32 cannot hold is cut off before both runs
    example.arrays = {k: cast(v, np.float32) for k, v in example.arrays.items()}

    def of(dtype):
        def run(*point):
            return example.floats(*point, dtype=dtype)

        outputs, pull = vjp(run, example.point(dtype))
        rng = np.random.default_rng(1)
        v = [rng.standard_normal(y.shape).astype(dtype) for y in outputs]
        return [np.asarray(y) for y in (*outputs, *pull(v))]

    for single, double in zip(of(np.float32), of(np.float64), strict=True):
        assert single.dtype == np.float32, f"{example}: {single.dtype}"
        size = np.max(np.abs(double), initial=1.0)
        np.testing.assert_allclose(single, double, rtol=0, atol=2e-4 * size, err_msg=f"{example}")


def inferred_shapes_are_those_of_the_run(example):
    """What follows from all shapes is what a run has; from the first one, nothing else."""
    if example.op.name in OF_VALUES:
        return
    symbol = example.symbol()
    shapes = {name: x.shape for name, x in example.arrays.items()}
    expected = [tuple(y.shape) for y in example.run(example.arrays)]
    assert symbol.infer_shape(**shapes)[1] == expected, f"{example}"
    first = dict(list(shapes.items())[:1])
    arguments, outputs, states = symbol.infer_shape_partial(**first)
    found = dict(zip(symbol.list_arguments(), arguments, strict=True))
    found |= dict(zip(symbol.list_auxiliary_states(), states, strict=True))
    for name, shape in found.items():
        agree(shape, shapes[name], f"{example}: {name}")
    for shape, other in zip(outputs, expected, strict=True):
        agree(shape, other, f"{example}: output")


def agree(partial, shape, what):
    assert not partial or all(n in (0, m) for n, m in zip(partial, shape, strict=True)), what


def replay_equals_an_eager_run(example):
    """A recorded run gives the same numbers on other data, and random operators draw anew."""
    for train in {example.train, True}:
        example.train = train
        replayed_twice(example)


def replayed_twice(example):
    generator = devices.Generator(seed=5)

    def run(*arrays):
        return example.run(dict(zip(example.names, arrays, strict=True)), generator)

    step = replay(run)
    floats = {n: Tensor(cast(x, np.float32)) for n, x in example.arrays.items()}
    for turn, factor in enumerate((1.0, 1.0, 0.75)):
        given = [
            x * factor if n in example.free and not integral(example.arrays[n]) else x
            for n, x in floats.items()
        ]
        generator.seed(turn)
        found = [np.asarray(y.numpy()) for y in step(*given)]
        generator.seed(turn)
        for y, expected in zip(found, run(*given), strict=True):
            np.testing.assert_allclose(
                y, np.asarray(expected.numpy()), rtol=1e-6, atol=1e-6, err_msg=f"{example}"
            )


def integral(x):
    return bool((x == np.round(x)).all())


def strict_arrays_agree_with_numpy(example):
    """Arrays that NumPy does not convert, as CuPy's, give the same outputs and gradients."""
    generator = devices.Generator("strict", seed=3)

    def run(device, *point):
        values = {
            name: Tensor(cast(x, np.float64), device=device) for name, x in example.arrays.items()
        }
        values |= dict(zip(example.free, point, strict=True))
        return example.run(values, generator if device == "strict" else None)

    expected, found = (
        run(device, *[Tensor(x, device=device) for x in example.point()])
        for device in ("cpu", "strict")
    )
    for y, e in zip(found, expected, strict=True):
        assert str(y.device) == "strict", f"{example}: the output is on {y.device}"
        assert y.dtype == e.dtype
        assert y.shape == e.shape
        if not example.op.random:
            np.testing.assert_allclose(devices.to_numpy(y.data), e.numpy(), rtol=1e-12, atol=1e-12)
    if example.op.random or not example.free:
        return
    pulled = []
    for device in ("cpu", "strict"):
        y, pull = vjp(
            lambda *x, d=device: [y for y in run(d, *x) if np.dtype(y.dtype).kind == "f"],
            tuple(Tensor(x, device=device) for x in example.point()),
        )
        rng = np.random.default_rng(1)
        pulled.append(pull([Tensor(rng.standard_normal(z.shape), device=device) for z in y]))
    for g, e in zip(*pulled, strict=True):
        np.testing.assert_allclose(
            devices.to_numpy(array_of(g)), devices.to_numpy(array_of(e)), rtol=1e-10, atol=1e-10
        )


def symbol_json_keeps_the_call(example):
    """The text of a symbol gives the same symbol, which computes the same."""
    text = example.symbol().tojson()
    loaded = mx.sym.load_json(text)
    assert loaded.tojson() == text
    values = {name: Tensor(x) for name, x in example.arrays.items()}
    run = RunPlan(loaded.heads)
    stream = devices.Generator(seed=3)
    found = run(values, train=example.train or example.op.name == "Dropout", generator=stream)
    for y, expected in zip(found.outputs, example.run(example.arrays), strict=True):
        np.testing.assert_array_equal(y.numpy(), expected.numpy())


def other_spellings_of_attributes_mean_the_same(example):
    """(3, 3), [3,3] and (3L, 3L); True, true and 1: files of all versions and hands wrote them."""
    for spell in (
        lambda t: re.sub(r"^\((.*)\)$", r"[\1]", t).replace(" ", ""),
        lambda t: re.sub(r"(?<=\d)(?=[,)])", "L", t) if re.fullmatch(r"\([\d, -]*\)", t) else t,
        lambda t: {"True": "1", "False": "0"}.get(t, t),
        lambda t: {"True": "true", "False": "false"}.get(t, t),
    ):
        read = example.op.read({key: spell(text) for key, text in example.texts.items()})
        assert repr(read) == repr(example.a)


LAWS = (
    gradient_is_the_derivative,
    gradient_ignores_the_head,
    labels_and_indices_get_no_gradient,
    float32_agrees_with_float64,
    inferred_shapes_are_those_of_the_run,
    replay_equals_an_eager_run,
    strict_arrays_agree_with_numpy,
    symbol_json_keeps_the_call,
    other_spellings_of_attributes_mean_the_same,
)


def obeys(name, seed):
    """All laws on one example."""
    for law in LAWS:
        example = Example(name, seed)
        try:
            law(example)
        except Exception as error:
            error.add_note(f"{name}, seed {seed}: {law.__name__}: {law.__doc__}  {example}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_operator_obeys(name):
    obeys(name, 0)


@pytest.mark.extra
@pytest.mark.parametrize("name", NAMES)
def test_operator_obeys_on_more_examples(name):
    for seed in DEEP:
        obeys(name, seed)


# What is exempt has its own rule -----------------------------------------------------------------


def pulled(name, data, v, train=True, **more):
    op = operators()[name]
    settings = {k: text_of(s) for k, s in more.items() if not isinstance(s, np.ndarray)}
    arrays = [Tensor(s) for s in more.values() if isinstance(s, np.ndarray)]
    call = Call(op.read(settings), train)
    _, pull = vjp(lambda x: op(call, x, *arrays)[0], (data,))
    return np.asarray(pull(v)[0])


def test_own_gradients():
    x, v = np.array([0.4, -1.6, 2.0]), np.array([1.0, 2.0, -3.0])
    np.testing.assert_array_equal(pulled("BlockGrad", x, v), 0)
    np.testing.assert_array_equal(pulled("_contrib_round_ste", x, v), v)
    np.testing.assert_array_equal(pulled("_contrib_sign_ste", x, v), v)
    np.testing.assert_array_equal(
        pulled("_contrib_gradientmultiplier", x, v, scalar=-0.5), -0.5 * v
    )
    data, mean = np.array([[0.2, 0.6], [0.4, 0.8]]), np.array([0.3, 0.5])
    found = pulled(
        "IdentityAttachKLSparseReg", data, np.zeros((2, 2)), moving_avg=mean, penalty=0.1
    )
    now = 0.9 * mean + 0.1 * data.mean(0)
    slope = 0.1 * ((1 - 0.1) / (1 - now) - 0.1 / now)
    np.testing.assert_allclose(found, np.tile(slope, (2, 1)))
