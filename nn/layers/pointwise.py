"""Products and sums with learned or constant arrays, entry by entry, and constants.

CMul, CAdd, Mul and Add have parameters; MulConstant, AddConstant and Constant have none.  `inplace`
is accepted and kept, and changes nothing: the caller's arrays are never overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.layers.shape import lengths_of
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = ["Add", "AddConstant", "CAdd", "CMul", "Constant", "Mul", "MulConstant", "SAdd", "Scale"]


class CMul(Module):
    """y = x · weight, entry by entry: CMul(5), or CMul(1, 5, 1), whose axes of length 1 broadcast.

    x: as many entries as weight, or as many axes, or (N, …) with as many entries a sample -> the
    shape of x;  weight has the shape `sizes`, from U(-s, s) with s = 1/√entries.
    Raises ShapeError for other shapes.  Source: nn.CMul.
    """

    keeps = ("weight",)
    promotes = True

    def __init__(self, *sizes: int | Iterable[int]) -> None:
        self.weight = Parameter(np.empty(lengths_of(sizes), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from U(-s, s): s = 1/√entries, or stdv·√3."""
        s = bound(self.weight.size, stdv)
        uniform_(self.weight, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        return x * broadcast_parameter(self.weight, x)


class CAdd(Module):
    """y = x + bias, entry by entry; shapes, start and errors as in CMul.  Source: nn.CAdd."""

    keeps = ("bias",)
    promotes = True

    def __init__(self, *sizes: int | Iterable[int]) -> None:
        self.bias = Parameter(np.empty(lengths_of(sizes), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw bias from U(-s, s): s = 1/√entries, or stdv·√3."""
        s = bound(self.bias.size, stdv)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        return x + broadcast_parameter(self.bias, x)


class Mul(Module):
    """y = x · weight, with one learned factor: any shape -> the same;  weight (1,), from U(-1, 1).

    Source: nn.Mul.
    """

    keeps = ("weight",)
    promotes = True

    def __init__(self) -> None:
        self.weight = Parameter(np.empty(1, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from U(-s, s): s = 1, or stdv·√3."""
        s = bound(1, stdv)
        uniform_(self.weight, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        return x * (self.weight if x.ndim else self.weight.reshape(()))


class Add(Module):
    """y = x + bias.

    x: inputSize entries, or (N, …) with inputSize entries a sample -> the same shape;  bias
    (inputSize,), or (1,) with scalar=True, when any shape will do.  It starts from U(-s, s), s =
    1/√entries.  Raises ShapeError for other shapes.  Source: nn.Add.
    """

    keeps = ("scalar", "bias")
    promotes = True

    def __init__(self, inputSize: int, scalar: bool = False) -> None:
        self.scalar = bool(scalar)
        self.bias = Parameter(np.empty(1 if scalar else inputSize, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw bias from U(-s, s): s = 1/√entries, or stdv·√3."""
        s = bound(self.bias.size, stdv)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        return x + (self.bias.reshape(()) if self.scalar else broadcast_parameter(self.bias, x))


class MulConstant(Module):
    """y = c · x: any shape -> the same.  `inplace` is accepted and kept.

    Source: nn.MulConstant.
    """

    keeps = ("constant_scalar", "inplace")
    promotes = True

    def __init__(self, constant_scalar: float, inplace: bool = False) -> None:
        self.constant_scalar = constant_scalar
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return x * self.constant_scalar


class AddConstant(Module):
    """y = x + c, with c a number, or an array that broadcasts to x, such as one sample's.

    x: any shape -> the same.  `inplace` is accepted and kept.  Raises ShapeError when c does not
    broadcast.  Source: nn.AddConstant.
    """

    keeps = ("constant_scalar", "constant_tensor", "inplace")
    promotes = True
    constant_scalar: float | None = None  # one of these is set
    constant_tensor: Buffer | None = None

    def __init__(self, constant_scalar: Operand, inplace: bool = False) -> None:
        if isinstance(constant_scalar, (int, float)):
            self.constant_scalar = constant_scalar
        else:
            self.constant_tensor = float_buffer(constant_scalar)
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        c = self.constant_tensor
        if c is None:
            assert self.constant_scalar is not None  # the constructor sets one of both
            return x + self.constant_scalar
        fits = c.ndim <= x.ndim and all(
            a in (1, b) for a, b in zip(c.shape[::-1], x.shape[::-1], strict=False)
        )
        if not fits:
            raise ShapeError(f"the constant of shape {c.shape} does not broadcast to {x.shape}")
        return x + c


class Constant(Module):
    """y = value, whatever x is; the gradient of x is 0.

    nInputDim: how many axes a single sample of x has; with more, there is one value a sample:
    (N, …) -> (N, *value.shape).  Source: nn.Constant.
    """

    keeps = ("value", "nInputDim")
    promotes = True

    def __init__(self, value: Operand, nInputDim: int | None = None) -> None:
        self.value = float_buffer(
            np.atleast_1d(value) if isinstance(value, (int, float)) else value
        )
        self.nInputDim = nInputDim

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.nInputDim is None or x.ndim <= self.nInputDim:
            return ops.copy(self.value)
        return ops.broadcast_to(self.value, (x.shape[0], *self.value.shape))


def float_buffer(value: Operand) -> Buffer:
    """Return a constant as a Buffer, in its own dtype if floating point, else the default."""
    array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    return Buffer(array if array.dtype.kind == "f" else array.astype(default_dtype()))


def broadcast_parameter(parameter: Parameter, x: Tensor) -> Tensor:
    """Reshape `parameter` so that it broadcasts to x, by Torch7's rule for CMul, CAdd and Add.

    Raises ShapeError when no such shape exists.
    """
    if parameter.size == x.size:
        return parameter.reshape(x.shape)
    lengths = zip(parameter.shape, x.shape, strict=False)
    if parameter.ndim == x.ndim and all(a in (1, b) for a, b in lengths):
        return parameter
    if x.ndim > 1 and math.prod(x.shape[1:]) == parameter.size:
        return parameter.reshape((1, *x.shape[1:]))
    raise ShapeError(f"the input of shape {x.shape} does not go with a {parameter.shape} parameter")


class SAdd(Module):
    """y = x + addend, or its negative, elementwise: any shape -> the same shape.

    negate: return -(x + addend).  Source: torch/rnn's nn.SAdd.
    """

    keeps = ("addend", "negate")
    promotes = True

    def __init__(self, addend: float, negate: bool = False) -> None:
        self.addend = addend
        self.negate = negate

    def updateOutput(self, x: Tensor) -> Tensor:
        y = x + self.addend
        return -y if self.negate else y


class Scale(Module):
    """y = x · weight + bias, entry by entry: CMul, then CAdd, with parameters of shape `sizes`.

    Shapes, start and errors as in CMul.  Source: BigDL's Scale.
    """

    keeps = ("weight", "bias")
    promotes = True

    def __init__(self, *sizes: int | Iterable[int]) -> None:
        self.weight = Parameter(np.empty(lengths_of(sizes), default_dtype()))
        self.bias = Parameter(np.empty(lengths_of(sizes), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√entries, or stdv·√3."""
        s = bound(self.weight.size, stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        return x * broadcast_parameter(self.weight, x) + broadcast_parameter(self.bias, x)
