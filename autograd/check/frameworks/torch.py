"""torch_pair: PyTorch's functions and layers as subjects of the laws of functions.

A `torch.nn.Module`, a `torch.autograd.Function` or any function of torch tensors becomes a pair of
NumPy functions.  The parameters of a module become arguments beside its inputs, and the second
order comes from `create_graph`.  What the user hands over is copied, never run itself.  PyTorch is
imported only when a check runs.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.cases import as_option, draw_options, parse_spec
from tapegrad.autograd.check.frameworks import making
from tapegrad.autograd.check.frameworks.arguments import CallArguments
from tapegrad.autograd.check.frameworks.nests import is_matched, real_parts_of
from tapegrad.autograd.check.frameworks.torch_calls import TorchCall, preserved
from tapegrad.autograd.check.frameworks.writing import (
    Written,
    arguments_in_words,
    expression_of,
    variables,
)
from tapegrad.autograd.check.functions import Pair
from tapegrad.autograd.check.gradients import UsageError

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["torch_pair"]

_IN_PLACE = "inplace"  # the attribute and the option by which PyTorch's layers write into inputs


def torch_pair(
    subject: Any,
    inputs: Sequence[Any],
    options: Mapping[str, Any],
    *,
    training: bool | None = None,
    constant: making.Constant = (),
    forward: Mapping[str, Any] | None = None,
    domains: making.Domains | None = None,
    through: making.Through | None = None,
    batchwise: str | None = None,
    inplace: bool = False,
) -> Callable[[Draws], Pair]:
    """The case of a torch subject: a function that makes a `Pair` from a `Draws`.

    subject:  a `torch.autograd.Function`, a module, a function of tensors, or a class or function
              that makes a module or a function of tensors from the options
    inputs:   in the form of `module_case`'s input
    options:  of the maker or of the function of tensors
    training: the mode of a module, both in turn where None
    constant: arguments and parameters without a derivative, by name or position
    forward:  keyword arguments of the module's forward
    domains:  intervals (low, high) by the names of arguments and parameters
    through:  functions of tensors through which the arguments of these names go first
    batchwise: "split" if the results of a batch are those of its samples, "evaluate" if that holds
              in evaluation mode; of a module with running statistics the latter is asked unasked
    inplace:  whether the function writes into its inputs on purpose
    Raises UsageError for options and names that do not fit.
    """
    making.refuse_batchwise(batchwise)
    maker = _Maker(subject, [parse_spec(spec) for spec in inputs], options, forward or {})
    case = _Case(
        maker, training, constant, dict(domains or {}), dict(through or {}), batchwise,
        inplace=inplace,
    )  # fmt: skip
    return case.draw


class _Maker:
    """A subject with its options: `make` gives the module or function of one example."""

    def __init__(
        self,
        subject: Any,
        inputs: list[Any],
        options: Mapping[str, Any],
        forward: Mapping[str, Any],
    ) -> None:
        import torch

        self.torch = torch
        self.subject = subject
        self.inputs = inputs
        self.name = making.subject_name(subject)
        self.kinds = {name: as_option(value) for name, value in options.items()}
        self.forward = {name: as_option(value) for name, value in forward.items()}
        # torch.relu_ and its like, by PyTorch's rule for names
        own = str(getattr(subject, "__module__", "")).partition(".")[0] == "torch"
        self.writes = own and self.name.endswith("_") and not self.name.endswith("__")
        self.is_function = inspect.isclass(subject) and issubclass(subject, torch.autograd.Function)
        if self.is_function:
            self.how = "call"
            self.positional = self._names_of_function()
        elif isinstance(subject, torch.nn.Module):
            self.how = "as it is"
            if options:
                raise UsageError(
                    f"{self.name} is made already, so it takes no option {next(iter(options))!r}; "
                    "keyword arguments of its forward are forward={…}"
                )
        elif not callable(subject):
            raise UsageError(
                f"{subject!r} is no torch.nn.Module, torch.autograd.Function or function of tensors"
            )
        else:
            self.how = self._decide(list(options), list(forward))

    def _decide(self, options: list[str], forward: list[str]) -> str:
        """What `decide` says; a function of tensors takes ``forward=`` for options."""
        if forward and not inspect.isclass(self.subject):
            try:
                return making.decide(self.subject, len(self.inputs), [*options, *forward])
            except UsageError:
                pass  # then it makes a module, whose forward has them
        return making.decide(self.subject, len(self.inputs), options)

    def _names_of_function(self) -> list[str]:
        """The names of the arguments of a Function's forward, its ctx left out."""
        names = list(inspect.signature(self.subject.forward).parameters)
        own = self.subject.setup_context is not self.torch.autograd.Function.setup_context
        names = names if own else names[1:]
        unknown = [name for name in self.kinds if name not in names]
        if unknown:
            raise UsageError(
                f"{self.name} takes no option {unknown[0]!r}; its arguments are: {', '.join(names)}"
            )
        return names

    def draw_settings(self, d: Draws) -> tuple[dict[str, Any], dict[str, Any]]:
        """The options of one example, and the keyword arguments of the call."""
        settings = draw_options(self.kinds, d)
        forward = {name: kind.draw(d) for name, kind in self.forward.items()}
        return settings, forward

    def make(self, settings: dict[str, Any], d: Draws) -> tuple[Any, dict[str, Any]]:
        """A module or function of this example's own, and options that the call still takes."""
        torch, subject = self.torch, self.subject
        if self.is_function:
            last = self.last_arguments(settings)
            return (lambda *x: subject.apply(*x, *last)), {}
        if self.how == "as it is":
            return _copy(subject), {}
        with preserved(torch, d.seed):
            return making.made_of(subject, self.how, settings)

    def last_arguments(self, settings: Mapping[str, Any]) -> list[Any]:
        """The arguments of a Function after its inputs.  Raises UsageError where one is missing."""
        rest = self.positional[len(self.inputs) :]
        defaults = inspect.signature(self.subject.forward).parameters
        for name in rest:
            if name not in settings and defaults[name].default is inspect.Parameter.empty:
                raise UsageError(f"{self.name} needs the option {name!r}: say {name}=…")
        return [settings.get(name, defaults[name].default) for name in rest]


