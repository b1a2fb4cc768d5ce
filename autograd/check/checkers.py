"""check_module, check_criterion, check_vjp, check_torch: all laws in one call or decorator.

    check_module(lambda i, o: nn.Linear(i, o), input="N? i", i=ints(1, 5), o=ints(1, 5))

or as the decorator of a class, which `pytest --laws` and `tapegrad check` then find with its case:

    @check_module(input="N? i", i=ints(1, 5), o=ints(1, 5))
    class MyLayer(nn.Module): …

or as the decorator of a function that makes a layer, which becomes a test.  `check_vjp` is for
NumPy functions with a gradient written by hand, `check_torch` for PyTorch's layers; neither uses
Tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.cases import (
    Case,
    CaseArray,
    criterion_case,
    module_case,
    register_case,
)
from tapegrad.autograd.check.frameworks import making
from tapegrad.autograd.check.frameworks.cases import (
    CHECK_ARGUMENTS,
    jax_case,
    torch_case,
    vjp_case,
)
from tapegrad.autograd.check.subjects import Subject, Summary, check
from tapegrad.autograd.core.progress import make_bar

if TYPE_CHECKING:
    from tapegrad.autograd.check.frameworks.making import Constant, Domains, Through
    from tapegrad.autograd.check.laws import Law
    from tapegrad.autograd.check.running import LawProfile

__all__ = [
    "check_criterion",
    "check_jax",
    "check_module",
    "check_torch",
    "check_vjp",
]


def check_module(make: Callable[..., Any] | None = None, /, *, input: Any, **spec: Any) -> Any:
    """Hold every law of modules against what ``make(**options)`` makes.

    input: ``"N? C H W"``: named sizes, shared with other inputs and integer options; or `array`,
           `indices`, a function of the draws, or a nest of these
    spec:  the other arguments of `module_case`, including the constructor's options; and for the
           check itself profile="pr", law=None (the name of one law), choices=None (those of one
           example, which a failure prints), seed=None, raise_error=True
    Returns a `Summary`; raises LawError with the report where a law is broken or unchecked.
    Without `make` it is a decorator: a class gets its case, for `pytest --laws` and `tapegrad
    check`, and stays as it is; a function that makes a layer becomes a test of what it makes.

    >>> from tapegrad import nn
    >>> check_module(lambda i, o: nn.Linear(i, o), input="N? i", i=ints(1, 5), o=[1, 2]).ok
    True
    """
    return _run_or_decorate(module_case, "module", make, {"input": input, **spec})


def check_criterion(
    make: Callable[..., Any] | None = None, /, *, input: Any, target: Any, **spec: Any
) -> Any:
    """Hold every law of criterions against what ``make(**options)`` makes; see `check_module`.

    >>> from tapegrad import nn
    >>> labels = indices("N", below="C")
    >>> check_criterion(nn.CrossEntropyCriterion, input="N C", target=labels).ok
    True
    """
    return _run_or_decorate(
        criterion_case, "criterion", make, {"input": input, "target": target, **spec}
    )


def check_vjp(
    fn: Callable[..., Any],
    vjp_fn: Callable[..., Any],
    *inputs: Any,
    constant: Constant = (),
    domains: Domains | None = None,
    batchwise: str | None = None,
    options: Mapping[str, Any] | None = None,
    jvp_fn: Callable[..., Any] | None = None,
    **more: Any,
) -> Any:
    """Hold the laws of functions against a NumPy function with a hand-written gradient.

    fn:       fn(*inputs, **options) -> array, or a nest of arrays: lists, dicts, dataclasses, None
    vjp_fn:   vjp_fn(g, *inputs, **options) -> the gradient of ⟨g, fn⟩ for each input, None for
              integer ones; a bare array where there is one input.  Complex ones are those of
              Re Σ g·y
    inputs:   shapes with named sizes such as ``"N? C"``, `array`, `indices`, or arrays as they are
    constant: inputs without a gradient, by name or position
    domains:  intervals (low, high) of inputs by name
    batchwise: "split" if the results of a batch (an axis N) are those of its samples
    jvp_fn:   jvp_fn(t, *inputs, **options) -> the tangent of what fn returns, where that is written
              by hand too; t is a tuple with a tangent for each input, None for one of integers, or
              a bare array where there is one input
    more:     keyword arguments of both: `ints`, `one_of`, … or values; integers are sizes.  And
              for the check profile, law, choices, seed, raise_error, as in `check_module`; kinks,
              exceptions, inplace, deterministic, strict, as in `Case`; isolate=True for a process
              of its own, in which a crash is a finding, and so is an example of over 60 seconds
              (isolate=5 makes it 5)
    options:  keyword arguments of both whose names are among these
    With the gradient as its first argument, `@check_vjp(tanh_vjp, "N? C")`, it is a decorator: the
    function gets its case, for `pytest --laws` and `tapegrad check`, and stays as it is.
    Returns a `Summary`; raises LawError with the report where a law is broken or unchecked, and
    UsageError for an option that does not fit.

    >>> import numpy as np
    >>> check_vjp(np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), "N? C").ok
    True
    """
    spec = {
        "constant": constant, "domains": domains, "batchwise": batchwise, "options": options,
        "jvp_fn": jvp_fn, **more,
    }  # fmt: skip
    if isinstance(vjp_fn, (str, CaseArray)):
        return _decorate(
            lambda made, *rest, **kept: vjp_case(made, fn, *rest, **kept), (vjp_fn, *inputs), spec
        )
    case, asked = vjp_case(fn, vjp_fn, *inputs, **spec)
    return _hold_laws(fn, "function", case, **asked)


def check_torch(
    subject: Any,
    *inputs: Any,
    training: bool | None = None,
    constant: Constant = (),
    forward: Mapping[str, Any] | None = None,
    domains: Domains | None = None,
    through: Through | None = None,
    batchwise: str | None = None,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Any:
    """Hold the laws of functions against a layer of PyTorch, in float64 and float32 on the CPU.

    subject:  a `torch.nn.Module`, a `torch.autograd.Function`, a function of tensors, or what makes
              a module or such a function from the options.  The parameters of a module are checked
              with its inputs, frozen ones are constants.  A module is copied and stays as it is
    inputs:   as in `check_vjp`
    training: the mode of a module, both in turn where None
    constant: inputs and parameters without a gradient, by name or position: ``"labels"``
    forward:  keyword arguments of the module's forward
    domains:  intervals (low, high) by name: ``{"scale": (0, None), "*.weight": (-1, 1)}``
    through:  functions through which arguments go first: ``{"log_probs": F.log_softmax}``
    more:     options of the constructor or of the function; and for the check those of `check_vjp`
    options:  options whose names are among the arguments of the check
    Without a subject it is a decorator, `@check_torch("N? n", n=ints(1, 5))`: a class or function
    gets its case, for `pytest --laws` and `tapegrad check`, and stays as it is; a function whose
    name begins with "test" becomes a test of what it makes.
    Returns a `Summary`; raises LawError where a law is broken, UsageError for an option that does
    not fit, ImportError without PyTorch.

    >>> check_torch(torch.nn.Linear, "N? in_features", in_features=ints(1, 5),
    ...             out_features=3)  # doctest: +SKIP
    """
    spec = {
        "training": training, "constant": constant, "forward": forward, "domains": domains,
        "through": through, "batchwise": batchwise, "options": options, **more,
    }  # fmt: skip
    if isinstance(subject, (str, CaseArray)):
        return _decorate(torch_case, (subject, *inputs), spec)
    case, asked = torch_case(subject, *inputs, **spec)
    return _hold_laws(subject, "function", case, **asked)


def check_jax(
    subject: Any,
    *inputs: Any,
    constant: Constant = (),
    domains: Domains | None = None,
    through: Through | None = None,
    batchwise: str | None = None,
    options: Mapping[str, Any] | None = None,
    jit: bool = True,
    **more: Any,
) -> Any:
    """Hold the laws of functions against a function of JAX arrays, in float64 and float32.

    subject: a function of arrays or pytrees of them, or what makes one from the options
    jit:     whether it is compiled, if it can be
    The other arguments are those of `check_torch`, and so is the form as a decorator.
    Returns a `Summary`; raises LawError where a law is broken, UsageError for an option that does
    not fit, ImportError without JAX.

    >>> check_jax(jax.nn.gelu, "N? C", approximate=[False, True])  # doctest: +SKIP
    """
    spec = {
        "constant": constant, "domains": domains, "through": through, "jit": jit,
        "batchwise": batchwise, "options": options, **more,
    }  # fmt: skip
    if isinstance(subject, (str, CaseArray)):
        return _decorate(jax_case, (subject, *inputs), spec)
    case, asked = jax_case(subject, *inputs, **spec)
    return _hold_laws(subject, "function", case, **asked)


def _decorate(
    case_from: Callable[..., tuple[Case, dict[str, Any]]],
    inputs: Sequence[Any],
    spec: dict[str, Any],
) -> Callable[[Any], Any]:
    """A decorator that gives a class or function its case, or makes a test of a function test_…."""

    def decorate(made: Any) -> Any:
        case, asked = case_from(made, *inputs, **spec)
        if not making.subject_name(made).startswith("test"):
            return register_case(made, case)

        @functools.wraps(made)
        def test() -> None:
            _hold_laws(made, "function", case, **asked)

        del test.__wrapped__  # pytest takes the parameters of a test for fixtures
        return test

    return decorate


def _run_or_decorate(
    case_from: Callable[..., Case], kind: str, make: Callable[..., Any] | None, spec: dict[str, Any]
) -> Any:
    """Hold the laws against what `make` makes; without `make` return a decorator."""
    check_arguments = {name: spec.pop(name) for name in CHECK_ARGUMENTS if name in spec}
    if make is not None:
        return _hold_laws(make, kind, case_from(make, **spec), **check_arguments)

    def decorate(made: Any) -> Any:
        case = case_from(made, **spec)
        if isinstance(made, type):
            return register_case(made, case)

        @functools.wraps(made)
        def test() -> None:
            _hold_laws(made, kind, case, **check_arguments)

        # pytest takes the parameters of a test for fixtures; `test` itself has none
        del test.__wrapped__
        return test

    return decorate


def _hold_laws(
    make: Callable[..., Any],
    kind: str,
    case: Case,
    *,
    profile: LawProfile | str = "pr",
    law: str | None = None,
    choices: Sequence[int] | None = None,
    seed: int | None = None,
    raise_error: bool = True,
    isolate: bool | float = False,
) -> Summary:
    subject = Subject(making.subject_name(make), kind, make, case, path=False)
    if choices is not None:
        if law is None:
            raise TypeError("choices are those of one example of one law: say law= too")
        subject.rerun(law, choices)
        return Summary()

    def is_selected(other: Law) -> bool:
        return law is None or other.name == law

    if law is not None and law not in [other.name for other in subject.laws()]:
        raise ValueError(f"there is no law {law!r} of a {kind}")
    bar = make_bar(sum(map(is_selected, subject.laws())), "law", name="check")
    try:
        summary = check(
            [subject],
            profile,
            laws=is_selected,
            seed=seed,
            progress=lambda *_: bar.update(),
            isolate=isolate,
        )
    finally:
        bar.close()
    return summary.raise_errors() if raise_error else summary
