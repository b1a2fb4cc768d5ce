"""The methods that PyTorch and Python users expect: state dicts, devices, freezing, tables, files.

The mixin has no state; it stands on `Part` and knows no layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Never, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.core.parameter import GRADIENTS_STAY
from tapegrad.autograd.core.tensor import array_of, as_array
from tapegrad.nn.core.freezing import mark_frozen_parameters
from tapegrad.nn.core.hooks import HookHandle, add_hook
from tapegrad.nn.core.part import Part
from tapegrad.nn.core.picture import picture
from tapegrad.nn.core.state_names import LoadReport, names_after
from tapegrad.nn.core.summary import output_shapes, summary_html, summary_text
from tapegrad.nn.methods.advice import absent_attribute

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.compiled import Compiled
    from tapegrad.autograd.core.types import Operand
    from tapegrad.devices import Device
    from tapegrad.nn.core.state_names import Rename

__all__ = ["Python"]

KERAS_COMPILE = (
    "{name}.compile takes no argument {given}: it compiles a call or a step. What compile and fit "
    "are in Keras: `optim.Trainer(model, criterion, optimizer, metrics=['top1'])` and its fit"
)
NOT_A_STEP = (
    "compile(criterion, optimizer) takes a criterion and an optimizer of tapegrad.optim; found "
    "{found}"
)


class Python(Part):
    """The methods of a module that PyTorch users expect, and its display in notebooks."""

    evaluate: Any  # of the mixin Torch7, as the next two
    zeroGradParameters: Any
    type: Any

    def _freeze(self, frozen: bool) -> Self:
        for module in self.listModules():
            module._frozen = frozen
            if frozen:
                mark_frozen_parameters(module)
            else:
                for p in Part.own_parameters(module):
                    p.unfreeze()
        self._drop_traces()
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """PyTorch's name for `freeze` (False) and `unfreeze` (True); returns self."""
        return self._freeze(not requires_grad)

    def eval(self) -> Self:
        """PyTorch's name for `evaluate()`; returns self."""
        evaluated: Self = self.evaluate()
        return evaluated

    def zero_grad(self, set_to_none: bool = False) -> None:
        """PyTorch's name for `zeroGradParameters`: set every gradient to zero.

        Raises TypeError for ``set_to_none=True``: gradients keep their memory, where updates and
        recorded steps read them.
        """
        if set_to_none:
            raise TypeError(GRADIENTS_STAY.format(name=type(self).__name__))
        self.zeroGradParameters()

    def half(self) -> Self:
        """Convert parameters and buffers to float16; returns self."""
        converted: Self = self.type(np.float16)
        return converted

    def compile(
        self,
        criterion: Callable[[Any, Any], Any] | None = None,
        optimizer: Any = None,
        *,
        fuse: bool = True,
        **others: Never,
    ) -> Compiled[...]:
        """Return a compiled call of the module, or a compiled training step of it.

        Without arguments: (x, …) -> output, what ``tapegrad.compile(module)`` gives.
        With a criterion and an optimizer: (x, …, target) -> loss, 0-d.  It sets the gradients to
        zero, runs the forward code, the criterion and the reverse sweep, and updates.
        fuse: as in `tapegrad.compile`, whose guards and errors these are
        Raises TypeError for one without the other, for the two in the other order, and for
        arguments of Keras's compile, whose place `optim.Trainer` takes.
        """
        if others:
            raise TypeError(
                KERAS_COMPILE.format(name=type(self).__name__, given=", ".join(map(repr, others)))
            )
        # Most programs compile nothing, and the compiler takes a fifth of the package's import.
        from tapegrad.autograd.compiling.compiled import compile

        if criterion is None and optimizer is None:
            call: Callable[..., Any] = self  # type: ignore[assignment]  # `Module` can be called
            return compile(call, fuse=fuse)
        if not callable(criterion) or not hasattr(optimizer, "zero_grad"):
            found = ", ".join(type(each).__name__ for each in (criterion, optimizer))
            raise TypeError(NOT_A_STEP.format(found=found))

        def training_step(*batch: Any) -> Any:
            *inputs, target = batch
            optimizer.zero_grad()
            loss = criterion(self(*inputs), target)  # type: ignore[operator]  # a module is called
            loss.backward()
            optimizer.step()
            return loss

        return compile(training_step, fuse=fuse)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, inputs)`` before the forward code, with the tuple of inputs.

        What it returns, if not None, are the inputs instead: a tuple, or the only one.  The handle
        that is returned has `remove()`.  Files and copies of the module do not contain hooks.
        """
        return add_hook(self, "before", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, inputs, output)`` after the forward code; its result, if not None, is
        the output instead.  Returns a handle with `remove()`.
        """
        return add_hook(self, "after", hook)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, gradOutputs)`` before gradients pass back through the module.

        gradOutputs: a tuple with the gradient of each output array.  What the hook returns, if not
        None, passes back instead.  Returns a handle with `remove()`.
        Raises TypeError for a module with a hand-written gradient.
        """
        return add_hook(self, "gradOutput", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, gradInputs, gradOutputs)`` with the gradients of inputs and outputs.

        Both are tuples, with an entry for each array; gradInputs is (None,) if no input is
        tracked.  What the hook returns, if not None, are the gradients of the inputs instead.
        Returns a handle with `remove()`.  Raises TypeError for a module with a hand-written
        gradient.
        """
        return add_hook(self, "gradInput", hook)

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            if isinstance(getattr(type(self), name, None), property):
                return object.__getattribute__(self, name)  # its own AttributeError, once more
            raise absent_attribute(self, name)

    def __dir__(self) -> list[str]:
        """What the module has, without the views of parameters that it lacks (`gradBias`)."""
        own = [name for name in ("gradBias", "gradWeight") if not hasattr(self, name)]
        return [name for name in object.__dir__(self) if name not in own]

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Parameters and buffers by dotted name, as NumPy arrays (copies)."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: np.array(devices.to_numpy(array_of(t))) for name, t in named}

    def load_state_dict(
        self,
        state: Mapping[str, Operand],
        *,
        strict: bool = True,
        rename: Rename | None = None,
        skip_shapes: bool = False,
    ) -> LoadReport:
        """Copy parameters and buffers from `state`; returns what matched, and what did not.

        strict:      the state must have each name of the module, and no other
        rename:      the module's names for those of the state: a dict of patterns,
                     {"features.*.**": "body.*.**"}, where `*` is one part of a name and `**` any
                     text; of compiled regular expressions; or a function of a name.  None in the
                     place of a new name leaves the entry out
        skip_shapes: what has another shape is left as it is, and named in the report
        The report is the pair (names that the state lacks, names it has besides), with `matched`,
        `different`, `omitted`.  Raises KeyError with every name that is missing or unexpected,
        ValueError with every shape that differs, or two names that `rename` makes one; an error
        leaves the module unchanged.
        """
        named: dict[str, Tensor] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        sources, omitted = names_after(state, rename)
        missing = sorted(named.keys() - sources.keys())
        extra = sorted(sources.keys() - named.keys())
        common = {name: t for name, t in named.items() if name in sources}
        different = {
            name: (t.shape, np.shape(state[sources[name]]))
            for name, t in common.items()
            if np.shape(state[sources[name]]) != t.shape
        }
        wrong = [f"{name} is {has}, expected {was}" for name, (was, has) in different.items()]
        if strict and (missing or extra):
            shapes = f"; {'; '.join(wrong)}" if wrong else ""
            raise KeyError(f"state_dict: missing {missing}, not in the module {extra}{shapes}")
        if wrong and not skip_shapes:
            raise ValueError(f"state_dict: {'; '.join(wrong)}")
        matched = {name: sources[name] for name in common if name not in different}
        # all are converted before the first is written: a failure leaves the module as it was
        values = {
            name: devices.to_device(
                as_array(state[source], common[name].dtype), common[name].device
            )
            for name, source in matched.items()
        }
        with no_grad():
            for name, value in values.items():
                ops.assign(common[name].detach(), value)
        return LoadReport(missing, extra, matched, different, omitted)

    def to(self, device: str | Device) -> Self:
        """Move parameters and buffers to a device; returns self.

        Shared memory stays shared.  Raises DeviceError for a device that does not exist.
        """
        target = devices.device(device)
        return self._convert(lambda array: devices.to_device(array, target))

    def cpu(self) -> Self:
        """Move to the CPU; returns self."""
        return self.to("cpu")

    def summary(self, *inputs: Any, **named: Any) -> str:
        """A table of the modules below: name, class, output shape, parameters.

        inputs, named: arguments of a call; a tuple of whole numbers, ``summary((1, 3, 32, 32))``,
                       is the shape of an array of zeros, with the batch
        The call runs once, in evaluation mode, and leaves nothing behind.  Without inputs output
        shapes are those of the last `forward`.  Raises what the call raises.
        """
        outputs = output_shapes(self, inputs, named) if inputs or named else None
        return summary_text(self, outputs)

    def _repr_html_(self) -> str:
        return summary_html(self) + picture(self).svg