class _Case:
    """How examples of a torch subject are drawn."""

    def __init__(
        self,
        maker: _Maker,
        training: bool | None,
        constant: making.Constant,
        domains: dict[str, Any],
        through: dict[str, Any],
        batchwise: str | None,
        *,
        inplace: bool,
    ) -> None:
        self.maker = maker
        self.training = training
        self.constant = constant
        self.domains = domains
        self.through = through
        self.batchwise = batchwise
        self.inplace = inplace

    def draw(self, d: Draws) -> Pair:
        """A pair on one drawn example."""
        maker, torch = self.maker, self.maker.torch
        settings, forward = maker.draw_settings(d)
        made, rest = maker.make(settings, d)
        is_module = isinstance(made, torch.nn.Module)
        tops = self._names(made)
        called = made.forward if is_module else made
        how = "forward={given!r}" if is_module else "{each}"
        making.refuse_keywords_by_position(called, maker.inputs, tops, how)
        arguments = making.draw_positional(maker.inputs, tops, d, self.domains)
        keywords = making.draw_keywords({**rest, **forward}, d, self.domains)
        flat = CallArguments(arguments, keywords, tops, self.through)
        module = _Module(torch, made, flat, d.seed) if is_module else None
        mode = self._mode(d) if module else False
        if module is not None:
            module.initialize(arguments, keywords)
            mode = module.set_mode(mode, drawn=self.training is None, call=flat)
        values = module.draw_parameters(d, self.domains) if module else []
        names = [*flat.names, *(module.names if module else [])]
        tops_of = [*flat.tops, *[-1] * len(values)]
        constants, idle = making.constants_among(names, tops_of, self.constant)
        idle += [n for n in self.domains if not any(is_matched(m, n) for m in names)]
        idle += [n for n in self.through if n not in [*tops, *keywords]]
        making.refuse_idle_names(maker.name, idle, names, "constant=, domains= or through=")
        arrays = [*flat.arrays, *values]
        if module is not None:
            constants |= {len(flat.names) + i for i in module.frozen}
        whole = [a.dtype.kind == "c" for a in arrays]
        parts, shown = real_parts_of(arrays, names)
        spread = [i for i, both in enumerate(whole) for _ in range(1 + both)]
        own = {i for i, origin in enumerate(spread) if origin in constants}
        run = module.run if module else flat.call_of(made)
        inplace = (
            self.inplace
            or maker.writes
            or rest.get(_IN_PLACE) is True
            or (module and module.in_place)
        )
        call = TorchCall(
            torch, run, maker.name, whole, own, seed=d.seed, inplace=bool(inplace)
        )  # fmt: skip
        words = type(made).__name__ if is_module else maker.name
        if module and module.scripted:
            words = f"{words}, its parameters taken for constants,"
        return Pair(
            call.fn, call.vjp, parts, shown, call.second,
            copies=True,
            constants=own,
            second_all=call.second_all,
            partial=call.partial,
            stops=lambda: call.stops(parts),
            inplace=bool(inplace),
            subject=made,
            random=lambda: call.draws_numbers(parts),
            samples=0 if any(whole) else self._samples(module, d, training=mode),
            shown=f"{words} in training mode " if mode else words,
            paths=lambda: call.paths,
            moved=None if module is None or mode or module.scripted or not module.buffers
            else module.moved,
            smooth=lambda: not any(whole) and call.is_smooth(parts),
            proof=lambda: None if any(whole) or self.through else _written(
                maker, settings, flat, call, module, parts, shown, training=mode
            ),
        )  # fmt: skip

    def _names(self, made: Any) -> list[str]:
        count = len(self.maker.inputs)
        if self.maker.is_function:
            return [*self.maker.positional, *(f"argument {i}" for i in range(count))][:count]
        return making.parameter_names(getattr(made, "forward", made), count)

    def _samples(self, module: _Module | None, d: Draws, *, training: bool) -> int:
        """How many of the arrays are batches whose samples must not meet in this example."""
        specs = self.maker.inputs
        count = making.batched_among(specs, d)
        if self.batchwise == "split" or (self.batchwise == "evaluate" and not training):
            return count
        asked = module is not None and module.keeps_statistics and not training
        return count if asked and count == len(specs) else 0

    def _mode(self, d: Draws) -> bool:
        return d.choice([False, True]) if self.training is None else self.training


