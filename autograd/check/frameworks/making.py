"""What is common to the subjects of all frameworks: options, names, constants and domains.

A subject is a function of arrays, or something that makes one from options.  Which of both a
function is, its signature tells: one that can be called with the options alone is a maker.  Wrong
options are a `UsageError`, before any law is asked.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.cases import CaseArray, draw_arrays
from tapegrad.autograd.check.frameworks.nests import flat_nest, is_matched
from tapegrad.autograd.check.gradients import UsageError

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = [
    "Constant",
    "Domains",
    "Through",
    "batched_among",
    "constants_among",
    "decide",
    "domain_of",
    "draw_keywords",
    "draw_positional",
    "has_parameter",
    "made_of",
    "subject_name",
    "parameter_names",
    "refuse_batchwise",
    "refuse_idle_names",
    "refuse_keywords_by_position",
    "refuse_misfit",
]

Constant = str | int | Sequence[str | int]
Domains = Mapping[str, Any]
Through = Mapping[str, Callable[[Any], Any]]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def known_signature(function: Any) -> inspect.Signature | None:
    """The signature, None where Python cannot tell it, as of most functions written in C."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def has_parameter(function: Any, name: str) -> bool:
    """Has the function a parameter of this very name?"""
    signature = known_signature(function)
    return signature is not None and name in signature.parameters


def parameter_names(function: Any, count: int, *, skip: int = 0) -> list[str]:
    """The names of the first positional parameters, "argument i" where there are none."""
    signature = known_signature(function)
    names: list[str] = []
    rest = ""
    if signature is not None:
        parameters = list(signature.parameters.values())
        names = [p.name for p in parameters if p.kind in _POSITIONAL][skip:]
        rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
    more = [f"{rest}[{i}]" if rest else f"argument {len(names) + i}" for i in range(count)]
    return [*names, *more][:count]


def subject_name(subject: Any) -> str:
    """The name of a subject in reports: its source where that is a short lambda."""
    import functools

    if isinstance(subject, functools.partial):
        return subject_name(subject.func)
    name = getattr(subject, "__name__", None)
    if name == "<lambda>":
        return _source_of_lambda(subject) or "a lambda"
    if isinstance(name, str):
        return name
    return type(subject).__name__


def _source_of_lambda(function: Any) -> str:
    """``lambda x: x.sum()`` as it is written, "" where that is long or not to be had."""
    import linecache

    code = function.__code__
    spots = [spot for spot in code.co_positions() if None not in spot]
    spots = [spot for spot in spots if (spot[2], spot[3]) != (0, 0)]
    if not spots or len({line for spot in spots for line in spot[:2]}) > 1:
        return ""
    line = linecache.getline(code.co_filename, spots[0][0] or 0).encode()
    start, end = min(spot[2] or 0 for spot in spots), max(spot[3] or 0 for spot in spots)
    body = line[start:end].decode(errors="replace").strip()
    try:
        compile(f"({body})", "lambda", "eval")
    except SyntaxError:
        return ""
    shown = f"lambda {', '.join(inspect.signature(function).parameters)}: {body}"
    return shown.replace("lambda :", "lambda:") if body and len(shown) <= 72 else ""


def decide(subject: Any, inputs: int, options: Iterable[str]) -> str:
    """What a function or class is: "call" a function of arrays, "make" what makes one, or "either".

    inputs:  how many arrays it is called with, if it is called with arrays
    options: the names of the keyword arguments
    Raises UsageError where it can be called neither way, with the name that does not fit.
    """
    options = list(options)
    signature = known_signature(subject)
    if inspect.isclass(subject):
        if signature is not None and not _binds(signature, 0, options):
            raise UsageError(_misfit(subject, signature, options, inputs=None))
        return "make"
    if signature is None:
        return "call"
    parameters = signature.parameters.values()
    can_call = _binds(signature, inputs, options)
    can_make = _binds(signature, 0, options) and not any(
        p.kind is p.VAR_POSITIONAL for p in parameters
    )
    if not can_call and not can_make:
        raise UsageError(_misfit(subject, signature, options, inputs=inputs))
    return "either" if can_call and can_make else "call" if can_call else "make"


def refuse_misfit(function: Any, inputs: int, options: Sequence[str]) -> None:
    """Raise UsageError unless the function takes so many arrays and these options."""
    signature = known_signature(function)
    if signature is not None and not _binds(signature, inputs, options):
        raise UsageError(_misfit(function, signature, options, inputs))


