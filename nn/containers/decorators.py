"""Decorators: modules around one module, which change how it runs.

Bottle folds axes, WeightNorm and SpectralNorm compute the module's weight, DontCast keeps a
dtype, NaN finds NaN, Profile measures time, GPU places the module, Checkpoint saves memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, checkpoint, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_, normal_
from tapegrad.nn.core.own import gradient_from_tape
from tapegrad.nn.core.part import text_of
from tapegrad.nn.core.state import saved_record
from tapegrad.nn.core.text import torch7_name

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, DTypeLike, Nest
    from tapegrad.devices import Device
    from tapegrad.nn.module import Module

__all__ = [
    "Bottle",
    "Checkpoint",
    "Decorator",
    "DontCast",
    "GPU",
    "NaN",
    "Profile",
    "SpectralNorm",
    "WeightNorm",
]

NOT_A_NUMBER = "found NaN in {what} of {module}"


class Decorator(Container):
    """y = m(x): one module; subclasses add something around its call.  Source: nn.Decorator."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        return self.modules[0](x)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)}{self._note(first)} @ {text_of(self.modules[0], first)}"

    def _note(self, first: int) -> str:
        return ""


class Bottle(Decorator):
    """y = m(x) for an x with more axes than m takes: the first of them are folded into one.

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

    def updateOutput(self, x: Tensor) -> Tensor:
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
    """y = m(x), where the reverse sweep runs m again instead of keeping its intermediate results.

    The gradients are those of m.  The tape holds x and y only, and the sweep takes one more run of
    m (`checkpoint`), which repeats random draws and leaves running statistics alone.  After
    `forward` and `backward` the modules inside have no `output` and no `gradInput`: that is the
    memory saved.  Not in Torch7.
    """

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        return checkpoint(self.modules[0])(x)


class WeightNorm(Decorator):
    """A module whose weight is W = g · v/√(‖v‖² + 10⁻⁴), row by row, with v and g learned.

    outputDim: the axis of the weight whose slices are the rows.  v (n_out, all other axes), from
    N(0, 2/entries a row); g (n_out, 1), from 1; the module's bias from 0.
    The module's `weight` is no longer a Parameter: each call computes it.
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
        module.weight = None  # a Parameter would take the values of what is assigned to it
        self.reset()

    @property
    def _layer(self) -> Any:  # a layer with a weight
        return self.modules[0]

    @property
    def bias(self) -> Any:
        """The module's bias."""
        return self._layer.bias

    def reset(self, stdv: float | None = None) -> None:
        """Draw v from N(0, 2/entries a row), or N(0, stdv²); g to 1, bias to 0."""
        normal_(self.v, 0.0, (2 / self.otherDims) ** 0.5 if stdv is None else stdv)
        fill_(self.g, 1.0)
        fill_(vars(self.modules[0]).get("bias"), 0.0)
        self._layer.weight = self._weight().detach()

    def _weight(self) -> Any:
        norm = ops.sqrt(ops.sum(ops.square(self.v), axis=1, keepdims=True) + 1e-4)
        axis = self.outputDim % len(self.shape)
        shape = (self.shape[axis], *self.shape[:axis], *self.shape[axis + 1 :])
        return ops.moveaxis((self.v * (self.g / norm)).reshape(shape), 0, axis)

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        module, weight = self._layer, self._weight()
        module.weight = weight
        try:
            return module(x)
        finally:
            module.weight = weight.detach()  # which can be read, and does not keep the tape


