"""proof_of: the smallest failing example as lines that run by themselves in the user's framework.

A wrong gradient shows in one entry of it: ∂y[j]/∂x[i] of the library beside the difference quotient
(y[j](x + h) − y[j](x − h)) / 2h.  The entry is looked for among all pairs (i, j) of the small
example; at a kink, where the quotients of both sides differ, no pair is taken.  Of other laws the
lines make the call, so that what it raises or returns can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.frameworks.writing import Written, array_literal
from tapegrad.autograd.check.laws import Uncovered
from tapegrad.autograd.check.report import LawError

if TYPE_CHECKING:
    from tapegrad.autograd.check.functions import FunctionTrial

__all__ = ["proof_of"]

_MOST = 64  # pairs of entries that are tried
_LONG = 40  # entries of an array that is written out
_STEP = 1e-6
_FIRST = "its_gradient_is_the_derivative"


@dataclass(frozen=True)
class _Entry:
    """∂y[j]/∂x[i]: the positions of result and argument, and the indices in both."""

    result: int
    j: tuple[int, ...]
    argument: int
    i: tuple[int, ...]
    analytic: float
    numeric: float


def proof_of(law: str, trial: FunctionTrial, error: BaseException) -> list[str]:
    """Lines of Python that show the failure of a law without tapegrad; none where that is hard."""
    writer = trial.pair.proof
    if writer is None or any(arg.size > _LONG for arg in trial.args):
        return []
    written = writer()
    if written is None:
        return []
    if law == _FIRST:
        entry = _rounded(trial) or _wrong_entry(trial)
        return [] if entry is None else _derivative_lines(written, trial, entry)
    if isinstance(error, LawError):
        return []  # its message has what was found
    notes = "".join(getattr(error, "__notes__", []))
    return _call_lines(written, trial, gradient=": the gradient of" in notes)


# Looking for the entry ---------------------------------------------------------------------------


def _rounded(trial: FunctionTrial) -> _Entry | None:
    """The wrong entry where the arguments have two digits only; they stay so if there is one."""
    before = list(trial.args)
    for i in trial.floats:
        trial.args[i] = np.round(trial.args[i], 2)
    try:
        entry = _wrong_entry(trial)
    except (Exception, Uncovered):  # noqa: BLE001  # rounded, they may lie outside the domain
        entry = None
    if entry is None:
        trial.args[:] = before
    return entry


def _wrong_entry(trial: FunctionTrial) -> _Entry | None:
    """The entry of the Jacobian that is wrong most, None where none is clearly."""
    values = trial.values()
    pairs = [(r, j) for r, y in enumerate(values) for j in np.ndindex(y.shape)]
    worst: _Entry | None = None
    excess = 0.0
    for r, j in pairs[:_MOST]:
        v = [np.zeros(y.shape, y.dtype) for y in values]
        v[r][j] = 1.0
        gradients = trial.gradients(v)
        for a, gradient in enumerate(gradients):
            if gradient.shape != trial.point[a].shape:
                continue
            for i in list(np.ndindex(gradient.shape))[:_MOST]:
                analytic = float(gradient[i])
                numeric, slack = _quotient(trial, r, j, a, i)
                gap = abs(analytic - numeric)
                gap = math.inf if math.isnan(analytic) else gap
                if math.isfinite(numeric) and gap > slack + 1e-4 * abs(numeric) and gap > excess:
                    excess = gap
                    worst = _Entry(r, j, a, i, analytic, numeric)
    return worst


def _quotient(
    trial: FunctionTrial, r: int, j: tuple[int, ...], a: int, i: tuple[int, ...]
) -> tuple[float, float]:
    """∂y[j]/∂x[i] by differences, and how far those of both sides are apart."""

    def at(step: float) -> float:
        point = [np.array(x) for x in trial.point]
        point[a][i] += step
        return float(trial.values(point)[r][j])

    middle, right, left = at(0.0), at(_STEP), at(-_STEP)
    sides = abs((right - middle) - (middle - left)) / _STEP
    rounding = 1e-9 * (abs(middle) + 1.0) / _STEP * 1e-4
    return (right - left) / (2 * _STEP), 2 * sides + 8 * rounding + 1e-5


# Writing it ---------------------------------------------------------------------------------------


def _derivative_lines(w: Written, trial: FunctionTrial, entry: _Entry) -> list[str]:
    argument = trial.floats[entry.argument]
    x = w.names[argument]
    i = _index(entry.i)
    y = _result(trial, entry)
    shown = ", ".join(w.names)
    lines = [*_head(w), *_arrays(w, trial), ""]
    seed = [f"    torch.manual_seed({w.seed})"] if w.seed is not None else []
    lines += [f"def y({shown}):", *seed, f"    return {w.call}{y}", ""]
    if w.framework == "torch":
        lines += [
            f"g, = torch.autograd.grad(y({shown}), {x}, allow_unused=True, materialize_grads=True)",
            f'print("analytic", float(g{i}))',
            f"h = torch.zeros_like({x})",
            f"h{i or '[()]'} = {_STEP}",
        ]
    elif w.framework == "jax":
        lines += [
            f"g = jax.grad(y, argnums={argument})({shown})",
            f'print("analytic", float(g{i}))',
            f"h = jnp.zeros_like({x}).at{i or '[()]'}.set({_STEP})",
        ]
    else:
        lines += [
            *_cotangent(w, trial, entry),
            f"g = {w.gradient}{w.picks[argument]}",
            f'print("analytic", float(g{i}))',
            f"h = np.zeros_like({x})",
            f"h{i or '[()]'} = {_STEP}",
        ]
    plus = shown_with(w.names, argument, f"{x} + h")
    minus = shown_with(w.names, argument, f"{x} - h")
    lines += [f'print("numeric ", (y({plus}) - y({minus})).item() / {2 * _STEP})']
    return [*lines, f"# analytic {entry.analytic:.6g}, numeric {entry.numeric:.6g}"]


def shown_with(names: Sequence[str], position: int, other: str) -> str:
    """The names with another expression at one position."""
    return ", ".join(other if i == position else name for i, name in enumerate(names))


def _cotangent(w: Written, trial: FunctionTrial, entry: _Entry) -> list[str]:
    """The lines that make the cotangent 1 for one entry of the results, 0 for the others."""
    index = _index(entry.j) or "[()]"
    if not trial.result_path(entry.result):
        return [f"v = np.array(0.0 * {w.call})", f"v{index} = 1"]
    place = f"v{trial.result_path(entry.result)}"
    lines = [f"v = {_zeros_like(w.call, trial)}"]
    return [*lines, f"{place} = np.array({place})", f"{place}{index} = 1"]


def _zeros_like(call: str, trial: FunctionTrial) -> str:
    """The expression of a nest of zeros: a list, or a dict, of arrays."""
    first = trial.result_path(0)
    inside = call if first.startswith("[") and first[1].isdigit() else f"{call}.items()"
    if inside is call:
        return f"[0.0 * z for z in {call}]"
    return f"{{k: 0.0 * z for k, z in {inside}}}"


def _result(trial: FunctionTrial, entry: _Entry) -> str:
    """The expression by which one entry of the results is taken out."""
    path = trial.result_path(entry.result)
    return path + _index(entry.j)


def _call_lines(w: Written, trial: FunctionTrial, *, gradient: bool) -> list[str]:
    lines = [*_head(w), *_arrays(w, trial), f"y = {w.call}", "print(y)"]
    if not gradient:
        return lines
    try:
        path = trial.result_path(0)
    except (Exception, Uncovered):  # noqa: BLE001  # that is what the lines are to show
        path = ""
    if w.framework == "torch":
        lines.append(f"y{path}.sum().backward()")
    elif w.framework == "jax":
        shown = ", ".join(w.names)
        numbers = tuple(w.tracked)
        lines.append(
            f"print(jax.grad(lambda {shown}: {w.call}{path}.sum(), argnums={numbers})({shown}))"
        )
    else:
        zeros = "0.0 * y" if not path else _zeros_like("y", trial)
        lines += [f"v = {zeros}", f"print({w.gradient})"]
    return lines


def _head(w: Written) -> list[str]:
    base = {
        "torch": ["import torch"],
        "numpy": ["import numpy as np"],
        "jax": ["import jax", "import jax.numpy as jnp"],
    }[w.framework]
    imports = [*base, *w.imports]
    own = list(dict.fromkeys(line for line in imports))
    lines = [*own, *(f"# {note}" for note in w.notes), ""]
    if w.framework == "jax":
        lines.append('jax.config.update("jax_enable_x64", True)')
    return [*lines, *w.defines]


def _arrays(w: Written, trial: FunctionTrial) -> list[str]:
    make: dict[str, Any] = {"torch": "torch.tensor", "numpy": "np.array", "jax": "jnp.array"}
    lines = []
    for i, (name, array) in enumerate(zip(w.names, trial.args, strict=True)):
        text = array_literal(array)
        own = {"torch": "torch", "numpy": "np", "jax": "jnp"}[w.framework]
        kind = "" if array.dtype.kind == "b" else f", dtype={own}.{array.dtype}"
        grad = ", requires_grad=True" if w.framework == "torch" and i in w.tracked else ""
        shape = f".reshape({array.shape})" if not array.size else ""
        lines.append(f"{name} = {make[w.framework]}({text}{kind}{grad}){shape}")
    return lines


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""