def _binds(signature: inspect.Signature, count: int, names: Sequence[str]) -> bool:
    try:
        signature.bind(*[None] * count, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def _misfit(
    subject: Any, signature: inspect.Signature, options: Sequence[str], inputs: int | None
) -> str:
    """A sentence on the option that a signature does not take, or lacks."""
    name = subject_name(subject)
    parameters = signature.parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    shown = ", ".join(
        p.name for p in parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    )
    unknown = [option for option in options if option not in parameters]
    if unknown and not takes_any:
        return f"{name} takes no option {unknown[0]!r}; its arguments are: {shown or 'none'}"
    if inputs is None:
        needed = [
            p.name
            for p in parameters.values()
            if p.default is p.empty
            and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            and p.name not in options
        ]
        if needed:
            return f"{name} needs the option {needed[0]!r}: say {needed[0]}=ints(1, 5) or a value"
    try:
        signature.bind(*[None] * (inputs or 0), **dict.fromkeys(options))
    except TypeError as error:
        return (
            f"{name} cannot be called with {inputs or 0} inputs and the options {options}: {error}"
        )
    return f"{name} cannot be called so"


def made_of(
    subject: Callable[..., Any], how: str, settings: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The function of arrays, and the options that each call of it takes; `how` is of `decide`.

    Raises UsageError where a maker refuses the options.
    """
    if how == "call":
        return subject, settings
    try:
        made = subject(**settings)
    except Exception as error:  # a user's constructor may raise anything
        if how == "either":
            return subject, settings
        shown = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise UsageError(
            f"{subject_name(subject)}({shown}) cannot be made: {type(error).__name__}: {error}"
        ) from error
    if callable(made):
        return made, {}
    if how == "either":
        return subject, settings
    raise UsageError(
        f"{subject_name(subject)} made {type(made).__name__}: it makes a layer or a function of "
        "arrays"
    )


# Arguments ----------------------------------------------------------------------------------------


def draw_positional(
    specs: Sequence[Any], names: Sequence[str], d: Draws, domains: Domains
) -> list[Any]:
    """The nests of the inputs, each within the domain of its name."""
    return [
        draw_arrays(_within(spec, name, domains), d)
        for spec, name in zip(specs, names, strict=True)
    ]


def draw_keywords(specs: Mapping[str, Any], d: Draws, domains: Domains) -> dict[str, Any]:
    """The values of keyword arguments: arrays of specs, functions of the draws, or the values."""
    return {
        name: draw_arrays(_within(spec, name, domains), d) if isinstance(spec, CaseArray) else spec
        for name, spec in specs.items()
    }


def _within(spec: Any, name: str, domains: Domains) -> Any:
    if not isinstance(spec, CaseArray) or spec.below is not None:
        return spec
    domain = domain_of(name, domains)
    if domain is None:
        return spec
    if callable(domain):
        return lambda d: domain(d, d.shape(spec.names))
    low, high = domain
    return replace(spec, low=low, high=high)


BATCHWISE = (None, "split", "evaluate")


def refuse_keywords_by_position(
    function: Any, specs: Sequence[Any], names: Sequence[str], how: str
) -> None:
    """Raise UsageError for an input that is a dict of other arguments of the function by name.

    how: what to say instead, ``forward={given!r}``
    """
    signature = known_signature(function)
    for spec, own in zip(specs, names, strict=True):
        if signature is None or not isinstance(spec, Mapping) or not spec or _has_arrays(spec):
            continue
        if set(map(str, spec)) <= set(signature.parameters) - {own}:
            raise UsageError(
                f"the input {dict(spec)!r} would be passed as {own!r}: keyword arguments are said "
                f"by name, {how.format(given=dict(spec), each=_as_keywords(spec))}"
            )


def _has_arrays(spec: Any) -> bool:
    """Is a shape, an array, or a function that draws one, anywhere in the nest of an input?"""
    return any(
        isinstance(leaf, (CaseArray, np.ndarray)) or callable(leaf)
        for leaf in flat_nest(spec).leaves
    )


def _as_keywords(spec: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in spec.items())


def batched_among(specs: Sequence[Any], d: Draws) -> int:
    """How many of the first inputs have a batch of samples as their first axis, named N."""
    count = 0
    for spec in specs:
        first = next(iter(spec.names.split()), "") if isinstance(spec, CaseArray) else ""
        if not re.fullmatch(r"N(\+\d+)?|N\?", first) or (first == "N?" and not d.present("N")):
            break
        count += 1
    return count


def refuse_batchwise(batchwise: str | None) -> None:
    """Raise UsageError unless ``batchwise=`` is one of its words."""
    if batchwise not in BATCHWISE:
        raise UsageError(f"batchwise={batchwise!r} is none of {', '.join(map(repr, BATCHWISE))}")


def domain_of(name: str, domains: Domains) -> Any:
    """The domain of a name: a pair (low, high), a function of draws and shape, or None."""
    return next((domains[wanted] for wanted in domains if is_matched(name, wanted)), None)


def constants_among(
    names: Sequence[str], tops: Sequence[int], constant: Constant
) -> tuple[set[int], list[str | int]]:
    """The positions of the leaves that ``constant=`` means, and what in it means none.

    names: the paths of the leaves
    tops:  for each leaf the position of the input that it is part of, −1 for a parameter
    """
    wanted = [constant] if isinstance(constant, (str, int)) else list(constant)
    found: set[int] = set()
    idle: list[str | int] = []
    for one in wanted:
        hits = {
            i
            for i, (name, top) in enumerate(zip(names, tops, strict=True))
            if (top == one if isinstance(one, int) else is_matched(name, one))
        }
        found |= hits
        if not hits:
            idle.append(one)
    return found, idle


def refuse_idle_names(subject: str, idle: Iterable[Any], names: Sequence[str], option: str) -> None:
    """Raise UsageError where ``constant=`` or ``domains=`` has a name that is none of `names`."""
    for one in idle:
        raise UsageError(
            f"{option}: {subject} has no argument or parameter {one!r}; it has: " + ", ".join(names)
        )
