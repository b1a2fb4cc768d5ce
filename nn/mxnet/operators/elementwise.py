"""Elementwise operators of two arrays of one shape, of arrays that broadcast, and of a number.

The conventions at ties, kinks and domain ends are MXNet's: comparisons give 1 and 0 in the type of
the operands, a tie of `maximum` gives its gradient to the left operand, `%` has the divisor's sign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, custom_vjp, ops
from tapegrad.nn.mxnet.attributes import Bool, Float, Int
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.symbol.inference import known, unify

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.attributes import Attributes

__all__ = ["like", "maximum", "minimum", "remainder"]

Pair = Callable[[Any, Any], Any]


def like(x: Tensor, *operands: Any) -> Tensor:
    """x in the type of the operands' first Tensor: truths become 1 and 0."""
    dtype = next(o.dtype for o in operands if isinstance(o, Tensor))
    return ops.cast(x, dtype=dtype)


def maximum(lhs: Tensor, rhs: Tensor | float) -> Tensor:
    """The larger entry; the gradient of a tie goes to lhs."""
    return ops.where(ops.greater_equal(lhs, rhs), lhs, rhs)


def minimum(lhs: Tensor, rhs: Tensor | float) -> Tensor:
    """The smaller entry; the gradient of a tie goes to lhs."""
    return ops.where(ops.less_equal(lhs, rhs), lhs, rhs)


def remainder(lhs: Tensor, rhs: Tensor | float) -> Tensor:
    """lhs mod rhs with the sign of rhs, 0 where rhs is 0."""
    if not isinstance(rhs, Tensor):  # a number decides no type
        return ops.remainder(lhs, rhs) if rhs else lhs * 0
    safe = ops.where(ops.equal(rhs, 0), 1, rhs)
    return ops.where(ops.equal(rhs, 0), 0, ops.remainder(lhs, safe))


def _compare(function: Pair) -> Pair:
    def compare(lhs: Any, rhs: Any) -> Tensor:
        return like(function(lhs, rhs), lhs, rhs)

    return compare


def _truth(function: Pair) -> Pair:
    def both(lhs: Any, rhs: Any) -> Tensor:
        return like(function(ops.not_equal(lhs, 0), ops.not_equal(rhs, 0)), lhs, rhs)

    return both


# name -> (function, whether it is in the family of elementwise operators with a name of its own)
ARITHMETIC: dict[str, Pair] = {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "div": ops.divide,
    "mod": remainder,
    "power": ops.power,
    "maximum": maximum,
    "minimum": minimum,
    "hypot": ops.hypot,
    "equal": _compare(ops.equal),
    "not_equal": _compare(ops.not_equal),
    "greater": _compare(ops.greater),
    "greater_equal": _compare(ops.greater_equal),
    "lesser": _compare(ops.less),
    "lesser_equal": _compare(ops.less_equal),
    "logical_and": _truth(ops.logical_and),
    "logical_or": _truth(ops.logical_or),
    "logical_xor": _truth(ops.logical_xor),
}
# Of one shape: MXNet's name and its aliases.
ELEMENTWISE = {
    "add": ("elemwise_add", "_plus _Plus _add"),
    "sub": ("elemwise_sub", "_minus _Minus _sub"),
    "mul": ("elemwise_mul", "_mul _Mul"),
    "div": ("elemwise_div", "_div _Div"),
    "mod": ("_mod", "_Mod"),
    "power": ("_power", "_Power"),
    "maximum": ("_maximum", "_Maximum"),
    "minimum": ("_minimum", "_Minimum"),
    "hypot": ("_hypot", "_Hypot"),
    "equal": ("_equal", "_Equal"),
    "not_equal": ("_not_equal", "_Not_Equal"),
    "greater": ("_greater", "_Greater"),
    "greater_equal": ("_greater_equal", "_Greater_Equal"),
    "lesser": ("_lesser", "_Lesser"),
    "lesser_equal": ("_lesser_equal", "_Lesser_Equal"),
    "logical_and": ("_logical_and", "_Logical_And"),
    "logical_or": ("_logical_or", "_Logical_Or"),
    "logical_xor": ("_logical_xor", "_Logical_Xor"),
}
BROADCAST_ALIASES = {"add": "broadcast_plus", "sub": "broadcast_minus"}
# With a number on the right; `_r…` operators have it on the left.
SCALAR = {
    "plus": ("add", "_PlusScalar"),
    "minus": ("sub", "_MinusScalar"),
    "mul": ("mul", "_MulScalar"),
    "div": ("div", "_DivScalar"),
    "mod": ("mod", "_ModScalar"),
    "power": ("power", "_PowerScalar"),
    "maximum": ("maximum", "_MaximumScalar"),
    "minimum": ("minimum", "_MinimumScalar"),
    "hypot": ("hypot", "_HypotScalar"),
    "equal": ("equal", "_EqualScalar"),
    "not_equal": ("not_equal", "_NotEqualScalar"),
    "greater": ("greater", "_GreaterScalar"),
    "greater_equal": ("greater_equal", "_GreaterEqualScalar"),
    "lesser": ("lesser", "_LesserScalar"),
    "lesser_equal": ("lesser_equal", "_LesserEqualScalar"),
    "logical_and": ("logical_and", "_LogicalAndScalar"),
    "logical_or": ("logical_or", "_LogicalOrScalar"),
    "logical_xor": ("logical_xor", "_LogicalXorScalar"),
}
REFLECTED = {
    "rminus": ("sub", "_RMinusScalar"),
    "rdiv": ("div", "_RDivScalar"),
    "rmod": ("mod", "_RModScalar"),
    "rpower": ("power", "_RPowerScalar"),
}