class SpectralNorm(Decorator):
    """A module whose weight is W / ‖W‖₂, with W learned: its largest singular value is 1.

    The weight counts as a matrix (n_out, all other axes).  The parameter `v` is W, in the weight's
    shape, and starts from the module's weight; the module's `weight` is no longer a Parameter: each
    call computes it.  The norm is exact, by a singular value decomposition in each call, so that
    nothing is remembered between calls.  Raises TypeError for a module without a weight, ShapeError
    for a weight of one axis.
    Source: T. Miyato et al., "Spectral normalization for generative adversarial networks", ICLR
    2018, equation 8, where the norm is estimated by power iteration.
    """

    keeps = ("v",)

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        weight = vars(module).get("weight")
        if not isinstance(weight, Parameter):
            raise TypeError(f"SpectralNorm: {type(module).__name__} has no parameter called weight")
        if weight.ndim < 2:
            raise ShapeError(f"SpectralNorm: the weight of shape {weight.shape} is no matrix")
        self.v = Parameter(weight.numpy().copy())
        module.weight = None  # a Parameter would take the values of what is assigned to it
        self._layer.weight = self._weight().detach()

    @property
    def _layer(self) -> Any:  # a layer with a weight
        return self.modules[0]

    @property
    def bias(self) -> Any:
        """The module's bias."""
        return self._layer.bias

    def reset(self, stdv: float | None = None) -> None:
        """Draw W as the module draws its weight."""
        layer = self._layer
        layer.weight = Parameter(self.v.numpy().copy())
        layer.reset(stdv)
        ops.assign(self.v.detach(), layer.weight.detach())
        layer.weight = None  # so that it is no Parameter any more
        layer.weight = self._weight().detach()

    def _weight(self) -> Any:
        rows = self.v.reshape((self.v.shape[0], -1))
        return self.v / ops.matrix_norm(rows, ord=2)

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        module, weight = self._layer, self._weight()
        module.weight = weight
        try:
            return module(x)
        finally:
            module.weight = weight.detach()  # which can be read, and does not keep the tape


class DontCast(Decorator):
    """y = m(x), where m keeps its dtype when a module around it is converted.

    castin: whether to convert x to the dtype of m.  castout: whether to convert y to the dtype of
    x; as castin when None.  moduleType: a dtype, or Torch7's name of one, to which m is converted
    first.  `to(device)` moves m as any other module.  Source: nn.DontCast.
    """

    keeps = ("castin", "castout")
    _keeps_type = True

    def __init__(
        self,
        module: Module,
        castin: bool = False,
        castout: bool | None = None,
        moduleType: DTypeLike | None = None,
    ) -> None:
        super().__init__(module)
        self.castin = castin
        self.castout = castin if castout is None else castout
        if moduleType is not None:
            module.type(moduleType)

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        module = self.modules[0]
        x_dtype = next((a.dtype for a in leaves(x) if a.dtype.kind == "f"), None)
        y = module(_cast_floats(x, module.type()) if self.castin else x)
        return _cast_floats(y, x_dtype) if self.castout else y


def _cast_floats(x: Nest, dtype: DTypeLike | None) -> Nest:
    def cast(a: Tensor) -> Tensor:
        if a.dtype.kind != "f" or a.dtype == dtype or dtype is None:
            return a
        converted: Tensor = ops.cast(a, dtype=dtype)
        return converted

    return map_leaves(cast, x)