def _written(
    maker: _Maker,
    settings: dict[str, Any],
    flat: CallArguments,
    call: TorchCall,
    module: _Module | None,
    parts: Sequence[np.ndarray],
    paths: Sequence[str],
    *,
    training: bool,
) -> Written | None:
    """The example as lines of PyTorch, None where it has parts that lines cannot make."""
    if module is not None and module.lazy:
        return None
    shown = variables(paths)
    positional, keywords = flat.placed(shown)
    imports, expression, notes = expression_of(maker.subject)
    arguments = arguments_in_words(positional, keywords)
    given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    defines: list[str] = []
    if maker.is_function:
        last = "".join(f", {value!r}" for value in maker.last_arguments(settings))
        text = f"{expression}.apply({arguments}{last})"
    elif maker.how == "call":
        text = f"{expression}({arguments})"
    else:
        made = (
            f"copy.deepcopy({expression})" if maker.how == "as it is" else f"{expression}({given})"
        )
        imports += ["import copy"] if maker.how == "as it is" else []
        end = f".double().{'train' if training else 'eval'}()" if module else ""
        defines = [f"f = {made}{end}"]
        text = f"f({arguments})"
        if module and module.names:
            own = shown[len(flat.arrays) :]
            held = ", ".join(f"{n!r}: {v!r}" for n, v in zip(module.names, own, strict=True))
            inside = "".join(f"{item!r}, " for item in positional)
            more = f", {keywords!r}" if keywords else ""
            text = f"torch.func.functional_call(f, {{{held}}}, ({inside}){more})"
    tracked = [
        i for i, a in enumerate(parts) if a.dtype.kind == "f" and i not in call.constants
    ]  # fmt: skip
    return Written(
        "torch", imports, defines, [str(v) for v in shown], text, tracked,
        seed=call.seed if call.draws_numbers(parts) else None, notes=notes,
    )  # fmt: skip


