"""Decorators: modules around one module, which change how it is called and not what it learns.

Bottle folds axes, WeightNorm computes the weight from others, DontCast keeps a dtype, NaN and
Profile watch, GPU says where, Checkpoint saves memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, checkpoint, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_, normal_
from tapegrad.nn.core.own import derived
from tapegrad.nn.core.part import shown
from tapegrad.nn.core.state import record
from tapegrad.nn.core.text import torch7_name

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["Bottle", "Checkpoint", "Decorator", "DontCast", "GPU", "NaN", "Profile", "WeightNorm"]

NOT_A_NUMBER = "found NaN in {what} of {module}"


class Decorator(Container):
    """y = m(x): one module, decorated by what subclasses do around it.  Source: nn.Decorator."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)

    def updateOutput(self, x: Any) -> Any:
        """x: whatever the module takes -> what it returns."""
        return self.modules[0](x)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)}{self._note(first)} @ {shown(self.modules[0], first)}"

    def _note(self, first: int) -> str:
        return ""


class Bottle(Decorator):
    """y = m(x) for an x with more axes than m takes: the first ones are folded into one.

    x: (a, b, …, *sample), where m takes nInputDim axes, the first of them a batch -> (a, b, …,
    *result), where m returns nOutputDim axes.
    Raises ShapeError when m returns another number of axes.  Source: nn.Bottle.
    """

    keeps = ("nInputDim", "nOutputDim", "dimDelta")

    def __init__(self, module: Module, nInputDim: int = 2, nOutputDim: int | None = None) -> None:
        super().__init__(module)
        self.nInputDim = nInputDim
        self.nOutputDim = nInputDim if nOutputDim is None else nOutputDim
        self.dimDelta = self.nInputDim - self.nOutputDim

    def updateOutput(self, x: Any) -> Any:
        """x: (…, *sample) -> (…, *result)."""
        folded = x.ndim - self.nInputDim + 1
        if folded <= 1:
            return self.modules[0](x)
        batch = x.shape[:folded]
        y = self.modules[0](x.reshape((int(np.prod(batch)), *x.shape[folded:])))
        if y.ndim != self.nOutputDim:
            raise ShapeError(f"the module returned {y.ndim} axes, nOutputDim is {self.nOutputDim}")
        return y.reshape((*batch, *y.shape[1:]))


class Checkpoint(Decorator):
    """y = m(x), where what m computes inside is computed again in the reverse sweep, not kept.

    Gradients are those of m; memory is that of x and y, time one more run of m (`checkpoint`).
    Random draws are repeated, and running statistics move once.  After `forward` and `backward`
    the modules inside have no `output` and no `gradInput`: keeping these is what is saved.
    Not in Torch7.
    """

    def updateOutput(self, x: Any) -> Any:
        """x: whatever the module takes -> what it returns."""
        return checkpoint(self.modules[0])(x)


class WeightNorm(Decorator):
    """A module whose weight is W = g · v/√(‖v‖² + 10⁻⁴), row by row, with v and g learned.

    outputDim: the axis of the weight whose slices are the rows.  v (n_out, all other axes), from
    N(0, 2/entries a row); g (n_out, 1), from 1; the module's bias from 0.
    The module's `weight` is no Parameter any more: it is computed at each call.
    Raises TypeError for a module without a weight.  Source: nn.WeightNorm; T. Salimans, D. Kingma,
    "Weight Normalization", 2016.
    """

    keeps = ("outputDim", "shape", "otherDims", "v", "g")
    counts: ClassVar[Mapping[str, str]] = {"outputDim": "dimension"}

    def __init__(self, module: Module, outputDim: int = 0) -> None:
        super().__init__(module)
        weight = vars(module).get("weight")
        if not isinstance(weight, Parameter):
            raise TypeError(f"WeightNorm: {type(module).__name__} has no parameter called weight")
        self.outputDim = outputDim
        self.shape = tuple(weight.shape)
        n_out = self.shape[outputDim]
        self.otherDims = weight.size // n_out
        self.v = Parameter(np.empty((n_out, self.otherDims), weight.dtype))
        self.g = Parameter(np.empty((n_out, 1), weight.dtype))
        self.reset()

    @property
    def bias(self) -> Any:
        """The module's bias."""
        return self.modules[0].bias

    def reset(self, stdv: float | None = None) -> None:
        """Draw v from N(0, 2/entries a row), or N(0, stdv²); g to 1, bias to 0."""
        normal_(self.v, 0.0, (2 / self.otherDims) ** 0.5 if stdv is None else stdv)
        fill_(self.g, 1.0)
        fill_(vars(self.modules[0]).get("bias"), 0.0)
        self.modules[0].weight = self._weight().detach()

    def _weight(self) -> Any:
        norm = ops.sqrt(ops.sum(ops.square(self.v), axis=1, keepdims=True) + 1e-4)
        axis = self.outputDim % len(self.shape)
        shape = (self.shape[axis], *self.shape[:axis], *self.shape[axis + 1 :])
        return ops.moveaxis((self.v * (self.g / norm)).reshape(shape), 0, axis)

    def updateOutput(self, x: Any) -> Any:
        """x: whatever the module takes -> what it returns."""
        module, weight = self.modules[0], self._weight()
        module.weight = weight
        try:
            return module(x)
        finally:
            module.weight = weight.detach()  # readable, and no hold on the tape


