"""What to write instead of a library's function that converts a Tensor, or that has no primitive.

The error is raised deep in the library.  So the function that the user called is looked up on the
stack: the outermost frame of the library before the user's own code.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.autograd.core.callsite import is_own_frame
from tapegrad.autograd.core.running import register_advice
from tapegrad.autograd.surface import unsupported

__all__ = [
    "OF_ARRAYS",
    "advice_for",
    "asks_who_answers",
    "library_advice",
    "library_function",
    "public_name",
    "only_compares",
    "option_advice",
    "remark_on",
]

_OURS = "Use the function of that name in tapegrad.{}"
_DENSITY = "Use the distribution of that name in tapegrad.scipy.stats"
_MOMENTS = (
    "Write it with NumPy, from np.mean, np.var, np.corrcoef and moments such as "
    "np.mean(((x - np.mean(x)) / np.std(x)) ** 3)"
)
_WITH_ARGS = "Use the function of that name in tapegrad.{}, and pass Tensors in its args"
_NODES = (
    "Sum over fixed nodes: t, w = np.polynomial.legendre.leggauss(50); "
    "(b - a) / 2 * np.sum(w * f((a + b) / 2 + (b - a) / 2 * t))"
)
_SPARSE = (
    "Use A @ x, x @ A, x * A with the Tensor first, tapegrad.scipy.sparse.spsolve(A, x), "
    "or A.toarray()"
)
_PANDAS = "Take the numbers out first: df.to_numpy() @ w, df['a'].to_numpy() * w"
_PLOT = "Give it values: x.numpy()"

# Beginning of the library's name and the function's: advice.  The longest that fits is used.
_ADVICE = {
    "numpy.vectorize": "Use tapegrad.ops.vectorize(f), or call the function on the entire array",
    "numpy.piecewise": "Use tapegrad.ops.piecewise(t, …), or np.where(t < 0, f(t), g(t))",
    "numpy.select": "Use tapegrad.ops.select(…), or np.where(condition, x, other)",
    "numpy.apply_along_axis": "Use tapegrad.ops.apply_along_axis(…)",
    "numpy.full": "Use tapegrad.ops.full(shape, p), or np.broadcast_to(p, shape)",
    "numpy.full_like": "Use tapegrad.ops.full_like(a, p), or p * np.ones_like(a)",
    "numpy.poly1d": "Use tapegrad.ops.polyval([p0, p1], x), np.polyval(np.stack([p0, p1]), x)",
    "numpy.r_": "Use tapegrad.ops.r_[…] and tapegrad.ops.c_[…], np.concatenate or np.stack",
    "numpy.polynomial": "Use the matrix of the basis: polyvander(t, n) @ p, chebvander(t, n) @ p",
    "numpy.ndenumerate": "Use for i in np.ndindex(x.shape): x[i]",
    "numpy.nditer": "Use for v in x.flat",
    "numpy.logaddexp.reduce": "Use tapegrad.ops.logsumexp(x, axis)",
    "numpy.interp": "left= and right= are constants; use np.where for values that have gradients",
    "numpy.testing": "Compare values: x.numpy()",
    "numpy.ma": "Use np.where(mask, 0, x) in place of a masked array",
    "numpy.linalg": "Use np.stack for a matrix made of Tensors",
    "numpy.save": "Save values: x.numpy()",
    "scipy.stats": _MOMENTS,
    "scipy.stats.rv_continuous": _DENSITY,
    "scipy.stats.rv_discrete": _DENSITY,
    "scipy.stats.multivariate_normal_gen": _DENSITY,
    "scipy.integrate": _WITH_ARGS.format("scipy.integrate"),
    "scipy.integrate.dblquad": _NODES,
    "scipy.integrate.nquad": _NODES,
    "scipy.optimize": _WITH_ARGS.format("scipy.optimize"),
    "scipy.linalg": _OURS.format("scipy.linalg"),
    "scipy.signal": _OURS.format("scipy.signal"),
    "scipy.fft": "Use np.fft",
    "scipy.spatial": "Use np.linalg.norm(x[:, None] - y, axis=-1) for distances",
    "scipy.interpolate": "Use the class of that name in tapegrad.scipy.interpolate",
    "scipy.ndimage": _OURS.format("scipy.ndimage"),
    "scipy.sparse": _SPARSE,
    "pandas": _PANDAS,
    "matplotlib": _PLOT,
    "seaborn": _PLOT,
}
_KNOWN_AS = {"numpy.AxisConcatenator": "numpy.r_"}
_WITH_NAMESAKES = ("scipy.special.", "scipy.linalg.")
_OPTIONS = {
    "where": "Use np.where(condition, f(x), other), with an x that is harmless where it is unused.",
    "dtype": "Use x.astype(dtype).",
    "casting": "Use x.astype(dtype).",
    "like": "The result is a Tensor where an argument is one.",
    "order": "A Tensor has no memory order.",
}
_LIBRARIES = frozenset(name.partition(".")[0] for name in _ADVICE) | {"sklearn", "torch"}
OF_ARRAYS = (
    "Use np.stack([x, y]) or tapegrad.ops.array([[x, 0], [1, y]]) for one Tensor of several, "
    "a function of tapegrad.autograd.ops, or "
    "loc + scale * rng.normal(size=…) in place of a draw from rng.normal(loc, scale). "
)


def library_function() -> str:
    """The function of a library that the user's code called, "scipy.linalg.expm"; "" if none runs.

    Private modules are left out of the name.
    """
    frame: Any = sys._getframe(1)
    name = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] in _LIBRARIES:
            if not module.startswith("scipy._lib"):
                name = _public_name(module, frame.f_code.co_qualname)
            elif hasattr(wrapped := frame.f_locals.get("f"), "__qualname__"):
                name = _public_name(wrapped.__module__, wrapped.__qualname__)
        elif not is_own_frame(frame):
            break
        frame = frame.f_back
    return name


# Functions of SciPy that take an array of one object as "ask the other operand's reflected method".
_ASKING = frozenset({"_matmul_dispatch", "multiply", "_divide"})


def asks_who_answers() -> bool:
    """Whether an operator of scipy.sparse converts what stands right of it."""
    frame: Any = sys._getframe(2)
    module = str(frame.f_globals.get("__name__"))
    return module.startswith("scipy.sparse.") and frame.f_code.co_name in _ASKING


def only_compares() -> bool:
    """Whether a function of numpy.testing runs, which reads values and returns none."""
    return library_function().startswith("numpy.testing.")


def _public_name(module: str, function: str) -> str:
    rooms = module.partition("._")[0].split(".")
    if rooms == ["numpy", "lib"]:
        rooms = ["numpy"]
    parts = function.partition(".<locals>")[0].split(".")
    name = ".".join([*rooms[:2], *(part for part in parts if not part.startswith("_"))])
    return _KNOWN_AS.get(name, name)


def advice_for(name: str) -> str:
    """A sentence that says what to write instead of the function `name` of a library, or ""."""
    own = name.rpartition(".")[2]
    if name not in _ADVICE:
        if name.startswith("scipy.linalg.") and hasattr(np.linalg, own):
            return f"For scipy's {own} there is np.linalg.{own}."
        if name.startswith(_WITH_NAMESAKES) and callable(getattr(ops, own, None)):
            return f"For scipy's {own} there is tapegrad.autograd.ops.{own}."
    fitting = [key for key in _ADVICE if f"{name}.".startswith(f"{key}.")]
    return f"For {name}: {_ADVICE[max(fitting, key=len)]}." if fitting else ""


def library_advice(besides: str = "") -> str:
    """What to write instead of the function of a library that the user called, or "".

    besides: the name of a function that this is not about
    """
    name = library_function()
    return advice_for(name) if name and name != besides else ""


register_advice(library_advice)


def option_advice(option: str) -> str:
    """What to write instead of an option that a function has no rule for, or ""."""
    return _OPTIONS.get(option, "")


def remark_on(name: str) -> str:
    """What the table of NumPy's functions says of one that is not supported, or ""."""
    return unsupported.remark_on(name.removeprefix("numpy."))


def public_name(function: Any) -> str:
    """The public name of a function of a library: "numpy.linalg.norm", "scipy.special.betainc"."""
    name = str(getattr(function, "__name__", function))
    if isinstance(function, np.ufunc):
        for module in ("numpy", "scipy.special"):
            if getattr(sys.modules.get(module), name, None) is function:
                return f"{module}.{name}"
        return name
    return f"{getattr(function, '__module__', None) or 'numpy'}.{name}"
