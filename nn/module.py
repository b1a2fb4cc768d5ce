"""Module: plain forward code with a name, from which Torch7's methods are derived.

An author writes `updateOutput` (or `forward`) in array code.  Everything Torch7 asked for by hand
is read off the tape, here, once: `backward`, `updateGradInput`, `accGradParameters` and the fields
`output`, `gradInput`, `gradWeight`.  Parameters, buffers and children are found by type among the
attributes when they are asked for; nothing is registered, and there is no `super().__init__()` to
forget.

``module(x)`` composes on the current tape and keeps nothing.  ``module.forward(x)`` is Torch7's
stateful call: it returns the value, keeps `output` and the tape for `backward`, for the module and
all its children.
"""

from __future__ import annotations

import builtins
import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype, no_grad, ops
from tapegrad.autograd.core.mode import guard
from tapegrad.autograd.core.tensor import as_array, fresh, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.core import memory as _flat
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.frames import Trace, current_frame, on_failure
from tapegrad.nn.core.graph_node import are_nodes, node_of
from tapegrad.nn.core.own import by_hand, derived
from tapegrad.nn.core.reading import (
    NO_FORWARD,
    add_to_parameters,
    gradients_to_inputs,
    reverse,
    same_input,
    seeds_for,
)
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import call, trace_call

__all__ = ["TORCH_TYPES", "Module"]

NO_UPDATE_OUTPUT = (
    "{name} defines no forward code: write `def updateOutput(self, x)` (or `def forward(self, x)`)"
)
NO_SUCH_NAME = "{name} has no parameter or buffer called {given!r}; it has {known}"

# Torch7's tensor type names, as `type()` takes them.
TORCH_TYPES = {
    "torch.FloatTensor": np.float32,
    "torch.DoubleTensor": np.float64,
    "torch.HalfTensor": np.float16,
    "torch.CudaTensor": np.float32,
}