class DontCast(Decorator):
    """A module that keeps its dtype when what it is in is converted.

    castin: x is converted to the module's dtype; castout, as castin unless given: what it returns
    to that of x.  moduleType: a dtype, or Torch7's name of one, to convert the module to first.
    `to(device)` moves it as any other.  Source: nn.DontCast.
    """

    keeps = ("castin", "castout")
    _keeps_type = True

    def __init__(
        self,
        module: Module,
        castin: bool = False,
        castout: bool | None = None,
        moduleType: Any = None,
    ) -> None:
        super().__init__(module)
        self.castin = castin
        self.castout = castin if castout is None else castout
        if moduleType is not None:
            module.type(moduleType)

    def updateOutput(self, x: Any) -> Any:
        """x: whatever the module takes -> what it returns."""
        module = self.modules[0]
        given = next((a.dtype for a in leaves(x) if a.dtype.kind == "f"), None)
        y = module(_cast(x, module.type()) if self.castin else x)
        return _cast(y, given) if self.castout else y


def _cast(x: Any, dtype: Any) -> Any:
    def cast(a: Any) -> Any:
        kept = a.dtype.kind != "f" or a.dtype == dtype or dtype is None
        return a if kept else ops.cast(a, dtype=dtype)

    return map_leaves(cast, x)


class NaN(Decorator):
    """y = m(x), and an error as soon as there is a NaN in what m returns or hands back.

    Looks at the output, at the gradients with respect to output and input, and, when its own
    `backward` or `accGradParameters` is called, at the gradients of parameters.
    id: a name for the message; numbers count up when omitted.
    Raises FloatingPointError naming the module and the place.  Source: nn.NaN.
    """

    keeps = ("id",)
    _made: ClassVar[list[int]] = [0]

    def __init__(self, module: Module, id: int | str | None = None) -> None:
        super().__init__(module)
        if id is None:
            self._made[0] += 1
            id = self._made[0]
        self.id = id

    def _note(self, first: int) -> str:
        return f"({self.id})"

    def updateOutput(self, x: Any) -> Any:
        """x: whatever the module takes -> what it returns."""
        name = f"{type(self.modules[0]).__name__} (id {self.id})"
        y = self.modules[0](_watched(x, _NoNaN("gradInput", name)))
        map_leaves(_NoNaN("output", name), y)
        return _watched(y, _NoNaN("gradOutput", name))

    @derived
    def backward(self, input: Any, gradOutput: Any, scale: float = 1) -> Any:
        """As in Module; the gradients of parameters are looked at too."""
        result = super().backward(input, gradOutput, scale)
        self._look_at_gradients()
        return result

    @derived
    def accGradParameters(self, input: Any, gradOutput: Any, scale: float = 1) -> None:
        """As in Module; the gradients of parameters are looked at too."""
        super().accGradParameters(input, gradOutput, scale)
        self._look_at_gradients()

    def _look_at_gradients(self) -> None:
        for name, parameter in self.modules[0].named_parameters():
            if parameter.grad is not None:
                module = f"{type(self.modules[0]).__name__} (id {self.id})"
                _NoNaN(f"the gradient of {name}", module)(parameter.grad)


