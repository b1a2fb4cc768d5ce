"""Primitives with wrong rules, of first and of second order, as text: name, case, body, rules.

A rule for tangents stands beside them as "tangent of" its argument.

A rule that calls a primitive whose own rule is wrong shows in the second order only; such a pair is
written here as `inner` rules.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from planted.hunting import Finding
from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.check import PRIMITIVE_LAWS, Draws, LawError, PrimitiveTrial, TrialCall
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.specialize import public_function

# ruff: noqa: E501  # a mistake is one line of a table

__all__ = ["RIGHT", "WRONG_RULES", "WrongRule", "hunt_rule"]

RULE_LAWS = (
    "its_gradient_is_the_derivative",
    "its_second_derivative_is_right",
    "its_gradient_is_linear_in_the_cotangent",
    "tracking_fewer_arguments_changes_no_gradient",
    "pushed_tangents_agree_with_its_gradient",
    "a_recorded_sweep_gives_the_same_gradient",
    "gradients_share_no_memory",
    "float64_results_carry_no_float32_noise",
    "float32_agrees_with_float64",
    "memory_layout_does_not_matter",
    "at_a_tie_its_gradient_lies_between_those_of_both_sides",
    "at_equal_eigenvalues_its_gradient_is_right_or_nan",
    "saturated_values_and_gradients_are_precise",
    "float16_agrees_with_float64",
    "float16_sums_lose_nothing",
)

# name: (arguments by named sizes, body, rules)
RIGHT: dict[str, tuple[dict[str, str], str, dict[str, str]]] = {
    "tanh": (
        {"x": "N i"}, "lambda xp, x: xp.tanh(x)",
        {"x": "lambda g, x, y: g * (1 / (ops.cosh(x) * ops.cosh(x)))", "tangent of x": "lambda t, y: t * (1 - y * y)"},
    ),
    "softplus": (
        {"x": "N i"}, "lambda xp, x: xp.logaddexp(x, xp.zeros_like(x))",
        {"x": "lambda g, x: g * (1 / (1 + ops.exp(-x)))"},
    ),
    "bias": (
        {"x": "N i", "b": "i"}, "lambda xp, x, b: x + b",
        {"x": "lambda g: g * 1", "b": "lambda g: ops.sum(widened(g), axis=0)"},
    ),
    "mean of squares": (
        {"x": "N i"}, "lambda xp, x: xp.mean(x * x, axis=0, dtype=single_or_more(x)).astype(x.dtype)",
        {"x": "lambda g, x: 2 * x * g / x.shape[0]"},
    ),
    "midpoint": (
        {"x": "N 2"}, "lambda xp, x: xp.mean(x, axis=1)",
        {"x": "lambda g, x: 0.5 * ops.expand_dims(g, 1) + 0 * x"},
    ),
    "eigenvectors": (
        {"x": "spectrum"}, "lambda xp, x: xp.linalg.eigh((x + x.T) / 2)[1]",
        {"x": "lambda g, x: turned(g, x, lambda gap, equal: 1 / ops.where(equal, np.nan, gap))"},
    ),
    "square": ({"x": "N i"}, "lambda xp, x: xp.square(x)", {"x": "lambda g, x: g * (2 * x)"}),
    "cube": ({"x": "N i"}, "lambda xp, x: x * x * x", {"x": "lambda g, x: g * (3 * x * x)"}),
    "sine": ({"x": "N i"}, "lambda xp, x: xp.sin(x)", {"x": "lambda g, x: g * ops.cos(x)"}),
    "exponential": (
        {"x": "N i"}, "lambda xp, x: xp.exp(0.01 * x)", {"x": "lambda g, y: g * (0.01 * y)"},
    ),
    "product": (
        {"a": "N i", "b": "N i"}, "lambda xp, a, b: a * b",
        {"a": "lambda g, b: g * b", "b": "lambda g, a: g * a"},
    ),
    "matrix product": (
        {"a": "i j", "b": "j k"}, "lambda xp, a, b: xp.matmul(a, b)",
        {
            "a": "lambda g, b: g @ ops.transpose(b)", "b": "lambda g, a: ops.transpose(a) @ g",
            "tangent of a": "lambda t, b: t @ b", "tangent of b": "lambda t, a: a @ t",
        },
    ),
    "row sums": (
        {"x": "N i"}, "lambda xp, x: xp.sum(x, axis=1)",
        {"x": "lambda g, x_shape: ops.broadcast_to(ops.expand_dims(g, 1), x_shape) * 1.0"},
    ),
    "largest": (
        {"x": "N i"}, "lambda xp, x: xp.max(x, axis=1)",
        {"x": "lambda g, x, y: first(x) * ops.expand_dims(g, 1)"},
    ),
    "softmax of rows": (
        {"x": "N i"},
        "lambda xp, x: (lambda e: e / xp.sum(e, axis=1, keepdims=True))(xp.exp(x - xp.max(x, axis=1, keepdims=True)))",
        {
            "x": "lambda g, y: y * (g - ops.sum(g * y, axis=1, keepdims=True))",
            "tangent of x": "lambda t, y: y * (t - ops.sum(t * y, axis=1, keepdims=True))",
        },
    ),
    "relu": (
        {"x": "N i"}, "lambda xp, x: xp.maximum(x, 0)", {"x": "lambda g, x: ops.where(x > 0, g, 0)"},
    ),
    "transposition": (
        {"x": "i j"}, "lambda xp, x: xp.transpose(x) * 1.0",
        {"x": "lambda g: ops.transpose(g) * 1.0", "tangent of x": "lambda t: ops.transpose(t)"},
    ),
}  # fmt: skip

TANGENT = "tangent of "

WRONG = """
tanh | x | no square | ops.cosh(x) * ops.cosh(x) | ops.cosh(x)
tanh | x | sign | g * | -g *
tanh | x | twice for large results | g * | ops.where(y > 0.9, 2, 1) * g *
tanh | x | second order only, saved value detached | ops.cosh(x) * ops.cosh(x) | ops.cosh(detached(x)) * ops.cosh(x)
tanh | x | 1 minus what rounds to 1 | g * (1 / (ops.cosh(x) * ops.cosh(x))) | g - g * (y * y)
softplus | x | 1 minus what rounds to 1 | (1 / (1 + ops.exp(-x))) | (1 - 1 / (1 + ops.exp(x)))
bias | b | added one by one in float16 | ops.sum(widened(g), axis=0) | one_by_one(g)
mean of squares | x | counted in float16 | x.shape[0] | one_by_one(0 * x + 1)
midpoint | x | one of two ties gets all | 0.5 * | ops.where(tied(x), first(x), 0.5) *
eigenvectors | x | no turn between equal eigenvalues | 1 / ops.where(equal, np.nan, gap) | ops.where(equal, 0, 1 / ops.where(equal, 1, gap))
eigenvectors | x | the difference of equal eigenvalues | 1 / ops.where(equal, np.nan, gap) | 1 / (gap + 1e-9)
square | x | half | 2 * x | x
square | x | wrong in one row | g * (2 * x) | ops.concatenate([(g * (2 * x))[:-1], (g * (2 * x))[-1:] * 2])
square | x | second order only, detached | 2 * x | 2 * detached(x)
square | x | second order only, wrong inner rule | g * (2 * x) | g * wrong_double(x)
square | x | float32 inside | 2 * x | 2 * single(x)
cube | x | exponent | 3 * x * x | 3 * x
cube | x | factor | 3 * x * x | 2 * x * x
cube | x | second order only, one factor detached | 3 * x * x | 3 * detached(x) * x
cube | x | second order only, cotangent detached | g * (3 | detached(g) * (3
sine | x | sign | g * ops.cos(x) | -g * ops.cos(x)
sine | x | own value | ops.cos(x) | ops.sin(x)
sine | x | second order only, detached | ops.cos(x) | ops.cos(detached(x))
exponential | x | factor forgotten | (0.01 * y) | y
exponential | x | second order only, detached | 0.01 * y | 0.01 * detached(y)
product | a | own value | lambda g, b: g * b | lambda g, a: g * a
product | b | constant | lambda g, a: g * a | lambda g, a: g * 1.0
product | b | second order only, detached | lambda g, a: g * a | lambda g, a: g * detached(a)
matrix product | a | transpose of squares forgotten | ops.transpose(b) | (b if b.shape[0] == b.shape[1] else ops.transpose(b))
matrix product | b | transposed gradient of squares | ops.transpose(a) @ g | (ops.transpose(ops.transpose(a) @ g) if a.shape[1] == g.shape[1] else ops.transpose(a) @ g)
matrix product | b | one per cent | ops.transpose(a) @ g | ops.transpose(a) @ g * 1.01
matrix product | a | second order only, detached | ops.transpose(b) | ops.transpose(detached(b))
row sums | x | mean | x_shape) * 1.0 | x_shape) / x_shape[1]
row sums | x | off by one row | ops.expand_dims(g, 1) | ops.expand_dims(ops.flip(g, 0), 1)
largest | x | every tie | first(x) * | ops.where(x == ops.expand_dims(y, 1), 1.0, 0.0) *
largest | x | twice to the first of ties, minus once to the last | first(x) * | (2 * first(x) - last(x)) *
largest | x | the first entry always | first(x) * | first(0 * x) *
softmax of rows | x | diagonal only | (g - ops.sum(g * y, axis=1, keepdims=True)) | g * (1 - y)
softmax of rows | x | mean | ops.sum( | ops.mean(
softmax of rows | x | second order only, detached | lambda g, y: y * | lambda g, y: detached(y) *
relu | x | by the cotangent | x > 0 | g > 0
relu | x | leaks | g, 0) | g, 0.01 * g)
transposition | x | reshaped | ops.transpose(g) * 1.0 | ops.reshape(g, g.shape[::-1]) * 1.0
transposition | tangent of x | not transposed where it is square | ops.transpose(t) | (t * 1.0 if t.shape[0] == t.shape[1] else ops.transpose(t))
transposition | tangent of x | reshaped | ops.transpose(t) | ops.reshape(t, t.shape[::-1])
tanh | tangent of x | no square | 1 - y * y | 1 - y
tanh | tangent of x | one per cent | t * (1 | 1.01 * t * (1
matrix product | tangent of a | transpose of squares | t @ b | (t @ ops.transpose(b) if b.shape[0] == b.shape[1] else t @ b)
matrix product | tangent of b | one per cent | a @ t | a @ t * 1.01
softmax of rows | tangent of x | diagonal only | (t - ops.sum(t * y, axis=1, keepdims=True)) | t * (1 - y)
softmax of rows | tangent of x | mean | ops.sum( | ops.mean(
softmax of rows | tangent of x | does not move | y * (t | 0 * y * (t
"""


def _operation(body: str, rules: dict[str, str]) -> Any:
    names = {"ops": ops, "np": np, "first": _first, "detached": _detached, "single": _single}
    names["wrong_double"] = _wrong_double
    names |= {"last": _last, "tied": _tied, "one_by_one": _one_by_one, "turned": _turned}
    names["widened"] = lambda g: ops.cast(g, dtype=np.result_type(g.dtype, np.float32))
    names["single_or_more"] = lambda x: np.result_type(x.dtype, np.float32)
    run = eval(body, names)
    run.__name__ = "planted"
    primitive = Primitive(run)
    made = {name: eval(rule, names) for name, rule in rules.items()}
    tangents = {name: made.pop(name) for name in rules if name.startswith(TANGENT)}
    primitive.vjp(**made)
    primitive.jvp(**{name.removeprefix(TANGENT): rule for name, rule in tangents.items()})
    return public_function(primitive, run)


def _bare(x: Any) -> Any:
    return x.numpy() if hasattr(x, "numpy") else x


def _first(x: Any) -> Any:
    x = _bare(x)
    return (np.arange(x.shape[1]) == x.argmax(axis=1)[:, None]).astype(x.dtype)


def _last(x: Any) -> Any:
    return _first(_bare(x)[:, ::-1])[:, ::-1]


def _tied(x: Any) -> Any:
    x = _bare(x)
    return x[:, :1] == x[:, 1:]


def _one_by_one(g: Any) -> Any:
    bare = _bare(g)
    if bare.dtype != np.float16 or not bare.size:
        return ops.sum(g, axis=0)
    total = np.cumsum(bare, axis=0, dtype=bare.dtype)[-1]
    return total if bare is g else Tensor(total)


def _turned(g: Any, x: Any, inverse: Any) -> Any:
    """The cotangent of x for that of the eigenvectors of its symmetric part."""
    w, v = ops.eigh_parts((x + ops.transpose(x)) / 2)
    size = w.shape[0]
    gap = ops.expand_dims(w, 0) - ops.expand_dims(w, 1)
    diagonal = np.eye(size, dtype=bool)
    equal = (np.abs(_bare(gap)) < 1e-9) & ~diagonal
    turn = ops.where(diagonal, 0, inverse(ops.where(diagonal, 1, gap), equal))
    pulled = v @ (turn * (ops.transpose(v) @ g)) @ ops.transpose(v)
    return (pulled + ops.transpose(pulled)) / 2


def _detached(x: Any) -> Any:
    return x.detach() if hasattr(x, "detach") else x


def _single(x: Any) -> Any:
    return ops.cast(ops.cast(x, dtype=np.float32), dtype=x.dtype)


def _wrong_double(x: Any) -> Any:
    return _double()(x)


@lru_cache(maxsize=1)
def _double() -> Any:
    return _operation("lambda xp, x: 2 * x", {"x": "lambda g: g * 3"})


@dataclass(frozen=True)
class WrongRule:
    """A primitive with one rule changed; right if `argument` is empty."""

    name: str
    kind: str
    argument: str
    what: str
    rules: tuple[tuple[str, str], ...]

    @property
    def second_order_only(self) -> bool:
        """Whether the gradient itself is right."""
        return self.what.startswith("second order only")

    def case(self, d: Any) -> TrialCall:
        """An example."""
        if self.kind == "eigenvectors":
            q = d.rotations((3, 3))
            return TrialCall(
                [
                    q * d.spectrum(3) @ q.T
                    + 0.001 * d.uniform(0, 1, (3, 3)) * (d.regime != "degenerate")
                ]
            )
        return TrialCall(
            [d.array(d.shape(sizes), large=100.0) for sizes in RIGHT[self.kind][0].values()]
        )


def _wrong_rules() -> list[WrongRule]:
    found = []
    for line in WRONG.strip().splitlines():
        kind, argument, what, old, new = (part.strip() for part in line.split(" | "))
        rules = dict(RIGHT[kind][2])
        if old not in rules[argument]:
            raise ValueError(f"{kind}: no such text in its rule: {old}")
        rules[argument] = rules[argument].replace(old, new)
        found.append(
            WrongRule(
                f"primitive {kind}: {argument}, {what}", kind, argument, what, tuple(rules.items())
            )
        )
    return found


WRONG_RULES = _wrong_rules()


def hunt_rule(wrong: WrongRule, *, examples: int, seed: int = 0) -> Finding | None:
    """The first Finding of any law, None if the primitive passes."""
    function = _operation(RIGHT[wrong.kind][1], dict(wrong.rules))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for law in (PRIMITIVE_LAWS[name] for name in RULE_LAWS):
            for example in range(max(2, round(examples * law.effort))):
                draws = Draws(seed * 1_000_003 + example, **law.draws, turn=example)
                try:
                    law.check(PrimitiveTrial(wrong.kind, wrong.case, draws, function))
                except LawError as error:
                    return Finding(law.name, example, str(error), error.report)
    return None
