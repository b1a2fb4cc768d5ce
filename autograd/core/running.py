"""Which code runs whose gradient is wanted, and the error for reading a tracked value in it.

Python and NumPy turn a Tensor into a number without being asked: ``a[i] = t``, ``math.exp(t)``, a
callback of SciPy.  A number has no past, so its gradient would be lost without a word.  In a
function that is being differentiated, and in the forward code of a module, such a conversion of a
tracked Tensor raises `ConversionError`; elsewhere, as in logging a loss, it reads the value.  The
methods that convert ask here, so that recorded operations pay nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar

from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.errors import ConversionError
from tapegrad.autograd.core.mode import is_recording

__all__ = [
    "differentiated",
    "refusal",
    "refusal_behind",
    "refuse_cut",
    "register_advice",
    "register_running_code",
    "where_cut",
]

# Packages in which a conversion happens on behalf of user code.
LIBRARIES = frozenset(
    {"numpy", "scipy", "pandas", "matplotlib", "seaborn", *sys.stdlib_module_names}
)

CUT = (
    "{line}: {action} a tracked Tensor {where} and would cut its gradient. "
    "{advice}x.item() is its value as a constant."
)
IN_GENERAL = (
    "Use NumPy's function for one of `math` (np.exp for math.exp), np.zeros_like(x) or a list and "
    "np.stack for an array that is filled entry by entry, x.copy() for a copy. "
)

# The name of the innermost function that is being differentiated, "" outside of all.
differentiated: ContextVar[str] = ContextVar("tapegrad_differentiated", default="")

# (text, line) of the last conversion that was refused, for `refusal_behind`.  The error itself
# would keep the frames of its traceback alive.
_last_refusal: ContextVar[tuple[str, str] | None] = ContextVar("tapegrad_refusal", default=None)

_registered: list[Callable[[], str]] = []


def register_running_code(path: Callable[[], str]) -> None:
    """Register () -> the path of the module whose forward code runs, "" outside of modules."""
    _registered.append(path)


_advisers: list[Callable[[], str]] = []


def register_advice(adviser: Callable[[], str]) -> None:
    """Register () -> a sentence for the function that converts the Tensor just now, or ""."""
    _advisers.append(adviser)


def where_cut() -> str:
    """The code in which reading a tracked value cuts a gradient, in words; "" if none runs."""
    if not is_recording():
        return ""
    for path in _registered:
        text = path()
        if text:
            return f"in the forward code of {text}"
    name = differentiated.get()
    return f"in the function {name} that is being differentiated" if name else ""


def refuse_cut(action: str) -> None:
    """Raise ConversionError where reading a tracked value cuts a gradient.

    action: what reads it, up to the words "a tracked Tensor": "float() reads"
    """
    where = where_cut()
    if where:
        raise refusal(CUT, IN_GENERAL, action=action, where=where)


def refusal(text: str, general: str = "", **words: str) -> ConversionError:
    """The error to raise for a conversion; `text` may use {line} and {advice} besides `words`.

    general: the advice where nothing is known of the function that converts
    """
    line = user_line(LIBRARIES)
    advice = next((found + " " for ask in _advisers if (found := ask())), "")
    error = ConversionError(text.format(line=line, advice=advice or general, **words), line)
    _last_refusal.set((str(error), line))
    return error


def refusal_behind(error: BaseException) -> ConversionError | None:
    """The refused conversion that `error` stands for, or None.

    NumPy and SciPy put errors of their own in front of what ``float(t)`` raises in them: "setting
    an array element with a sequence".  What users can act on is the refusal, so whatever runs
    differentiated code raises that one.
    """
    last = _last_refusal.get()
    if last is None or isinstance(error, ConversionError):
        return None
    _last_refusal.set(None)
    text, line = last
    behind: BaseException | None = error
    while isinstance(behind, Exception) and type(behind) in _IN_PLACE:
        behind = behind.__cause__
    if isinstance(behind, ConversionError):
        return behind
    # Other C code drops the refusal; then its own error comes from the line that was refused.
    return ConversionError(text, line) if _line_of(error) == line else None


_IN_PLACE = (ValueError, SystemError)  # what C code says in place of any error


def _line_of(error: BaseException) -> str:
    """The innermost line that `error` came through, outside of libraries."""
    line, trace = "", error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in LIBRARIES:
            line = f"{frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line