class NaN(Decorator):
    """y = m(x), and an error at the first NaN in the results or gradients of m.

    The module checks the output, the gradients with respect to output and input, and, in calls of
    its own `backward` and `accGradParameters`, the gradients of parameters.
    id: a name for the message; the next number when omitted.
    Raises FloatingPointError that names the module and which of these holds the NaN.
    Source: nn.NaN.
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

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        name = f"{type(self.modules[0]).__name__} (id {self.id})"
        y = self.modules[0](_watch_gradient(x, _NaNCheck("gradInput", name)))
        map_leaves(_NaNCheck("output", name), y)
        return _watch_gradient(y, _NaNCheck("gradOutput", name))

    @gradient_from_tape
    def backward(self, input: Nest, gradOutput: Nest, scale: float = 1) -> Nest:
        """As in Module; checks the gradients of parameters too."""
        result = super().backward(input, gradOutput, scale)
        self._check_parameter_gradients()
        return result

    @gradient_from_tape
    def accGradParameters(self, input: Nest, gradOutput: Nest, scale: float = 1) -> None:
        """As in Module; checks the gradients of parameters too."""
        super().accGradParameters(input, gradOutput, scale)
        self._check_parameter_gradients()

    def _check_parameter_gradients(self) -> None:
        for name, parameter in self.modules[0].named_parameters():
            if parameter.grad is not None:
                module = f"{type(self.modules[0]).__name__} (id {self.id})"
                _NaNCheck(f"the gradient of {name}", module)(parameter.grad)


@dataclass(frozen=True)
class _NaNCheck:
    """Raises FloatingPointError, naming `what` and `module`, for an array with a NaN."""

    what: str
    module: str

    def __call__(self, array: Any) -> None:
        array = array_of(array) if isinstance(array, Tensor) else array
        if array.dtype.kind == "f" and bool(devices.namespace(array).isnan(array).any()):
            raise FloatingPointError(NOT_A_NUMBER.format(what=self.what, module=self.module))


def _watch_gradient(x: Nest, watch: Callable[[Array], None]) -> Nest:
    """x, so that the reverse sweep calls `watch` on the cotangent of each floating point array."""
    return map_leaves(lambda a: ops.watch_gradient(a, watch=watch) if a.dtype.kind == "f" else a, x)


class Profile(Decorator):
    """y = m(x), with the time that m takes, forward and backward.

    Every print_interval calls, a line with the mean goes to standard output.  The counts are in
    `numFwds` and `numBwds`, the seconds in `summedFwdTime` and `summedBwdTime`.
    name: the module's name in that line.  Source: nn.Profile.
    """

    keeps = ("print_interval", "name", "_clocks")

    def __init__(self, module: Module, print_interval: int = 100, name: str | None = None) -> None:
        super().__init__(module)
        self.print_interval = print_interval
        self.name = torch7_name(module) if name is None else name
        self._clock_pair()

    def _clock_pair(self) -> tuple[_Clock, _Clock]:
        """(forward clock, backward clock), made now for a module from a Torch7 file."""
        if "_clocks" not in vars(self):
            self._clocks = (
                _Clock(self.name, self.print_interval),
                _Clock(self.name, self.print_interval),
            )
        return self._clocks

    @property
    def numFwds(self) -> int:
        """The number of timed calls of the module."""
        return self._clock_pair()[0].count

    @property
    def numBwds(self) -> int:
        """The number of timed backward passes through the module."""
        return self._clock_pair()[1].count

    @property
    def summedFwdTime(self) -> float:
        """The seconds in the module's forward code."""
        return self._clock_pair()[0].total

    @property
    def summedBwdTime(self) -> float:
        """The seconds from a gradient's arrival at the module's output to that at its input."""
        return self._clock_pair()[1].total

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        forward, backward = self._clock_pair()
        x = _watch_gradient(x, backward.stop)
        forward.start()
        y = self.modules[0](x)
        forward.stop()
        return _watch_gradient(y, backward.start)


@saved_record
@dataclass
class _Clock:
    """Sums the times from each start to the next stop; holds no module, to avoid a cycle."""

    name: str
    interval: int
    count: int = 0
    total: float = 0.0
    _since: float | None = field(default=None, repr=False)

    def start(self, array: Array | None = None) -> None:
        """Begin to measure.  `array` is not used; the reverse sweep passes the cotangent."""
        self._since = time.perf_counter()

    def stop(self, array: Array | None = None) -> None:
        """End a measurement, if one is running; `array` as in `start`."""
        if self._since is None:
            return
        self.total += time.perf_counter() - self._since
        self._since = None
        self.count += 1
        if self.count % self.interval == 0:
            mean = self.total / self.count
            sys.stdout.write(f"{self.name}: {self.count} passes, {mean:.3g} s each\n")


class GPU(Decorator):
    """y = m(x), with m on the GPU number `device` and y on the GPU number `outdevice`.

    `cuda()` of a module around it moves m to its own GPU.  Before, on the CPU, x and y stay there.
    Source: nn.GPU.
    """

    keeps = ("device", "outdevice")
    counts: ClassVar[Mapping[str, str]] = {"device": "index", "outdevice": "index"}

    def __init__(self, module: Module, device: int = 0, outdevice: int | None = None) -> None:
        super().__init__(module)
        self.device = device
        self.outdevice = device if outdevice is None else outdevice

    def _note(self, first: int) -> str:
        return f"({self.device + first})"

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the module takes -> what it returns."""
        y = self.modules[0](_move_to_gpu(x, self.device))
        return _move_to_gpu(y, self.outdevice)

    def to(self, device: str | Device) -> Self:
        """Move to the CPU, or for any GPU to the module's own; returns self."""
        target = devices.device(device)
        return super().to(f"cuda:{self.device}" if str(target).startswith("cuda") else target)


def _move_to_gpu(x: Nest, index: int) -> Nest:
    def move(a: Tensor) -> Tensor:
        return a.to(f"cuda:{index}") if str(a.device).startswith("cuda") else a

    return map_leaves(move, x)
