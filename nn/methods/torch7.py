"""Torch7's methods of a module, derived from its forward code.

In Torch7 each layer wrote `updateGradInput` and `accGradParameters` by hand; here both are read
off the tape, and so are `backward` and the fields `output`, `gradInput` and `gradWeight`.  The
mixin has no state; it stands on `Part` and knows no layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.autograd.core.mode import watch
from tapegrad.autograd.reverse.accumulation import clear_gradient
from tapegrad.nn.core import memory
from tapegrad.nn.core.gradient_rules import rules_for_handwritten
from tapegrad.nn.core.own import gradient_from_tape
from tapegrad.nn.core.part import (
    Part,
    empty_result,
    fresh_result,
    gradient_of,
    holds_state,
    known_dtype,
    named_fields,
)
from tapegrad.nn.core.reading import (
    NO_FORWARD,
    add_to_parameter_gradients,
    checked_root_span,
    seeds_for,
    store_input_gradients,
    sweep_trace,
)
from tapegrad.nn.core.structure import note_change
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.timing import BACKWARD, TIME, begins_backward, measure
from tapegrad.nn.core.training_mode import TrainingMode
from tapegrad.nn.core.transient import ATTRIBUTE, transient_state_of, transient_value

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import DTypeLike, Nest, Operand
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
    """The methods and fields of Torch7's nn.Module beside `forward`."""

    _by_hand: bool  # whether the class writes its gradient itself; Module sets it

    # Gradients ------------------------------------------------------------------------------------

    @gradient_from_tape
    def backward(self, input: Nest, gradOutput: Nest, scale: Number = 1) -> Nest:
        """`updateGradInput` and `accGradParameters` in one sweep; returns gradInput in new Tensors.

        input:      the input of the last `forward`: the same memory, or equal bits
        gradOutput: gradient with respect to `output`, of its shape
        scale:      factor on the summands of the parameters' gradients
        Raises ValueError for another input, RuntimeError without a forward, ShapeError when
        gradOutput does not fit.  A second call adds to the gradients again.
        """
        if self._tapegrad_hooks is not None and TIME in self._tapegrad_hooks:
            (times,) = self._tapegrad_hooks[TIME]
            if begins_backward(times):
                with measure(times, BACKWARD):
                    return self.backward(input, gradOutput, scale)
        if self._by_hand:
            self.updateGradInput(input, gradOutput)
            if not self._frozen or self._parameters():
                with rules_for_handwritten(self._parameters()):
                    self.accGradParameters(input, gradOutput, scale)
            return fresh_result(self.gradInput)
        trace, cotangents = self._reverse(
            "backward", input, gradOutput, inputs=True, parameters=None
        )
        add_to_parameter_gradients(cotangents, scale)
        store_input_gradients(trace, cotangents, gradOutput)
        return fresh_result(self.gradInput)

    @gradient_from_tape
    def updateGradInput(self, input: Nest, gradOutput: Nest) -> Nest:
        """Compute, keep and return `gradInput`, the gradient with respect to the input.

        The gradients of parameters stay as they are.
        """
        trace, cotangents = self._reverse(
            "updateGradInput", input, gradOutput, inputs=True, parameters=[]
        )
        store_input_gradients(trace, cotangents, gradOutput)
        return fresh_result(self.gradInput)

    @gradient_from_tape
    def accGradParameters(self, input: Nest, gradOutput: Nest, scale: Number = 1) -> None:
        """Add scale times the gradient with respect to each parameter to its gradient."""
        _, cotangents = self._reverse(
            "accGradParameters", input, gradOutput, inputs=False, parameters=self._parameters()
        )
        add_to_parameter_gradients(cotangents, scale)

    def accUpdateGradParameters(self, input: Nest, gradOutput: Nest, lr: Number) -> None:
        """p -= lr · gradient of the last forward, for each parameter; gathered gradients stay."""
        if type(self).accGradParameters is not Torch7.accGradParameters:
            gathered = [(p, p.grad) for p in self._parameters()]
            for p, _ in gathered:
                p.grad = np.zeros(p.shape, p.dtype)
            with rules_for_handwritten(self._parameters()):
                self.accGradParameters(input, gradOutput, 1)
            self.updateParameters(lr)
            for p, gradient in gathered:
                p.grad = gradient
            return
        _, cotangents = self._reverse(
            "accUpdateGradParameters",
            input,
            gradOutput,
            inputs=False,
            parameters=self._parameters(),
        )
        for p in self._parameters():
            if p._leaf in cotangents:
                g = cotangents[p._leaf]
                g = g if p._leaf.adjust is None else p._leaf.adjust(g)
                if g is not None:
                    ops.accumulate(p.detach(), g * -lr)

    def backwardUpdate(self, input: Nest, gradOutput: Nest, lr: Number) -> Nest:
        """`updateGradInput`, then `accUpdateGradParameters`; returns gradInput."""
        self.updateGradInput(input, gradOutput)
        self.accUpdateGradParameters(input, gradOutput, lr)
        return fresh_result(self.gradInput)

    def _reverse(
        self,
        method: str,
        input: Nest,
        grad_output: Nest,
        *,
        inputs: bool,
        parameters: list[Parameter] | None,
    ) -> tuple[Trace, dict[Any, Any]]:
        name = type(self).__name__
        trace = transient_value(self, "trace")
        span = checked_root_span(name, method, input, trace)
        seeds = seeds_for(name, method, span, grad_output)
        if not seeds and not any(n is not None for n in span.nodes) and self._parameters():
            raise RuntimeError(NO_FORWARD.format(name=name, method=method))
        return trace, sweep_trace(trace, seeds, inputs=inputs, parameters=parameters)

    # Fields ---------------------------------------------------------------------------------------

    @property
    def output(self) -> Nest:
        """The result of the last `forward`: the same Tensor each time, bound to a new array.

        A module or Parameter that a class keeps under this name is found here in its place.
        """
        if "output" in self.__dict__:
            return self.__dict__["output"]
        run = transient_state_of(self)
        if not hasattr(run, "output"):
            run.output = empty_result()
        return run.output

    @output.setter
    def output(self, value: Nest) -> None:
        if holds_state(value):
            self.__dict__["output"] = value
        else:
            self.__dict__.pop("output", None)
            transient_state_of(self).output = value

    @property
    def gradInput(self) -> Nest:
        """The gradient with respect to the input, from the last `backward`.

        A module or Parameter that a class keeps under this name is found here in its place.
        """
        if "gradInput" in self.__dict__:
            return self.__dict__["gradInput"]
        run = transient_state_of(self)
        if not hasattr(run, "gradInput"):
            run.gradInput = empty_result()
        return run.gradInput

    @gradInput.setter
    def gradInput(self, value: Nest) -> None:
        if holds_state(value):
            self.__dict__["gradInput"] = value
        else:
            self.__dict__.pop("gradInput", None)
            transient_state_of(self).gradInput = value

    @property
    def gradWeight(self) -> Tensor:
        """The gathered gradient of `weight`; zeros before the first backward."""
        return self._gradient_of("weight")

    @gradWeight.setter
    def gradWeight(self, value: Operand | None) -> None:
        self._parameter_named("weight").grad = value

    @property
    def gradBias(self) -> Tensor:
        """The gathered gradient of `bias`; zeros before the first backward."""
        return self._gradient_of("bias")

    @gradBias.setter
    def gradBias(self, value: Operand | None) -> None:
        self._parameter_named("bias").grad = value

    def _gradient_of(self, name: str) -> Tensor:
        return gradient_of(self._parameter_named(name))

    def _parameter_named(self, name: str) -> Parameter:
        parameter = self.__dict__.get(name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(  # noqa: TRY004  # so that hasattr is False
                f"{type(self).__name__} has no parameter {name!r}"
            )
        return parameter

    # Parameters -----------------------------------------------------------------------------------

    def parameters(self) -> tuple[list[Parameter], list[Tensor]]:
        """(parameters, their gradients): each Parameter once, own ones first, children in order.

        Those of frozen modules are left out.
        """
        parameters = self._parameters()
        return parameters, [gradient_of(p) for p in parameters]

    def zeroGradParameters(self) -> None:
        """Set every gradient to zero, also what frozen Parameters gathered before."""
        flat = memory.current_flat_buffers(self)
        trained = self._parameters()
        gradients = [flat[1]] if flat else [gradient_of(p) for p in trained]
        known = set(map(id, trained))
        gradients += [
            p.grad for _, p in self.named_parameters() if id(p) not in known and p.grad is not None
        ]
        for gradient in gradients:
            clear_gradient(gradient)

    def updateParameters(self, learningRate: Number) -> None:
        """p -= learningRate · gradient, for each parameter listed."""
        for p in self._parameters():
            ops.accumulate(p.detach(), gradient_of(p) * -learningRate)

    def reset(self, stdv: Number | None = None) -> Any:
        """Draw the parameters again, each layer by its own rule; gradients stay.  Returns self.

        stdv: the standard deviation, for layers that draw from a distribution which has one
        Where a layer has initialization methods (`setInitMethod`), these draw.
        """
        for child in Part.children(self):
            child.reset(stdv)
        return self

    def getParameters(self) -> tuple[Tensor, Tensor]:
        """(flat parameters, flat gradients): every parameter becomes a view of one buffer.

        Parameters that share memory share it in the buffer too.  A second call returns the same
        buffers if every parameter still lies in them.  Raises ValueError for mixed dtypes or
        devices, and for gradients that are not shared as their parameters are.
        """
        return memory.flatten_parameters(self)

    @staticmethod
    def flatten(tensors: Sequence[Tensor]) -> Tensor:
        """Move `tensors` into one new buffer, as `getParameters` does, and return it.

        Tensors that share memory share it there too.  Raises ValueError for mixed dtypes or
        devices.
        """
        return memory.flatten_tensors(tensors)

    def share(self, other: Part, *names: str) -> Self:
        """Make the named fields use the memory of `other`'s, here and below; returns self.

        An entry of a dict of Parameters goes by its key, as a field does.  A field that either
        module lacks is skipped.
        """
        for mine, theirs in zip(self.listModules(), other.listModules(), strict=True):
            for name in names:
                own, source = _named_tensor(mine, name), _named_tensor(theirs, name)
                if own is None or source is None:
                    continue
                if isinstance(own, Parameter):
                    own.rebind(source._bare, own.grad)
                else:
                    own._bare = source._bare
        self._drop_traces()
        return self

    def clone(self, *names: str) -> Self:
        """A deep copy without the tape, which shares the memory of the fields called `names`."""
        result = copy.deepcopy(self)
        return result.share(self, *names) if names else result

    # Mode and type --------------------------------------------------------------------------------

    @property
    def train(self) -> TrainingMode:
        """True in training mode (the default), False after `evaluate()`.

        Assigned, it sets the mode of this module alone.  Called, ``m.train()`` or
        ``m.train(False)``, it sets the mode here and in all modules below, and returns the module.
        """
        watch(self)
        return TrainingMode(self._training, self)

    @train.setter
    def train(self, value: bool) -> None:
        self._training = bool(value)

    @property
    def training(self) -> TrainingMode:
        """The same as `train`: a mode that can be asked, assigned and called."""
        return self.train

    @training.setter
    def training(self, value: bool) -> None:
        self.train = value

    def evaluate(self) -> Self:
        """Set evaluation mode, here and in all modules below; returns self."""
        for module in self.listModules():
            module.train = False
        return self

    def type(
        self, dtype: DTypeLike | None = None, tensorCache: dict[Any, Any] | None = None
    ) -> Any:
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
            own_dtype = known_dtype(self)
            return default_dtype() if own_dtype is None else own_dtype
        if isinstance(dtype, str):
            dtype = TORCH_TYPES.get(dtype, dtype)
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise TypeError(f"{type(self).__name__}.type: {wanted} is not floating point")
        for module in self._converted_modules():
            module._type = wanted
        return self._convert(
            lambda array: array.astype(wanted, copy=False) if array.dtype.kind == "f" else array,
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
        """The ids of the parameters and buffers that `type` does not convert."""
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
        for module in Part.children(self):
            function(module)
        return self

    def findModules(self, kind: str | Class) -> tuple[list[Any], list[Any]]:
        """(modules of exactly this class, the module that contains each), parents first.

        kind: a class, or its name as Torch7 writes it, "nn.Linear"; subclasses do not count.  The
        container of the root is the root itself.
        """
        matches, containers = [], []
        parents: dict[int, Any] = {id(self): self}
        for module in self.listModules():
            if kind in (type(module), torch7_name(module)):
                matches.append(module)
                containers.append(parents[id(module)])
            for child in Part.children(module):
                parents.setdefault(id(child), module)
        return matches, containers

    def replace(self, function: Callable[[Any], Any]) -> Any:
        """Replace this module and all below it by what `function` returns for them.

        The function is called on a module first, and then on those below its result.  Returns the
        replacement of this module.
        """
        result = function(self)
        for name, value in vars(self).items():
            if name != ATTRIBUTE:
                vars(self)[name] = _replace_in(value, function)
        note_change()
        self._drop_traces()
        return result


def _named_tensor(module: Part, name: str) -> Any:
    if name in {"gradWeight", "gradBias"}:
        own = vars(module).get(name[4:].lower())
        return gradient_of(own) if isinstance(own, Parameter) else None
    value = vars(module).get(name)
    if not isinstance(value, Tensor):  # an entry of a dict or list
        of_name = (t for dotted, t in named_fields(module) if dotted.rpartition(".")[2] == name)
        value = next(of_name, None)
    return value if isinstance(value, Tensor) else None


def _replace_in(value: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(value, Torch7):
        return value.replace(function)
    if isinstance(value, dict):
        return {key: _replace_in(item, function) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_replace_in(item, function) for item in value])
    return value