def _broadcast_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    lhs, rhs = inputs
    if lhs is None or rhs is None:
        return
    if known(lhs) and known(rhs):
        outputs[0] = unify(outputs[0], np.broadcast_shapes(lhs, rhs))


def _declare_pairs() -> None:
    for word, function in ARITHMETIC.items():
        name, aliases = ELEMENTWISE[word]

        def body(call: Call, lhs: Tensor, rhs: Tensor, run: Pair = function) -> Any:
            return run(lhs, rhs)

        body.__doc__ = f"`{word}` of lhs and rhs, of one shape, elementwise."
        operator(name, "lhs rhs", aliases=aliases, shapes=all_alike)(body)

        def spread(call: Call, lhs: Tensor, rhs: Tensor, run: Pair = function) -> Any:
            return run(lhs, rhs)

        spread.__doc__ = f"`{word}` of lhs and rhs, elementwise, broadcast as in NumPy."
        broadcast = f"broadcast_{word}"
        aliases = BROADCAST_ALIASES.get(word, "")
        operator(broadcast, "lhs rhs", aliases=aliases, shapes=_broadcast_shapes)(spread)


def _declare_scalars() -> None:
    settings: dict[str, Any] = {"scalar": Float(1.0), "is_int": Bool(True)}
    for stem, (word, aliases) in (SCALAR | REFLECTED).items():
        left = stem in REFLECTED

        def body(call: Call, data: Tensor, run: Pair = ARITHMETIC[word], left: bool = left) -> Any:
            number = call.a.scalar
            return run(number, data) if left else run(data, number)

        shown = f"`{word}` of the scalar and data" if left else f"`{word}` of data and the scalar"
        body.__doc__ = f"{shown}, elementwise."
        operator(f"_{stem}_scalar", aliases=aliases, shapes=all_alike, **settings)(body)


_declare_pairs()
_declare_scalars()


@operator(
    "add_n", "args", aliases="ElementWiseSum", variadic="num_args", num_args=Int(), shapes=all_alike
)
def add_n(call: Call, *args: Tensor) -> Tensor:
    """The sum of any number of arrays of one shape."""
    total = args[0]
    for x in args[1:]:
        total = total + x
    return total if len(args) > 1 else total * 1


@operator("smooth_l1", scalar=Float(1.0), is_int=Bool(True), shapes=all_alike)
def smooth_l1(call: Call, data: Tensor) -> Tensor:
    """0.5 (σx)² where |x| < 1/σ², |x| - 0.5/σ² elsewhere, elementwise; σ is the scalar."""
    square = call.a.scalar**2
    size = ops.absolute(data)
    return ops.where(ops.less(size, 1 / square), 0.5 * square * data * data, size - 0.5 / square)


@operator("clip", a_min=Float(), a_max=Float(), shapes=all_alike)
def clip(call: Call, data: Tensor) -> Tensor:
    """data within a_min and a_max; the gradient passes where data is within, ends included."""
    return _clip(data, low=call.a.a_min, high=call.a.a_max)


@custom_vjp
def _clip(x: Any, *, low: float, high: float) -> Any:
    return np.clip(x, low, high)


_clip.vjp(x=lambda g, x, low, high: g * ((x >= low) & (x <= high)))


def _where_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    shape = unify(unify(inputs[1], inputs[2]), outputs[0])
    inputs[1:] = [shape, shape]
    outputs[0] = shape


@operator("where", "condition x y", flat="condition", shapes=_where_shapes)
def where(call: Call, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where the condition is not 0, else y; a condition of one axis chooses whole rows."""
    chosen = ops.not_equal(condition, 0)
    if condition.ndim == 1 and x.ndim > 1:
        chosen = chosen.reshape((-1,) + (1,) * (x.ndim - 1))
    return ops.where(chosen, x, y)