@dataclass(frozen=True)
class _NoNaN:
    what: str
    module: str

    def __call__(self, array: Any) -> None:
        array = array_of(array) if isinstance(array, Tensor) else array
        if array.dtype.kind == "f" and bool(devices.namespace(array).isnan(array).any()):
            raise FloatingPointError(NOT_A_NUMBER.format(what=self.what, module=self.module))


def _watched(x: Any, watch: Any) -> Any:
    return map_leaves(lambda a: ops.watch_gradient(a, watch=watch) if a.dtype.kind == "f" else a, x)


class Profile(Decorator):
    """y = m(x), and how long m takes, forward and backward.

    Every print_interval calls a line with the means is written to standard output.  The counts
    `numFwds`, `numBwds` and the seconds `summedFwdTime`, `summedBwdTime` can be read.
    name: what the line calls the module.  Source: nn.Profile.
    """

    keeps = ("print_interval", "name", "_clocks")

    def __init__(self, module: Module, print_interval: int = 100, name: str | None = None) -> None:
        super().__init__(module)
        self.print_interval = print_interval
        self.name = torch7_name(module) if name is None else name
        self._both()

    def _both(self) -> tuple[_Clock, _Clock]:
        """The clocks, forward and backward; a module from a Torch7 file has none yet."""
        if "_clocks" not in vars(self):
            self._clocks = tuple(_Clock(self.name, self.print_interval) for _ in range(2))
        return self._clocks

    @property
    def numFwds(self) -> int:
        """How many calls of the module were timed."""
        return self._both()[0].count

    @property
    def numBwds(self) -> int:
        """How many backward passes through it were timed."""
        return self._both()[1].count

    @property
    def summedFwdTime(self) -> float:
        """Seconds spent in its forward code."""
        return self._both()[0].total

    @property
    def summedBwdTime(self) -> float:
        """Seconds between the arrival of a gradient at its output and at its input."""
        return self._both()[1].total

    def updateOutput(self, x: Any) -> Any:
        """x: whatever the module takes -> what it returns."""
        forward, backward = self._both()
        x = _watched(x, backward.stop)
        forward.start()
        y = self.modules[0](x)
        forward.stop()
        return _watched(y, backward.start)


@record
@dataclass
class _Clock:
    """Adds up the time between starts and stops; knows no module, so that no cycle arises."""

    name: str
    interval: int
    count: int = 0
    total: float = 0.0
    _since: float | None = field(default=None, repr=False)

    def start(self, array: Any = None) -> None:
        self._since = time.perf_counter()

    def stop(self, array: Any = None) -> None:
        if self._since is None:
            return
        self.total += time.perf_counter() - self._since
        self._since = None
        self.count += 1
        if self.count % self.interval == 0:
            mean = self.total / self.count
            sys.stdout.write(f"{self.name}: {self.count} passes, {mean:.3g} s each\n")


class GPU(Decorator):
    """y = m(x), with m on the GPU `device` and what it returns on the GPU `outdevice`.

    An x on the CPU passes through to m as it is: the module is moved, with `cuda()`, when its
    container is.  Source: nn.GPU.
    """

    keeps = ("device", "outdevice")
    counts: ClassVar[Mapping[str, str]] = {"device": "index", "outdevice": "index"}

    def __init__(self, module: Module, device: int = 0, outdevice: int | None = None) -> None:
        super().__init__(module)
        self.device = device
        self.outdevice = device if outdevice is None else outdevice

    def _note(self, first: int) -> str:
        return f"({self.device + first})"

    def updateOutput(self, x: Any) -> Any:
        """x: whatever the module takes -> what it returns."""
        y = self.modules[0](_on_gpu(x, self.device))
        return _on_gpu(y, self.outdevice)

    def to(self, device: Any) -> Any:
        """Move to the CPU, or to the GPU of its own whichever `device` names; returns self."""
        target = devices.device(device)
        return super().to(f"cuda:{self.device}" if str(target).startswith("cuda") else target)


def _on_gpu(x: Any, index: int) -> Any:
    def move(a: Any) -> Any:
        return a.to(f"cuda:{index}") if str(a.device).startswith("cuda") else a

    return map_leaves(move, x)
