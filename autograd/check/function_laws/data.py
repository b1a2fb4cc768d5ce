"""Laws of data: layouts, precision, missing values and empty axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.check.laws import Laws, NotCovered, must, must_be_close, must_show_nan, spoil
from tapegrad.autograd.check.layouts import ODD_LAYOUTS

if TYPE_CHECKING:
    from tapegrad.autograd.check.functions import FunctionTrial

__all__ = ["LAWS"]

LAWS = Laws("function")


@LAWS()
def memory_layout_does_not_matter(trial: FunctionTrial) -> None:
    """Fortran order, gaps, negative strides and read-only arrays give the same results."""
    expected, v = trial.values(), trial.cotangents()
    gradients = trial.gradients(v)
    for name, layout in ODD_LAYOUTS.items():
        point = [layout(x) for x in trial.point]
        for i, (f, e) in enumerate(zip(trial.values(point), expected, strict=True)):
            must_be_close(f, e, f"result {i} of {name} arrays", relative=1e-12, scale=1.0)
        found = trial.gradients([layout(c) for c in v], point)
        for which, f, e in zip(trial.names, found, gradients, strict=True):
            what = f"gradient of {which}, {name} arrays"
            must_be_close(f, e, what, relative=1e-11, scale=1.0)


@LAWS()
def float32_agrees_with_float64(trial: FunctionTrial) -> None:
    """float32 arguments give float32 results and gradients, close to those of float64."""
    single = [x.astype(np.float32) for x in trial.point]
    double = [x.astype(np.float64) for x in single]
    at_single, at_double = trial.values(single), trial.values(double)
    v = [c.astype(np.float32) for c in trial.cotangents(at_double)]
    singles = trial.gradients(v, single)
    doubles = trial.gradients([c.astype(np.float64) for c in v], double)
    names = [f"result {i}" for i in range(len(at_single))]
    names += [f"gradient of {name}" for name in trial.names]
    both = zip(names, [*at_single, *singles], [*at_double, *doubles], strict=True)
    for name, s, d in both:
        must(s.dtype == np.float32, f"{name} of float32 arrays is {s.dtype}")
        must_be_close(s, d, f"{name} in float32", relative=1e-4, scale=1.0)


@LAWS()
def nan_stays_nan(trial: FunctionTrial) -> None:
    """A NaN in an entry that matters shows in the result."""
    before = trial.values()
    for i, x in enumerate(trial.point):
        if not x.size:
            continue
        bad, moved = spoil(x, trial.rng)
        others = trial.point
        after = trial.values([*others[:i], moved, *others[i + 1 :]])
        broken = trial.values([*others[:i], bad, *others[i + 1 :]])
        for b, a, n in zip(before, after, broken, strict=True):
            must_show_nan(b, a, n, trial.names[i])


@LAWS(empties=True)
def an_empty_batch_is_fine(trial: FunctionTrial) -> NotCovered | None:
    """Axes of length 0 give results, and gradients with the shapes of the arguments."""
    if all(x.size for x in trial.point):
        return NotCovered("no argument has an axis N or T, which may be empty")
    for name, g, x in zip(trial.names, trial.gradients(trial.cotangents()), trial.point,
                          strict=True):  # fmt: skip
        must(g.shape == x.shape, f"the gradient of {name} has shape {g.shape}, not {x.shape}")
    return None
