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
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.cases import (
    Case,
    as_option,
    criterion_case,
    draw_arrays,
    draw_options,
    module_case,
    parse_spec,
    register_case,
)
from tapegrad.autograd.check.functions import Pair
from tapegrad.autograd.check.gradients import argument_names
from tapegrad.autograd.check.subjects import Subject, Summary, check
from tapegrad.autograd.check.torch import torch_pair

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws
    from tapegrad.autograd.check.laws import Law
    from tapegrad.autograd.check.running import LawProfile

__all__ = ["check_criterion", "check_module", "check_torch", "check_vjp"]


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
    profile: LawProfile | str = "pr",
    law: str | None = None,
    choices: Sequence[int] | None = None,
    seed: int | None = None,
    raise_error: bool = True,
    kinks: bool = False,
    exceptions: dict[str, str] | None = None,
    **options: Any,
) -> Summary:
    """Hold the laws of functions against a NumPy function with a hand-written gradient.

    fn:      fn(*inputs, **options) -> array, or a list of arrays
    vjp_fn:  vjp_fn(g, *inputs, **options) -> the gradient of ⟨g, fn⟩ for each input, None for
             integer ones; a bare array where there is one input
    inputs:  shapes with named sizes such as ``"N? C"``, `array`, `indices`, or arrays as they are
    options: keyword arguments of both: `ints`, `one_of`, … or values; integers are sizes
    The other arguments are those of `check_module`.
    Returns a `Summary`; raises LawError with the report where a law is broken or unchecked.

    >>> import numpy as np
    >>> check_vjp(np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), "N? C").ok
    True
    """
    kinds = {name: as_option(value) for name, value in options.items()}
    names = list(argument_names(fn, len(inputs)))
    inputs = tuple(parse_spec(spec) for spec in inputs)

    def draw(d: Draws) -> Pair:
        picked = draw_options(kinds, d)
        args = [draw_arrays(spec, d) for spec in inputs]
        return Pair(
            functools.partial(fn, **picked) if picked else fn,
            functools.partial(vjp_fn, **picked) if picked else vjp_fn,
            args,
            names,
        )

    case = Case(draw, "function", kinks=kinks, exceptions=exceptions or {})
    return _hold_laws(
        fn, "function", case,
        profile=profile, law=law, choices=choices, seed=seed, raise_error=raise_error,
    )  # fmt: skip


def check_torch(
    subject: Any,
    *inputs: Any,
    training: bool = False,
    profile: LawProfile | str = "pr",
    law: str | None = None,
    choices: Sequence[int] | None = None,
    seed: int | None = None,
    raise_error: bool = True,
    kinks: bool = False,
    exceptions: dict[str, str] | None = None,
    **options: Any,
) -> Summary:
    """Hold the laws of functions against a layer of PyTorch, in float64 and float32 on the CPU.

    subject:  a `torch.autograd.Function`, a function of torch tensors, or what makes a
              `torch.nn.Module` from the options, whose parameters are checked with its inputs
    inputs:   as in `check_vjp`
    training: the mode of a module
    options:  of the constructor; of a Function, further arguments after the inputs
    Returns a `Summary`; raises LawError where a law is broken, ImportError without PyTorch.

    >>> check_torch(torch.nn.Linear, "N? i", in_features=ints(1, 5), …)  # doctest: +SKIP
    """
    case = Case(
        torch_pair(subject, inputs, options, training=training),
        "function",
        kinks=kinks,
        exceptions=exceptions or {},
    )
    return _hold_laws(
        subject, "function", case,
        profile=profile, law=law, choices=choices, seed=seed, raise_error=raise_error,
    )  # fmt: skip


_CHECK_ARGUMENTS = ("profile", "law", "choices", "seed", "raise_error")


def _run_or_decorate(
    case_from: Callable[..., Case], kind: str, make: Callable[..., Any] | None, spec: dict[str, Any]
) -> Any:
    """Hold the laws against what `make` makes; without `make` return a decorator."""
    check_arguments = {name: spec.pop(name) for name in _CHECK_ARGUMENTS if name in spec}
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
) -> Summary:
    subject = Subject(getattr(make, "__name__", repr(make)), kind, make, case, path=False)
    if choices is not None:
        if law is None:
            raise TypeError("choices are those of one example of one law: say law= too")
        subject.rerun(law, choices)
        return Summary()

    def is_selected(other: Law) -> bool:
        return law is None or other.name == law

    if law is not None and law not in [other.name for other in subject.laws()]:
        raise ValueError(f"there is no law {law!r} of a {kind}")
    summary = check([subject], profile, laws=is_selected, seed=seed)
    return summary.raise_errors() if raise_error else summary