class Module:
    """A layer or model: parameters, and forward code that is differentiated by recording it.

    Subclasses set Parameters, Buffers and Modules as attributes, or in lists, tuples and dicts of
    them, and define ``updateOutput(self, x)``; `x` and the result are Tensors or nested lists of
    them.  (Torch7's nn.Module.)
    """

    modules: list[Module]  # containers set it; other modules have attributes instead
    _trace: Trace | None = None
    _training = True
    _frozen = False
    _keeps_type = False  # whether type() leaves what is below as it is
    _flattened: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        if "forward" in own and not getattr(own["forward"], "_stateful", False):
            if "updateOutput" in own:
                raise TypeError(f"{cls.__name__} defines both forward and updateOutput: write one")
            cls.updateOutput = own["forward"]  # type: ignore[method-assign]  # people's habit
        if "updateOutput" in vars(cls):
            cls.forward = _stateful_forward(cls)  # type: ignore[method-assign]  # bound to this class
        cls._by_hand = by_hand(cls)

    # Running --------------------------------------------------------------------------------------

    def updateOutput(self, *inputs: Any) -> Any:
        """The module's forward code."""
        raise NotImplementedError(NO_UPDATE_OUTPUT.format(name=type(self).__name__))

    updateOutput.abstract = True  # type: ignore[attr-defined]  # a mark: the laws look for real ones

    def __call__(self, *inputs: Any) -> Any:
        """The output for `inputs` as fresh Tensors on the current tape; no state is kept.

        Called on Nodes, or on nothing, it is a Node of a graph that is being described.
        """
        if are_nodes(inputs):
            return node_of(self, inputs)
        if self._by_hand:
            return _by_hand_call(self, inputs)
        return call(self, inputs, self.updateOutput)

    def forward(self, *inputs: Any) -> Any:
        """Torch7's forward: run, and keep `output` and the tape for `backward`.

        Returns `output`: untracked unless an input is tracked.  Inside another module's forward
        code it composes as a plain call does.
        """
        return _forward(self, inputs, type(self))

    forward._stateful = True  # type: ignore[attr-defined]  # told apart from a subclass's own

    @derived
    def backward(self, input: Any, gradOutput: Any, scale: builtins.float = 1) -> Any:
        """`updateGradInput` and `accGradParameters` in one sweep; returns gradInput.

        input:      what the last `forward` ran on: the same memory, or equal bits
        gradOutput: gradient with respect to `output`, of its shape
        scale:      factor on what is added to the parameters' gradients
        Raises ValueError for another input, RuntimeError without a forward, ShapeError when
        gradOutput does not fit.  May be repeated.
        """
        if self._by_hand:
            self.updateGradInput(input, gradOutput)
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
    def accGradParameters(self, input: Any, gradOutput: Any, scale: builtins.float = 1) -> None:
        """Add scale times the gradient with respect to each parameter to its gradient."""
        _, found = self._reverse(
            "accGradParameters", input, gradOutput, inputs=False, parameters=self._parameters()
        )
        add_to_parameters(found, scale)

    def accUpdateGradParameters(self, input: Any, gradOutput: Any, lr: builtins.float) -> None:
        """p -= lr · gradient for each parameter, leaving the gathered gradients as they are."""
        if type(self).accGradParameters is not Module.accGradParameters:
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

    def backwardUpdate(self, input: Any, gradOutput: Any, lr: builtins.float) -> Any:
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
        span = same_input(name, method, given, self._trace)
        assert self._trace is not None  # same_input has raised otherwise
        seeds = seeds_for(name, method, span, grad_output)
        if not seeds and not any(n is not None for n in span.nodes) and self._parameters():
            raise RuntimeError(NO_FORWARD.format(name=name, method=method))
        return self._trace, reverse(self._trace, seeds, inputs=inputs, parameters=parameters)

    # What a stateful call leaves behind -----------------------------------------------------------

    def keep(self, name: str, value: Any) -> None:
        """Store `output` or `gradInput`: the same handles, bound to new arrays."""
        key = f"_{name}"
        self.__dict__[key] = _rebound(self.__dict__.get(key), value)

    @property
    def output(self) -> Any:
        """The result of the last `forward`: one handle, bound to a new array each time."""
        return self.__dict__.setdefault("_output", _empty())

    @output.setter
    def output(self, value: Any) -> None:
        self.__dict__["_output"] = value

    @property
    def gradInput(self) -> Any:
        """The gradient with respect to the input, of the last `backward`."""
        return self.__dict__.setdefault("_gradInput", _empty())

    @gradInput.setter
    def gradInput(self, value: Any) -> None:
        self.__dict__["_gradInput"] = value

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

    weight: Any
    bias: Any

    def _gradient_of(self, name: str) -> Tensor:
        parameter = self.__dict__.get(name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(  # noqa: TRY004  # hasattr must say no
                f"{type(self).__name__} has no parameter {name!r}"
            )
        return _gradient(parameter)

    def clearState(self) -> Self:
        """Drop outputs, gradients with respect to inputs, and the tape; parameters stay."""
        for module in self.listModules():
            for name in ("_output", "_gradInput", "_trace"):
                module.__dict__.pop(name, None)
        return self

    # Parameters -----------------------------------------------------------------------------------

    def _parameters(self) -> list[Parameter]:
        return [p for _, p in self.named_trainable()]

    def parameters(self) -> tuple[list[Parameter], list[Tensor]]:
        """(parameters, their gradients): each Parameter once, own ones first, children in order.

        Frozen ones are left out.
        """
        found = self._parameters()
        return found, [_gradient(p) for p in found]

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter), each once, in the order of `parameters`."""
        yield from _named(self, Parameter)

    def named_trainable(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter), each once, without those of frozen modules."""
        yield from _named(self, Parameter, frozen=False)

    def own_parameters(self) -> list[Parameter]:
        """The Parameters of this module itself, not of those below, each once."""
        found = {id(p): p for _, p in fields(self) if isinstance(p, Parameter)}
        return list(found.values())

    def freeze(self) -> Self:
        """Stop learning here and below: these Parameters are constants until `unfreeze`.

        They are left out of `parameters()`, and no work is spent on their gradients; gradients
        with respect to inputs pass as before.  `state_dict` still holds them.  Buffers, such as
        running means, go on moving in training mode.  Returns self.
        """
        return self._freeze(True)

    def unfreeze(self) -> Self:
        """Learn again, here and below; returns self."""
        return self._freeze(False)

    def _freeze(self, frozen: bool) -> Self:
        for module in self.listModules():
            module._frozen = frozen
        self._drop_traces()
        return self

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(dotted name, Buffer), each once."""
        yield from _named(self, Buffer)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) for this module, named "", and all below it, each once."""
        yield from _named_modules(self, "", set())

    def children(self) -> list[Module]:
        """The modules directly below this one, each once."""
        return [module for _, module in _children(self)]

    def name_of_child(self, child: Any) -> str:
        """How `child` is reached from here, as source text: ``[2]`` in a container, ``.conv1``."""
        for name, module in _children(self):
            if module is child:
                return "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in name.split("."))
        return ""

    def zeroGradParameters(self) -> None:
        """Set every gradient to zero."""
        flat = _flat.current(self)
        gradients = [flat[1]] if flat else [_gradient(p) for p in self._parameters()]
        for gradient in gradients:
            ops.assign(gradient, 0)

    def updateParameters(self, learningRate: builtins.float) -> None:
        """p -= learningRate · gradient, for each parameter listed."""
        for p in self._parameters():
            ops.accumulate(p.detach(), _gradient(p) * -learningRate)

    def reset(self, stdv: float | None = None) -> None:
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
        return _flat.flattened(self)

    @staticmethod
    def flatten(tensors: Sequence[Tensor]) -> Tensor:
        """Move `tensors` into one new buffer, as `getParameters` does, and return it.

        Those that share memory share it there.  Raises ValueError for mixed dtypes or devices.
        """
        return _flat.flatten(tensors)

    def share(self, other: Module, *names: str) -> Self:
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

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Parameters and buffers by dotted name, as NumPy arrays (copies)."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: np.array(devices.to_numpy(t._data)) for name, t in named}

    def load_state_dict(
        self, state: Mapping[str, Any], *, strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy parameters and buffers from `state`; returns (names missing in it, left over).

        strict: both must be empty.  Raises KeyError naming every name that is missing or left over,
        ValueError naming every shape that differs; nothing is changed then.
        """
        named: dict[str, Tensor] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        missing, extra = sorted(named.keys() - state.keys()), sorted(state.keys() - named.keys())
        both = {name: t for name, t in named.items() if name in state}
        wrong = [
            f"{name} is {np.shape(state[name])}, expected {t.shape}"
            for name, t in both.items()
            if np.shape(state[name]) != t.shape
        ]
        if strict and (missing or extra):
            shapes = f"; {'; '.join(wrong)}" if wrong else ""
            raise KeyError(f"state_dict: missing {missing}, not in the module {extra}{shapes}")
        if wrong:
            raise ValueError(f"state_dict: {'; '.join(wrong)}")
        with no_grad():
            for name, t in both.items():
                value = devices.to_device(as_array(state[name], t.dtype), t.device)
                ops.assign(t.detach(), value)
        return missing, extra

    def save(self, path: Any) -> None:
        """Write the module to a safetensors file that `nn.load` reads; see nn.formats.native."""
        from tapegrad.nn.formats import native

        native.save(path, self)

    # Mode, type, device ---------------------------------------------------------------------------

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

    def type(self, dtype: Any = None) -> Any:
        """Convert parameters and buffers to `dtype`, keeping what is shared shared; returns self.

        Without an argument, returns the dtype.  Torch7's names ("torch.FloatTensor") are accepted.
        """
        if dtype is None:
            return next((p.dtype for p in self._parameters()), default_dtype())
        if isinstance(dtype, str):
            dtype = TORCH_TYPES.get(dtype, dtype)
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise TypeError(f"{type(self).__name__}.type: {wanted} is not floating point")
        return self._convert(
            lambda array: array.astype(wanted) if array.dtype.kind == "f" else array,
            self._kept_types(),
        )

    def _kept_types(self) -> set[int]:
        """Parameters and buffers that `type` leaves alone."""
        keepers = [module for module in self.listModules() if module._keeps_type]
        return {
            id(t)
            for keeper in keepers
            for _, t in (*keeper.named_parameters(), *keeper.named_buffers())
        }

    def float(self) -> Self:
        """Convert to float32; returns self."""
        return self.type(np.float32)

    def double(self) -> Self:
        """Convert to float64; returns self."""
        return self.type(np.float64)

    def to(self, device: Any) -> Self:
        """Move parameters and buffers to a device, keeping what is shared shared; returns self.

        Raises DeviceError when the device is not there.
        """
        target = devices.device(device)
        return self._convert(lambda array: devices.to_device(array, target))

    def cuda(self, index: int = 0) -> Self:
        """Move to the GPU with this index; returns self."""
        return self.to(f"cuda:{index}")

    def cpu(self) -> Self:
        """Move to the CPU; returns self."""
        return self.to("cpu")

    def _convert(self, convert: Callable[[Any], Any], kept: Collection[int] = ()) -> Self:
        """Apply `convert` to all memory, once per storage, so that views stay views of one.

        kept: ids of parameters and buffers that stay as they are
        """
        memo = _flat.StorageMap(convert)
        for _, p in self.named_parameters():
            if id(p) in kept:
                continue
            gradient = None if p.grad is None else p.grad
            array = memo(p._data)
            if gradient is not None:
                gradient._data = memo(gradient._data)
            p.rebind(array, gradient)
        for _, buffer in self.named_buffers():
            if id(buffer) not in kept:
                buffer._data = memo(buffer._data)
        Module.clearState(self)  # of this class: results go, what layers keep beside them stays
        self._drop_traces()
        return self

    def _drop_traces(self) -> None:
        for module in self.listModules():
            module.__dict__.pop("_trace", None)
            module.__dict__.pop("_flattened", None)

    # Walking --------------------------------------------------------------------------------------

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on this module and then on all below it, in order; returns self."""
        for module in self.listModules():
            function(module)
        return self

    def applyToModules(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on the modules directly below this one, in order; returns self."""
        for module in self.children():
            function(module)
        return self

    def findModules(self, kind: str | builtins.type) -> tuple[list[Module], list[Module]]:
        """(modules of exactly this class, what each of them is in), parents first.

        kind: a class, or its name as Torch7 writes it, "nn.Linear"; subclasses do not count.  The
        container of the root is the root itself.
        """
        nodes, containers = [], []
        parents: dict[int, Module] = {id(self): self}
        for module in self.listModules():
            if kind in (type(module), torch7_name(module)):
                nodes.append(module)
                containers.append(parents[id(module)])
            for child in module.children():
                parents.setdefault(id(child), module)
        return nodes, containers

    def replace(self, function: Callable[[Module], Module]) -> Module:
        """`function` of this module, after every module below was replaced in the same way.

        The function is called on parents first; what it makes of a module stands in its place.
        """
        result = function(self)
        for name, value in vars(self).items():
            if not name.startswith("_"):
                vars(self)[name] = _replaced(value, function)
        self._drop_traces()
        return result

    def listModules(self) -> list[Module]:
        """The module itself and all below it, parents first, each once."""
        return [module for _, module in self.named_modules()]

    def random_stream(self, like: Tensor) -> devices.Generator:
        """The random generator of the device that `like` is on; put back if this forward fails."""
        generator = devices.generator(like.device)

        def undo() -> Callable[[], None]:
            state = generator.get_state()
            return lambda: generator.set_state(state)

        on_failure(id(generator), undo)
        return generator

    # Copying and showing --------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for name in ("_trace", "_flattened"):
            state.pop(name, None)
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        result = self.__class__.__new__(self.__class__)
        memo[id(self)] = result
        result.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        return result

    def describe(self, first: int) -> str:
        """The module as text, with positions and dimensions counted from `first`: 0 here, 1 there.

        `repr` counts from 0, and `__tostring__`, Torch7's text, from 1.
        """
        lines = []
        for name, module in _children(self) if first == 0 else ():  # Torch7 shows the name only
            lines.append(f"  ({name}): " + shown(module, first).replace("\n", "\n  "))
        return torch7_name(self) + (" {\n" + "\n".join(lines) + "\n}" if lines else "")

    def __repr__(self) -> str:
        return self.describe(0)

    def __tostring__(self) -> str:
        """Torch7's text for this module: children and dimensions count from 1."""
        return shown(self, 1)

    def summary(self) -> str:
        """A table of the modules below: name, class, output shape if known, parameters."""
        from tapegrad.nn.core.summary import text

        return text(self)

    def _repr_html_(self) -> str:
        from tapegrad.nn.core.picture import picture
        from tapegrad.nn.core.summary import html

        return html(self) + picture(self).svg

    def __tape__(self) -> Any:
        """The tracked output of the last `forward`, from which `tapegrad.Tape` reads the tape."""
        if self._trace is None:
            raise ValueError(NO_FORWARD.format(name=type(self).__name__, method="__tape__"))
        return self._trace.root.output

    def _traced(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], Callable[..., Any]]:
        """What `forward` differentiates with respect to, and the code it runs on that."""
        return inputs, self.updateOutput

    _by_hand = False


# What the methods above share ---------------------------------------------------------------------


def shown(module: Module, first: int) -> str:
    """`module.describe(first)`, unless its class says with a `__repr__` how it prints."""
    said = type(module).__repr__ is not Module.__repr__
    return repr(module) if said else module.describe(first)


def _stateful_forward(cls: type[Module]) -> Callable[..., Any]:
    def forward(self: Module, *inputs: Any) -> Any:
        return _forward(self, inputs, cls)

    forward.__doc__ = Module.forward.__doc__
    forward._stateful = True  # type: ignore[attr-defined]  # told apart from a subclass's own
    return forward


def _forward(module: Module, inputs: tuple[Any, ...], cls: type[Module]) -> Any:
    frame = current_frame()
    if frame is not None and frame.module is not None:
        if frame.module is module and cls is not type(module):
            return cls.updateOutput(module, *inputs)  # super().forward(x) in forward code
        return module(*inputs)
    return _stateful(module, inputs)


def _stateful(module: Module, inputs: tuple[Any, ...]) -> Any:
    module.__dict__.pop("_trace", None)  # drop the previous tape before making the next
    tracked = any(isinstance(x, Tensor) and x.tracked for x in leaves(list(inputs)))
    args, update = module._traced(inputs)
    trace = trace_call(module, args, update)
    for span in trace.spans:
        kept = span.output
        if not (tracked and span is trace.root):
            kept = map_leaves(lambda t: t.detach() if isinstance(t, Tensor) else t, kept)
        span.keep("output", kept)
    module._trace = trace
    return module.output


def _by_hand_call(module: Module, inputs: tuple[Any, ...]) -> Any:
    from tapegrad.nn.core.by_hand import call

    return call(module, inputs)


def _empty() -> Tensor:
    return untracked(np.empty(0, default_dtype()))


def _rebound(handle: Any, value: Any) -> Any:
    if type(handle) is Tensor and isinstance(value, Tensor):
        handle._data, handle._node, handle._alias = value._data, value._node, None
        return handle
    if isinstance(value, (list, tuple)):
        old = handle if isinstance(handle, (list, tuple)) and len(handle) == len(value) else None
        items = [_rebound(old[i] if old else None, v) for i, v in enumerate(value)]
        if isinstance(old, list) and isinstance(value, list):
            old[:] = items
            return old
        return type(value)(items) if not hasattr(value, "_fields") else type(value)(*items)
    if isinstance(value, dict):
        known = handle if isinstance(handle, dict) else {}
        return {key: _rebound(known.get(key), v) for key, v in value.items()}
    if isinstance(value, Tensor):
        return fresh(value._data, value._node)
    return value


def _gradient(parameter: Parameter) -> Tensor:
    if parameter.grad is None:
        xp = devices.namespace(parameter._data)
        parameter.grad = xp.zeros(parameter.shape, dtype=parameter.dtype)
    assert parameter.grad is not None  # set above
    return parameter.grad


def _field(module: Module, name: str) -> Any:
    if name in {"gradWeight", "gradBias"}:
        own = vars(module).get(name[4:].lower())
        return _gradient(own) if isinstance(own, Parameter) else None
    value = vars(module).get(name)
    return value if isinstance(value, Tensor) else None


def _items(value: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(dotted name, thing) for everything reachable without entering a Module."""
    if isinstance(value, (Tensor, Module)):
        yield prefix, value
    elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
        seen.add(id(value))
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from _items(item, f"{prefix}.{key}", seen)


def fields(module: Module) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of the Tensors and Modules among a module's own attributes."""
    seen: set[int] = set()
    for name, value in vars(module).items():
        if name == "modules" and isinstance(value, list):  # a container's children: "0", "1", …
            for i, item in enumerate(value):
                yield from _items(item, str(i), seen)
        elif not name.startswith("_"):
            yield from _items(value, name, seen)


def _replaced(value: Any, function: Callable[[Module], Module]) -> Any:
    if isinstance(value, Module):
        return value.replace(function)
    if isinstance(value, dict):
        return {key: _replaced(item, function) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_replaced(item, function) for item in value])
    return value


def _children(module: Module) -> list[tuple[str, Module]]:
    found: dict[int, tuple[str, Module]] = {}
    for name, value in fields(module):
        if isinstance(value, Module):
            found.setdefault(id(value), (name, value))
    return list(found.values())


def _named_modules(module: Module, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield prefix, module
    for name, child in _children(module):
        yield from _named_modules(child, f"{prefix}.{name}" if prefix else name, seen)


def _named(module: Module, kind: Any, *, frozen: bool = True) -> Iterator[tuple[str, Any]]:
    """(dotted name, thing), each once; without those of frozen modules unless `frozen`."""
    seen: set[int] = set()
    for prefix, part in module.named_modules():
        if part._frozen and not frozen:
            continue
        for name, value in fields(part):
            if isinstance(value, kind) and id(value) not in seen:
                seen.add(id(value))
                yield (f"{prefix}.{name}" if prefix else name), value
