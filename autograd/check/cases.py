"""Cases: each says how to draw examples of one subject, usually in one line.

    case = module_case(nn.Linear, input="N? inputSize", inputSize=ints(1, 5), outputSize=ints(1, 5))

Options of the constructor are drawn first, under the constructor's names.  An integer option is
also the size of that name, so that ``"N? inputSize"`` fits the layer that was made.  A case is a
function of a `Draws` (see draws.py) with some flags; where one line is not enough, write such a
function: ``Case(draw_my_layer)``.

A class declares its case in an attribute, ``law_case = {"input": "N? n_in", "n_in": range(1, 6)}``,
which needs no import of the checker.  `register_case` declares one from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.draws import check_names
from tapegrad.autograd.check.modules import Layer
from tapegrad.autograd.check.primitives import TrialCall

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.check.draws import Draws

__all__ = [
    "CaseArray",
    "Case",
    "CaseOption",
    "array",
    "as_option",
    "booleans",
    "case_of",
    "draw_options",
    "criterion_case",
    "draw_arrays",
    "floats",
    "indices",
    "ints",
    "module_case",
    "one_of",
    "parse_spec",
    "primitive_case",
    "register_case",
    "registered_case",
]

BATCHWISE = {
    None: None, "split": "always", "evaluate": "evaluate", "perm": "perm", "always": "always"
}  # fmt: skip


# Options ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CaseOption:
    """How to draw a value for one option of a constructor or a call: `draw` does it."""

    draw: Callable[[Draws], Any]
    text: str

    def __repr__(self) -> str:
        return self.text


def ints(low: int, high: int) -> CaseOption:
    """An integer in low … high, both included; shrinks to low.  ``range(1, 6)`` is short for it."""
    return CaseOption(lambda d: d.integer(low, high), f"ints({low}, {high})")


def one_of(*values: Any) -> CaseOption:
    """One of `values`; shrinks to the first.  A list is short for it."""
    return CaseOption(lambda d: d.choice(values), f"one_of{values!r}")


def booleans() -> CaseOption:
    """False or True; shrinks to False."""
    return one_of(False, True)


def floats(low: float, high: float) -> CaseOption:
    """A number in low … high, one of 17 evenly spaced ones; shrinks to low."""
    return CaseOption(
        lambda d: low + (high - low) * d.integer(0, 16) / 16, f"floats({low}, {high})"
    )


def as_option(value: Any) -> CaseOption:
    """The option that a value stands for: itself, a range, a list of choices, or the one value."""
    if isinstance(value, CaseOption):
        return value
    if isinstance(value, range) and value.step == 1 and len(value):
        return ints(value.start, value.stop - 1)
    if isinstance(value, list):
        return one_of(*value)
    return CaseOption(lambda _: value, repr(value))


# Arrays -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CaseArray:
    """An array argument with named sizes, made by `array`, `indices` or from a string."""

    names: str
    low: float | None = None
    high: float | None = None
    below: str | int | None = None

    def __post_init__(self) -> None:
        check_names(self.names)

    def draw(self, d: Draws) -> np.ndarray:
        """Draw the array."""
        shape = d.shape(self.names)
        if self.below is None:
            return d.array(shape, self.low, self.high)
        below = d.size(self.below) if isinstance(self.below, str) else self.below
        return d.integers(shape, 0, below)


def array(names: str, low: float | None = None, high: float | None = None) -> CaseArray:
    """Floating point data of named sizes inside the open interval (low, high)."""
    return CaseArray(names, low, high)


def indices(names: str, below: str | int) -> CaseArray:
    """Integers in 0 … below − 1, `below` being a number or the name of a size: class labels, …"""
    return CaseArray(names, below=below)


def parse_spec(spec: Any) -> Any:
    """A spec with its strings parsed, so that a wrong one is refused before anything is drawn."""
    if isinstance(spec, str):
        return CaseArray(spec)
    if isinstance(spec, Mapping):
        return {key: parse_spec(item) for key, item in spec.items()}
    if isinstance(spec, (list, tuple)):
        return [parse_spec(item) for item in spec]
    return spec


def draw_arrays(spec: Any, d: Draws) -> Any:
    """Draw the arrays of a spec: a `CaseArray`, a function of the draws, an array, or a nest."""
    if isinstance(spec, CaseArray):
        return spec.draw(d)
    if isinstance(spec, Mapping):
        return {key: draw_arrays(item, d) for key, item in spec.items()}
    if isinstance(spec, (list, tuple)):
        return [draw_arrays(item, d) for item in spec]
    if callable(spec):
        return spec(d)
    return spec


# Cases --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """How to draw examples of one subject, and facts that the laws cannot find out.

    draw:       a `Layer`, a `TrialCall` or a `Setting` from a `Draws`
    kind:       "module", "criterion", "primitive" or "optimizer"; None to look at the subject
    inplace:    whether the layer overwrites its input on purpose
    stochastic: whether the layer draws random numbers in training mode (from `tapegrad.devices`);
                the laws check it, None leaves it open
    kinks:      whether the function is flat or broken almost everywhere (rounding, steps), so
                that examples at kinks are accepted
    exceptions: law -> why it does not hold here; an exception that is not needed is an error
    complex:    whether an operation's arrays are complex; laws see real and imaginary parts
    deterministic: whether equal calls are asked for equal bits (True) or for equal values up to
                   rounding (False); None leaves it to the laws
    strict:     whether known conventions are asked for too
    """

    draw: Callable[[Draws], Any]
    kind: str | None = None
    inplace: bool = False
    stochastic: bool | None = None
    kinks: bool = False
    exceptions: Mapping[str, str] = field(default_factory=dict)
    complex: bool = False
    deterministic: bool | None = None
    strict: bool = False

    def __call__(self, d: Draws) -> Any:
        """Draw an example."""
        d.complex = self.complex
        return self.draw(d)


_FLAGS = ("inplace", "stochastic", "kinks", "exceptions")


def module_case(
    make: Callable[..., Any],
    *,
    input: Any,
    wrong: Any = None,
    batchwise: str | None = None,
    target: Any = None,
    kind: str = "module",
    inplace: bool = False,
    stochastic: bool = False,
    kinks: bool = False,
    exceptions: Mapping[str, str] | None = None,
    **options: Any,
) -> Case:
    """The case of a layer, which ``make(**options)`` makes.

    input:     ``"N? C H W"``, `array`, `indices`, a function of the draws, or a nest of these
    wrong:     an input that must be refused, in the form of `input`
    batchwise: "split" if the outputs of a batch are those of its samples, "evaluate" if that holds
               in evaluation mode only, "perm" if only the order of the samples does not matter,
               None if samples influence each other or there is no batch axis
    target:    the target of a criterion, in the form of `input`
    options:   the constructor's: ``ints(1, 5)``, ``one_of("same", "valid")``, ``range(1, 6)``, a
               list of choices, or a value; integers are sizes of that name in the shapes
    The flags are those of `Case`.
    """
    input, wrong, target = parse_spec(input), parse_spec(wrong), parse_spec(target)
    if batchwise not in BATCHWISE:
        raise ValueError(f"batchwise={batchwise!r} is none of {', '.join(map(repr, BATCHWISE))}")
    kinds = {name: as_option(value) for name, value in options.items()}

    def draw(d: Draws) -> Layer:
        picked = draw_options(kinds, d)
        x = draw_arrays(input, d)
        names = input.names if isinstance(input, CaseArray) else ""
        batched = not names.startswith("N?") or d.present("N")
        return Layer(
            make(**picked),
            x,
            None if wrong is None else draw_arrays(wrong, d),
            BATCHWISE[batchwise] if batched else None,
            None if target is None else draw_arrays(target, d),
        )

    return Case(draw, kind, inplace, stochastic, kinks, dict(exceptions or {}))


def criterion_case(make: Callable[..., Any], *, input: Any, target: Any, **spec: Any) -> Case:
    """The case of a criterion.  `target` has the form of `input`, the rest is as in `module_case`.

    >>> from tapegrad import nn
    >>> case = criterion_case(nn.MSECriterion, input="N C", target="N C")
    """
    return module_case(make, input=input, target=target, kind="criterion", **spec)


def primitive_case(
    args: Sequence[Any],
    *,
    kinks: bool = False,
    exceptions: Mapping[str, str] | None = None,
    complex: bool = False,
    **settings: Any,
) -> Case:
    """The case of an operation on Tensors.

    args:     its arguments, in the form of `module_case`'s input
    complex:  whether its arrays are complex
    settings: its keyword settings, in the form of `module_case`'s options
    """
    kinds = {name: as_option(value) for name, value in settings.items()}
    args = [parse_spec(arg) for arg in args]

    def draw(d: Draws) -> TrialCall:
        picked = draw_options(kinds, d)
        return TrialCall([draw_arrays(arg, d) for arg in args], picked)

    return Case(draw, "primitive", kinks=kinks, exceptions=dict(exceptions or {}), complex=complex)


def draw_options(kinds: Mapping[str, CaseOption], d: Draws) -> dict[str, Any]:
    """Draw a value for each option; an integer becomes the size of that name."""
    picked = {name: kind.draw(d) for name, kind in kinds.items()}
    for name, value in picked.items():
        if isinstance(value, int) and not isinstance(value, bool):
            d.let(name, value)
    return picked


# Where cases are declared -------------------------------------------------------------------------

_REGISTERED: dict[
    int, tuple[Any, Case]
] = {}  # by id; holding the subject keeps its id from being reused


def register_case(subject: Any, case: Any = None, **spec: Any) -> Any:
    """Declare the case of a class, primitive or optimizer from outside.

    case: a `Case`, a function of a `Draws`, or None with the arguments of `module_case`,
          `criterion_case` (with ``target=``) or `primitive_case` (with ``args=``) instead
    Returns `subject`.
    """
    _REGISTERED[id(subject)] = (subject, _as_case(subject, spec if case is None else case))
    return subject


def case_of(subject: Any) -> Case | None:
    """The case registered for `subject`, else the case that it declares itself, else None.

    A class does not inherit the case of its base class, whose options and inputs may differ.
    """
    registered = registered_case(subject)
    if registered is not None:
        return registered
    declared = vars(subject).get("law_case") if hasattr(subject, "__dict__") else None
    if declared is None:
        return None
    if isinstance(declared, (staticmethod, classmethod)):
        declared = declared.__func__
    return _as_case(subject, declared)


def registered_case(subject: Any) -> Case | None:
    """The case that was registered for `subject` from outside, None without one."""
    return _REGISTERED[id(subject)][1] if id(subject) in _REGISTERED else None


def _as_case(subject: Any, declared: Any) -> Case:
    if isinstance(declared, Case):
        return declared
    if isinstance(declared, Mapping):
        spec = dict(declared)
        if "args" in spec:
            return primitive_case(**spec)
        if "input" not in spec:
            raise ValueError(
                f"the case of {getattr(subject, '__name__', subject)} says nothing about input=, "
                "the shape of what the layer takes"
            )
        make = spec.pop("make", subject)
        return criterion_case(make, **spec) if "target" in spec else module_case(make, **spec)
    if callable(declared):
        return Case(declared)
    raise TypeError(
        f"the case of {getattr(subject, '__name__', subject)} is {type(declared).__name__}: it is "
        "a Case, a dict of module_case's arguments, or a function of a Draws"
    )


def with_flags(case: Callable[[Draws], Any], **flags: Any) -> Case:
    """A `Case` from a case or a plain function, with some of its flags set."""
    base = case if isinstance(case, Case) else Case(case)
    return replace(base, **flags)
