"""`replay`: all that records and runs steps is imported when the first step is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, overload

from tapegrad.autograd.core.late import late_module

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.replay.step import Replay

__all__ = ["replay"]

P = ParamSpec("P")  # the step's own parameters
_room = late_module("tapegrad.autograd.replay.step")


@overload
def replay(step: np.ufunc) -> Replay[...]: ...
@overload
def replay(step: Callable[P, Any]) -> Replay[P]: ...
def replay(step: Callable[..., Any]) -> Replay[...]:
    """Make a step that is recorded on its first calls and replayed with equal bits from then on.

    step: a function of arrays (or nests of them) that computes, calls `backward` and updates
          parameters; its Python runs only while it is recorded.
    What it returns has no past, from the first call on: derivatives are taken within the step, as
    in ``replay(value_and_grad(f))``.  A tracked argument is an error.
    A call with other shapes, dtypes, devices or Python arguments records the step anew.  So does a
    change of what its Python reads from outside: closed-over and global variables, attributes of
    modules and optimizers, entries of lists and dicts (`watching.py` says what is compared).  Each
    variant is kept.  Where this changes at nearly each call, the step runs as ordinary Python,
    after a RuntimeWarning.
    Raises ReplayError, which names the line, for what cannot be repeated: reading a value, and
    numbers and arrays that the step changes itself but not in place.  Other results that its
    Python leaves outside, such as `output`, a list that it appends to, stay as they were recorded.

    >>> import numpy as np
    >>> step = replay(lambda x: x * 2 + 1)
    >>> [step(np.array([n, 1.0])).numpy() for n in range(3)]
    [array([1., 3.]), array([3., 3.]), array([5., 3.])]
    """
    return _room().Replay(step)