class _Module:
    """A module of this example's own: its parameters are arguments, each call has a new state."""

    def __init__(self, torch: Any, made: Any, arguments: CallArguments, seed: int) -> None:
        self.torch = torch
        self.made = made
        self.arguments = arguments
        self.seed = seed
        self.names: list[str] = []
        self.frozen: set[int] = set()
        self.keeps_statistics = False
        self.in_place = any(getattr(m, _IN_PLACE, False) is True for m in made.modules())
        self.lazy = any(
            torch.nn.parameter.is_lazy(p) for p in [*made.parameters(), *made.buffers()]
        )
        self.scripted = isinstance(made, torch.jit.ScriptModule)
        self._latest: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def initialize(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """Give lazy parameters their shapes by one call, and note what belongs to the state.

        The call is one in evaluation mode, which takes a batch of one row and moves no statistics.
        """
        torch, made = self.torch, self.made
        if self.lazy:
            made.eval()
            self._try(float64=False)
        made.double()
        # functional_call cannot exchange what a scripted module holds: its parameters are constants
        named = [] if self.scripted else list(made.named_parameters())
        self.names = [name for name, _ in named]
        self.frozen = {i for i, (_, p) in enumerate(named) if not p.requires_grad}
        # A normalization that keeps no statistics takes those of the batch in evaluation mode, too.
        of_the_batch = any(getattr(m, "track_running_stats", True) is False for m in made.modules())
        floating = any(b.is_floating_point() for b in made.buffers())
        self.keeps_statistics = floating and not of_the_batch
        self._shapes = [(tuple(p.shape), p.is_complex()) for _, p in named]
        self.buffers = {name: b.detach().clone() for name, b in made.named_buffers()}
        # Tensors that are plain attributes, such as weights of classes, are part of the state, too.
        self._plain = [
            (m, key, value)
            for m in made.modules()
            for key, value in vars(m).items()
            if isinstance(value, torch.Tensor)
            and (value.is_floating_point() or value.is_complex())
            and not value.requires_grad
        ]

    def set_mode(self, training: bool, *, drawn: bool, call: CallArguments) -> bool:
        """Set the mode; one that was only drawn is left again where the module refuses to run."""
        self.made.train(training)
        if training and drawn:
            try:
                self._try()
            except Exception:  # noqa: BLE001  # as BatchNorm refuses one value in training mode
                self.made.train(False)
                return False
        return training

    def _try(self, *, float64: bool = True) -> None:
        """Run once, and leave the state as it was where it exists already."""
        torch = self.torch
        kind = torch.float64 if float64 else torch.get_default_dtype()
        tensors = [torch.tensor(a) for a in self.arguments.arrays]
        tensors = [t.to(kind) if t.is_floating_point() else t for t in tensors]
        with torch.no_grad(), preserved(torch, self.seed, kind):
            if float64:
                held = [] if self.scripted else self.made.parameters()
                self.run(*tensors, *(p.detach() for p in held))
            else:
                args, kwargs = self.arguments.placed(tensors)
                self.made(*args, **kwargs)

    def draw_parameters(self, d: Draws, domains: making.Domains) -> list[np.ndarray]:
        """Values of the parameters, each within the domain of its name."""
        values = []
        for name, (shape, is_complex) in zip(self.names, self._shapes, strict=True):
            domain = making.domain_of(name, domains)
            if domain is None:
                value = 0.5 * d.rng.standard_normal(shape)
                if is_complex:
                    value = value + 0.5j * d.rng.standard_normal(shape)
            elif callable(domain):
                value = np.asarray(domain(d, shape))
            else:
                value = d.array(shape, *domain)
            values.append(np.asarray(value))
        return values

    def run(self, *tensors: Any) -> Any:
        """The result for tensors of the arguments and of the parameters."""
        count = len(self.arguments.arrays)
        args, kwargs = self.arguments.placed(tensors[:count])
        kind = next((t.dtype for t in tensors if t.is_floating_point() or t.is_complex()), None)
        if self.scripted:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the copy asks tensors for gradients they lack
                again = copy.deepcopy(self.made).to(kind)
            return again(*args, **kwargs)
        state = {name: _in_kind(self.torch, b, kind) for name, b in self.buffers.items()}
        state.update(zip(self.names, tensors[count:], strict=True))
        for module, key, value in self._plain:
            vars(module)[key] = _in_kind(self.torch, value, kind)
        self._latest = ({name: state[name].clone() for name in self.buffers}, state)
        return self.torch.func.functional_call(self.made, state, tuple(args), kwargs)

    def moved(self) -> list[str]:
        """The names of the buffers that the latest call has changed.

        It has written into the tensors of the state, or put others into their places.
        """
        before, after = self._latest
        return [name for name, tensor in before.items() if not _is_same(after[name], tensor)]


def _is_same(a: Any, b: Any) -> bool:
    """Are two tensors equal in shape and entries?  NaN is equal to NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())  # noqa: PLR0124  # NaN


def _in_kind(torch: Any, tensor: Any, kind: Any) -> Any:
    """A copy of a tensor of the state in the precision of the arguments."""
    if kind is None or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.clone()
    real = torch.zeros((), dtype=kind).real.dtype
    if tensor.is_complex():
        return tensor.to(torch.complex64 if real is torch.float32 else torch.complex128, copy=True)
    return tensor.to(real, copy=True)


def _copy(module: Any) -> Any:
    """A copy of the user's module, so that nothing of it is changed."""
    try:
        return copy.deepcopy(module)
    except Exception as error:  # a module's own __deepcopy__ may raise anything
        raise UsageError(
            f"{type(module).__name__} cannot be copied ({error}), and what is handed over is never "
            "run itself: hand over what makes it, lambda: MyModel(…)"
        ) from error
