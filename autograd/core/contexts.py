"""Contexts that are decorators too, of functions, generators and coroutines.

`contextlib`'s decorator holds while the function is called.  A call of a generator function runs
none of its lines, so there the context must be entered for each step instead: while the body runs,
and not in the code between two steps, which is somebody else's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import _GeneratorContextManager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

__all__ = ["Context", "context"]

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

ASYNC_GENERATOR = (
    "{name} is an asynchronous generator function, which this context cannot decorate: "
    "write the `with` statement inside it"
)


class Context(_GeneratorContextManager[None]):
    """What a function decorated with `context` returns: for a `with` statement, or a decorator."""

    def __call__(self, func: F) -> F:
        """func, with its body inside the context, also where that is run in steps."""
        decorated: Any
        if inspect.isasyncgenfunction(func):
            raise TypeError(ASYNC_GENERATOR.format(name=getattr(func, "__qualname__", func)))
        if inspect.isgeneratorfunction(func):

            @wraps(func)
            def decorated(*args: Any, **kwargs: Any) -> Any:
                return self._in_steps(func(*args, **kwargs))

        elif inspect.iscoroutinefunction(func):

            @wraps(func)
            async def decorated(*args: Any, **kwargs: Any) -> Any:
                return await _Awaitable(self._in_steps(func(*args, **kwargs)))

        else:
            decorated = super().__call__(func)
        return decorated

    def _in_steps(self, body: Any) -> Generator[Any, Any, Any]:
        """Run a generator or coroutine, each of its steps in a context of its own."""
        step, value = body.send, None
        while True:
            try:
                with self._recreate_cm():  # as ContextDecorator does
                    result = step(value)
            except StopIteration as end:
                return end.value
            try:
                value = yield result
                step = body.send
            except GeneratorExit:
                with self._recreate_cm():
                    body.close()
                raise
            except BaseException as error:  # noqa: BLE001  # what the caller throws is the body's
                step, value = body.throw, error


class _Awaitable:
    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self.steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.steps


def context(function: Callable[P, Generator[None, None, None]]) -> Callable[P, Context]:
    """Make a context of a generator function that yields once, as `contextlib.contextmanager`."""
    made_by: Any = function  # a generator function, which may be annotated to return an Iterator

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Context:
        return Context(made_by, args, kwargs)

    return made
