"""Which of NumPy's public functions have derivatives here: a table made from the registry.

Every function of `numpy`, `numpy.linalg`, `numpy.fft` and `numpy.emath` is in one of three columns:
differentiable; without a derivative by nature (indices, counts, truths, constants, settings); or
not supported, with the error that it raises.  There is no fourth: `coverage_table` raises
LookupError for a function that is neither registered nor named here or in unsupported.py, and a
test fails with it, so that the functions of a new NumPy are noticed.
"""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.core.composite import composites
from tapegrad.autograd.core.declaration import numpy_functions, primitives
from tapegrad.autograd.surface.unsupported import NOT_SUPPORTED, REFUSED_CALLS, REFUSED_OPTIONS

__all__ = [
    "COLUMNS",
    "CoverageRow",
    "coverage_table",
    "differentiable_share",
    "markdown",
    "summary",
]

COLUMNS = ("differentiable", "not by nature", "not supported")
NAMESPACES = {
    "numpy": np,
    "numpy.linalg": np.linalg,
    "numpy.fft": np.fft,
    "numpy.emath": np.emath,
}

# Not in the registry, because there is nothing in them to differentiate.
_BY_NATURE = {
    "makes an array of numbers, text or a file": (
        "arange bartlett blackman diag_indices empty eye from_dlpack frombuffer fromfile "
        "fromfunction fromiter fromregex fromstring genfromtxt hamming hanning identity indices "
        "kaiser load loadtxt mask_indices nested_iters ones tri tril_indices triu_indices zeros "
        "fft.fftfreq fft.rfftfreq"
    ),
    "about types": (
        "can_cast isdtype issubdtype min_scalar_type mintypecode promote_types typename"
    ),
    "about shapes or objects": "broadcast_shapes frompyfunc isscalar iterable",
    "text of a number": "base_repr binary_repr format_float_positional format_float_scientific",
    "dates": "busday_count busday_offset datetime_as_string datetime_data is_busday",
    "settings and information": (
        "get_include get_printoptions getbufsize geterr geterrcall info printoptions "
        "set_printoptions setbufsize seterr seterrcall show_config show_runtime test "
        "linalg.test fft.test"
    ),
}


class CoverageRow(NamedTuple):
    """One public function of NumPy."""

    namespace: str
    name: str
    column: str
    kind: str  # "primitive", "composite" or ""
    remark: str
    has_derivative: bool


def _unregistered() -> dict[str, tuple[str, str, str, bool]]:
    """The functions that no primitive or composite names: name -> the rest of its row."""
    named = {
        name: ("not by nature", "", reason, False)
        for reason, names in _BY_NATURE.items()
        for name in names.split()
    }
    named.update(
        (name, ("not supported", "", f"raises {error}: {remark}", derives))
        for name, (error, remark, derives) in NOT_SUPPORTED.items()
    )
    return named


def _public_functions(namespace: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions: callables that are neither types nor modules."""
    # `dir` also lists deprecated names, such as row_stack.
    return {
        name: function
        for name in sorted(set(dir(namespace)) - {"row_stack"})
        if not name.startswith("_")
        and callable(function := getattr(namespace, name))
        and not isinstance(function, (type, types.ModuleType))
    }


def coverage_table() -> list[CoverageRow]:
    """A row for every public function of the four namespaces.

    Raises LookupError for one that is in no column.
    """
    made_of = {
        **dict.fromkeys(primitives(), "primitive"),
        **dict.fromkeys(composites(), "composite"),
    }
    named = _unregistered()
    rows = []
    for namespace, module in NAMESPACES.items():
        prefix = namespace.removeprefix("numpy").removeprefix(".")
        for name, function in _public_functions(module).items():
            target = numpy_functions.get(function)
            if target is not None:
                own: Any = getattr(target, "primitive", target)
                kind = made_of[target.__name__]
                derives = bool(own.differentiable)
                column = COLUMNS[0] if derives else COLUMNS[1]
                remark = "" if target.__name__ == name else f"as {target.__name__}"
                rows.append(CoverageRow(namespace, name, column, kind, remark, derives))
                continue
            entry = named.get(f"{prefix}.{name}" if prefix else name)
            if entry is None:
                raise LookupError(
                    f"{namespace}.{name} is neither registered by a primitive or composite nor "
                    "named in autograd/surface/coverage.py"
                )
            rows.append(CoverageRow(namespace, name, *entry))
    return rows


def differentiable_share(rows: list[CoverageRow] | None = None) -> float:
    """Of the functions that have a mathematical derivative, the share that has one here."""
    rows = [row for row in rows or coverage_table() if row.has_derivative]
    return sum(row.column == COLUMNS[0] for row in rows) / len(rows)


def summary(rows: list[CoverageRow] | None = None) -> str:
    """The counts by namespace and column, as a few lines of text."""
    rows = rows or coverage_table()
    counts = Counter((row.namespace, row.column) for row in rows)
    lines = [f"{'':14}" + "".join(f"{column:>16}" for column in COLUMNS)]
    for namespace in NAMESPACES:
        numbers = "".join(f"{counts[namespace, column]:>16}" for column in COLUMNS)
        lines.append(f"{namespace:14}{numbers}")
    share = differentiable_share(rows)
    lines.append(f"{share:.1%} of the functions that have a mathematical derivative have one here")
    return "\n".join(lines)


def markdown() -> str:
    """The page `docs/numpy_coverage.md`."""
    rows = coverage_table()
    lines = [
        "# NumPy's functions on Tensors",
        "",
        "Made from the registry by `python -m tapegrad.autograd.surface.coverage`; `tapegrad info",
        "--ops` prints it for the NumPy that is installed.",
        f"This page is of NumPy {_numpy_version()}.",
        "",
        "Complex cotangents pair without a conjugate, df = Re(g·dz), as in HIPS autograd and JAX.",
        "Functions in the second column give untracked Tensors, or take no array.",
        "",
        "```",
        summary(rows),
        "```",
    ]
    for namespace in NAMESPACES:
        lines += ["", f"## {namespace}", "", "| function | column | |", "|---|---|---|"]
        lines += [
            f"| `{row.name}` | {row.column} | {'; '.join(filter(None, (row.kind, row.remark)))} |"
            for row in rows
            if row.namespace == namespace
        ]
    lines += ["", "## What else is refused", "", "| call | why, or what to write |", "|---|---|"]
    lines += [f"| {call} | {words} |" for call, words in REFUSED_CALLS.items()]
    lines += [
        "",
        "## Options",
        "",
        "NumPy's options are taken, and give NumPy's values, shapes and dtypes. These are refused:",
        "",
        "| option | why |",
        "|---|---|",
    ]
    lines += [f"| `{option}` | {why} |" for option, why in REFUSED_OPTIONS.items()]
    return "\n".join(lines) + "\n"


def _numpy_version() -> str:
    return ".".join(np.__version__.split(".")[:2])


if __name__ == "__main__":
    sys.stdout.write(markdown())
