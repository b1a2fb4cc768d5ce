"""Which random generators of NumPy and Python a function may draw from, and whether it has.

A batch is one call of the function, so a draw inside would be the same for all samples.  Nothing
tells us of a draw, but it changes its generator's state.  The generators are the global ones, and
those that can be seen from the function: among its arguments, in its closure and defaults, under
the global names that it uses, and in the attributes of objects there.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapegrad.devices import Generator

__all__ = ["name_of", "numpy_generators", "state_of"]

_KINDS = (np.random.Generator, np.random.RandomState, random.Random)
# More objects than this are not looked at, so that a function that sees much costs little.
MOST = 200


def numpy_generators(fn: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
    """The global generators, and those seen from fn and its arguments."""
    found: dict[int, Any] = {id(_global()): _global(), id(_PYTHON): _PYTHON}
    seen: set[int] = set()
    waiting: list[Any] = [fn, *args]
    while waiting and len(seen) < MOST:
        x = waiting.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, _KINDS):
            found[id(x)] = x
        else:
            waiting.extend(_seen_from(x))
    return list(found.values())


_PYTHON = random._inst  # the generator behind random.random()


def _global() -> Any:
    return np.random.mtrand._rand


def _seen_from(x: Any) -> Iterator[Any]:
    """What a function, partial, method, container or object refers to, as far as it may matter."""
    if isinstance(x, functools.partial):
        yield from (x.func, *x.args, *x.keywords.values())
    elif isinstance(x, types.MethodType):
        yield from (x.__func__, x.__self__)
    elif isinstance(x, types.FunctionType):
        yield getattr(x, "__wrapped__", None)
        yield from x.__defaults__ or ()
        yield from (x.__kwdefaults__ or {}).values()
        for cell in x.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        codes = [x.__code__]
        while codes:
            code = codes.pop()
            codes.extend(c for c in code.co_consts if isinstance(c, types.CodeType))
            yield from (x.__globals__[n] for n in code.co_names if n in x.__globals__)
    elif isinstance(x, (list, tuple, set, frozenset)):
        yield from x
    elif isinstance(x, dict):
        yield from x.values()
    elif not isinstance(x, (type, types.ModuleType, np.ndarray, Generator)):
        yield from getattr(x, "__dict__", {}).values()


def state_of(generator: Any) -> Any:
    """What changes in a generator with each draw, comparable by ==."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    state = _bit_generator(generator).state
    return (
        repr(state)
        if state["bit_generator"] != "MT19937"
        else (state["state"]["pos"], state["state"]["key"].tobytes(), repr(generator))
    )


def _bit_generator(generator: Any) -> Any:
    if isinstance(generator, np.random.RandomState):
        return generator._bit_generator  # the public form is slower
    return generator.bit_generator


def name_of(generator: Any) -> str:
    """The generator in words, for a message."""
    if generator is _PYTHON:
        return "Python's random numbers (random.random, …)"
    if generator is _global():
        return "NumPy's global random numbers (np.random.normal, …)"
    return f"the generator {generator!r} of NumPy or Python"
