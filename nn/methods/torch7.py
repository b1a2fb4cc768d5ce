"""Torch7's methods of a module, derived from its forward code.

Everything Torch7 asked for by hand is read off the tape, here, once: `backward`, `updateGradInput`,
`accGradParameters` and the fields `output`, `gradInput`, `gradWeight`.  The mixin has no state; it
stands on `Part` and knows no layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.autograd.core.mode import guard
from tapegrad.nn.core import memory
from tapegrad.nn.core.own import derived
from tapegrad.nn.core.part import Part, empty, gradient_of, known_dtype
from tapegrad.nn.core.reading import (
    NO_FORWARD,
    add_to_parameters,
    gradients_to_inputs,
    reverse,
    same_input,
    seeds_for,
)
from tapegrad.nn.core.run import last, run_of
from tapegrad.nn.core.text import torch7_name

if TYPE_CHECKING:
    from tapegrad.nn.core.spans import Trace

__all__ = ["TORCH_TYPES", "Torch7"]

# Torch7's tensor type names, as `type()` takes them.
TORCH_TYPES = {
    "torch.FloatTensor": np.float32,
    "torch.DoubleTensor": np.float64,
    "torch.HalfTensor": np.float16,
    "torch.CudaTensor": np.float32,
}

Number = float  # in the body of the class, `float` and `type` are methods
Class = type


class Torch7(Part):
    """What Torch7's nn.Module offers beside `forward`."""

    weight: Any
    bias: Any
    _by_hand: bool  # whether the class writes its gradient itself; Module finds out

    # Gradients ------------------------------------------------------------------------------------

    @derived
    def backward(self, input: Any, gradOutput: Any, scale: Number = 1) -> Any:
        """`updateGradInput` and `accGradParameters` in one sweep; returns gradInput.

        input:      what the last `forward` ran on: the same memory, or equal bits
        gradOutput: gradient with respect to `output`, of its shape
        scale:      factor on what is added to the parameters' gradients
        Raises ValueError for another input, RuntimeError without a forward, ShapeError when
        gradOutput does not fit.  May be repeated.
        """
        if self._by_hand:
            self.updateGradInput(input, gradOutput)
            if not self._frozen or self._parameters():
                self.accGradParameters(input, gradOutput, scale)
            return self.gradInput
        trace, found = self._reverse("backward", input, gradOutput, inputs=True, parameters=None)
        add_to_parameters(found, scale)
        gradients_to_inputs(trace, found, gradOutput)
        return self.gradInput

    @derived
    def updateGradInput(self, input: Any, gradOutput: Any) -> Any:
        """The gradient with respect to the input, kept as `gradInput`; parameters are untouched."""
        trace, found = self._reverse(
            "updateGradInput", input, gradOutput, inputs=True, parameters=[]
        )
        gradients_to_inputs(trace, found, gradOutput)
        return self.gradInput

    @derived
    def accGradParameters(self, input: Any, gradOutput: Any, scale: Number = 1) -> None:
        """Add scale times the gradient with respect to each parameter to its gradient."""
        _, found = self._reverse(
            "accGradParameters", input, gradOutput, inputs=False, parameters=self._parameters()
        )
        add_to_parameters(found, scale)

    def accUpdateGradParameters(self, input: Any, gradOutput: Any, lr: Number) -> None:
        """p -= lr · gradient for each parameter, leaving the gathered gradients as they are."""
        if type(self).accGradParameters is not Torch7.accGradParameters:
            kept = [(p, p.grad) for p in self._parameters()]
            for p, _ in kept:
                p.grad = np.zeros(p.shape, p.dtype)
            self.accGradParameters(input, gradOutput, 1)
            self.updateParameters(lr)
            for p, gradient in kept:
                p.grad = gradient
            return
        _, found = self._reverse(
            "accUpdateGradParameters",
            input,
            gradOutput,
            inputs=False,
            parameters=self._parameters(),
        )
        for p in self._parameters():
            if p._node in found:
                ops.accumulate(p.detach(), found[p._node] * -lr)

    def backwardUpdate(self, input: Any, gradOutput: Any, lr: Number) -> Any:
        """`updateGradInput`, then `accUpdateGradParameters`; returns gradInput."""
        self.updateGradInput(input, gradOutput)
        self.accUpdateGradParameters(input, gradOutput, lr)
        return self.gradInput

    def _reverse(
        self,
        method: str,
        given: Any,
        grad_output: Any,
        *,
        inputs: bool,
        parameters: list[Parameter] | None,
    ) -> tuple[Trace, dict[Any, Any]]:
        name = type(self).__name__
        trace = last(self, "trace")
        span = same_input(name, method, given, trace)
        seeds = seeds_for(name, method, span, grad_output)
        if not seeds and not any(n is not None for n in span.nodes) and self._parameters():
            raise RuntimeError(NO_FORWARD.format(name=name, method=method))
        return trace, reverse(trace, seeds, inputs=inputs, parameters=parameters)

    # Fields ---------------------------------------------------------------------------------------

    @property
    def output(self) -> Any:
        """The result of the last `forward`: one handle, bound to a new array each time."""
        run = run_of(self)
        if not hasattr(run, "output"):
            run.output = empty()
        return run.output

    @output.setter
    def output(self, value: Any) -> None:
        run_of(self).output = value

    @property
    def gradInput(self) -> Any:
        """The gradient with respect to the input, of the last `backward`."""
        run = run_of(self)
        if not hasattr(run, "gradInput"):
            run.gradInput = empty()
        return run.gradInput

    @gradInput.setter
    def gradInput(self, value: Any) -> None:
        run_of(self).gradInput = value

    @property
    def gradWeight(self) -> Tensor:
        """The gathered gradient of `weight`; zeros before the first backward."""
        return self._gradient_of("weight")

    @gradWeight.setter
    def gradWeight(self, value: Any) -> None:
        self.weight.grad = value

    @property
    def gradBias(self) -> Tensor:
        """The gathered gradient of `bias`; zeros before the first backward."""
        return self._gradient_of("bias")

    @gradBias.setter
    def gradBias(self, value: Any) -> None:
        self.bias.grad = value

    def _gradient_of(self, name: str) -> Tensor:
        parameter = self.__dict__.get(name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(  # noqa: TRY004  # hasattr must say no
                f"{type(self).__name__} has no parameter {name!r}"
            )
        return gradient_of(parameter)

    # Parameters -----------------------------------------------------------------------------------

    def parameters(self) -> tuple[list[Parameter], list[Tensor]]:
        """(parameters, their gradients): each Parameter once, own ones first, children in order.

        Frozen ones are left out.
        """
        found = self._parameters()
        return found, [gradient_of(p) for p in found]

    def zeroGradParameters(self) -> None:
        """Set every gradient to zero."""
        flat = memory.current(self)
        gradients = [flat[1]] if flat else [gradient_of(p) for p in self._parameters()]
        for gradient in gradients:
            ops.assign(gradient, 0)

    def updateParameters(self, learningRate: Number) -> None:
        """p -= learningRate · gradient, for each parameter listed."""
        for p in self._parameters():
            ops.accumulate(p.detach(), gradient_of(p) * -learningRate)

    def reset(self, stdv: Number | None = None) -> None:
        """Draw parameters anew, each layer by its own rule; a layer without one has nothing to do.

        stdv: the standard deviation to use instead of the layer's own, where it has a meaning
        """
        for child in self.children():
            child.reset(stdv)

    def getParameters(self) -> tuple[Tensor, Tensor]:
        """(flat parameters, flat gradients): every parameter becomes a view of one buffer.

        Parameters that share memory share it in the buffer too.  A second call returns the same
        buffers while nothing was rebound.  Raises ValueError for mixed dtypes or devices, and where
        parameters and gradients are not shared alike.
        """
        return memory.flattened(self)

    @staticmethod
    def flatten(tensors: Sequence[Tensor]) -> Tensor:
        """Move `tensors` into one new buffer, as `getParameters` does, and return it.

        Those that share memory share it there.  Raises ValueError for mixed dtypes or devices.
        """
        return memory.flatten(tensors)

    def share(self, other: Part, *names: str) -> Self:
        """Let each named field present here use `other`'s memory, recursively; returns self."""
        for mine, theirs in zip(self.listModules(), other.listModules(), strict=True):
            for name in names:
                own, source = _field(mine, name), _field(theirs, name)
                if own is None or source is None:
                    continue
                if isinstance(own, Parameter):
                    own.rebind(source._data, own.grad)
                else:
                    own._data = source._data
        self._drop_traces()
        return self

    def clone(self, *names: str) -> Self:
        """A deep copy without the tape; with `names`, sharing the memory of those fields."""
        result = copy.deepcopy(self)
        return result.share(self, *names) if names else result

    # Mode and type --------------------------------------------------------------------------------

    @property
    def train(self) -> bool:
        """True in training mode (the default), False after `evaluate()`."""
        guard(self, "_training")
        return self._training

    @train.setter
    def train(self, value: bool) -> None:
        self._training = bool(value)

    def training(self) -> Self:
        """Training mode, for this module and all below it; returns self."""
        for module in self.listModules():
            module.train = True
        return self

    def evaluate(self) -> Self:
        """Evaluation mode, for this module and all below it; returns self."""
        for module in self.listModules():
            module.train = False
        return self

    def type(self, dtype: Any = None, tensorCache: dict[Any, Any] | None = None) -> Any:
        """Convert parameters and buffers to `dtype`, keeping what is shared shared; returns self.

        dtype: a floating dtype, or Torch7's name of a tensor type ("torch.FloatTensor").  Without
               it, the dtype of this module is returned: that of its own parameters; without any,
               what it was converted to or loaded as; else that of the parameters below, or the
               default
        tensorCache: a dict, empty at first, that is given to the conversions of several modules:
               what they share stays shared
        Raises TypeError for a dtype that is not floating point.
        """
        if dtype is None:
            found = known_dtype(self)
            return default_dtype() if found is None else found
        if isinstance(dtype, str):
            dtype = TORCH_TYPES.get(dtype, dtype)
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise TypeError(f"{type(self).__name__}.type: {wanted} is not floating point")
        for module in self._converted_modules():
            module._type = wanted
        return self._convert(
            lambda array: array.astype(wanted) if array.dtype.kind == "f" else array,
            self._kept_types(),
            None if tensorCache is None else tensorCache.setdefault(wanted, {}),
        )

    def _converted_modules(self) -> list[Any]:
        """The modules here and below that `type` converts."""
        kept = {
            id(module)
            for keeper in self.listModules()
            if keeper._keeps_type
            for module in keeper.listModules()
        }
        return [module for module in self.listModules() if id(module) not in kept]

    def _kept_types(self) -> set[int]:
        """Parameters and buffers that `type` leaves alone."""
        keepers = [module for module in self.listModules() if module._keeps_type]
        return {
            id(t)
            for keeper in keepers
            for _, t in (*keeper.named_parameters(), *keeper.named_buffers())
        }

    def float(self, tensorCache: dict[Any, Any] | None = None) -> Self:
        """Convert to float32; returns self.  tensorCache: see `type`."""
        return self.type(np.float32, tensorCache)

    def double(self, tensorCache: dict[Any, Any] | None = None) -> Self:
        """Convert to float64; returns self.  tensorCache: see `type`."""
        return self.type(np.float64, tensorCache)

    def cuda(
        self, index: int | dict[Any, Any] = 0, tensorCache: dict[Any, Any] | None = None
    ) -> Self:
        """Move to the GPU with this index; returns self.

        tensorCache: see `type`; as in Torch7 it may be the only argument
        """
        if isinstance(index, dict):
            return self.cuda(tensorCache=index)
        target = devices.device(f"cuda:{index}")
        return self._convert(
            lambda array: devices.to_device(array, target),
            converted=None if tensorCache is None else tensorCache.setdefault(target, {}),
        )

    # Walking --------------------------------------------------------------------------------------

    def apply(self, function: Callable[[Any], Any]) -> Self:
        """Call `function` on this module and then on all below it, in order; returns self."""
        for module in self.listModules():
            function(module)
        return self

    def applyToModules(self, function: Callable[[Any], Any]) -> Self:
        """Call `function` on the modules directly below this one, in order; returns self."""
        for module in self.children():
            function(module)
        return self

    def findModules(self, kind: str | Class) -> tuple[list[Any], list[Any]]:
        """(modules of exactly this class, what each of them is in), parents first.

        kind: a class, or its name as Torch7 writes it, "nn.Linear"; subclasses do not count.  The
        container of the root is the root itself.
        """
        nodes, containers = [], []
        parents: dict[int, Any] = {id(self): self}
        for module in self.listModules():
            if kind in (type(module), torch7_name(module)):
                nodes.append(module)
                containers.append(parents[id(module)])
            for child in module.children():
                parents.setdefault(id(child), module)
        return nodes, containers

    def replace(self, function: Callable[[Any], Any]) -> Any:
        """`function` of this module, after every module below was replaced in the same way.

        The function is called on parents first; what it makes of a module stands in its place.
        """
        result = function(self)
        for name, value in vars(self).items():
            if not name.startswith("_"):
                vars(self)[name] = _replaced(value, function)
        self._drop_traces()
        return result


def _field(module: Part, name: str) -> Any:
    if name in {"gradWeight", "gradBias"}:
        own = vars(module).get(name[4:].lower())
        return gradient_of(own) if isinstance(own, Parameter) else None
    value = vars(module).get(name)
    return value if isinstance(value, Tensor) else None


def _replaced(value: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(value, Part):
        return value.replace(function)
    if isinstance(value, dict):
        return {key: _replaced(item, function) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_replaced(item, function) for item in value])
    return value
