"""Laws of data: batches and their samples, extreme, empty and missing values, wrong shapes."""

from __future__ import annotations

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.draws import REGIMES
from tapegrad.autograd.check.gradients import CheckError
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_all_be_equal,
    must_be_close,
    must_be_equal,
    must_refuse,
    must_show_nan,
    spoil,
)
from tapegrad.autograd.check.modules.trial import ModuleTrial, as_tensor, floating_arrays
from tapegrad.autograd.core.tree import leaves, map_leaves

__all__ = ["LAWS"]

LAWS = Laws("module")


@LAWS()
def a_batch_is_its_samples_stacked(trial: ModuleTrial) -> NotCovered | None:
    """Outputs and input gradients of a batch are those of its samples, where the case says so."""
    wanted = trial.layer.batch
    floats = floating_arrays(trial.input)
    if wanted not in ("always", "evaluate") or not floats:
        return NotCovered("the case declares no batch whose samples do not meet")
    if wanted == "evaluate" and trial.training:
        return NotCovered("in training mode the samples of a batch meet")
    module, x, v = trial.after_forward()
    output = [np.array(y.numpy()) for y in leaves(module.output)]
    expected = trial.backward(module, x, v)
    total = trial.gradients(module)
    for row in range(floats[0].shape[0]):
        part = slice(row, row + 1)
        one = trial.on_input([a[part] for a in floats])
        for i, (f, e) in enumerate(zip(trial.forward(module, one), output, strict=True)):
            must_be_close(f, e[part], f"output {i} of row {row}", relative=1e-11, scale=1.0)
        found = trial.backward(module, one, [c[part] for c in v])
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            must_be_close(f, e[part], f"gradInput {i} of row {row}", relative=1e-11, scale=1.0)
    for i, (f, e) in enumerate(zip(trial.gradients(module), total, strict=True)):
        scale = float(np.max(np.abs(e), initial=1.0))
        must_be_close(
            f, 2 * e, f"gradient of parameter {i}, rows and batch", relative=1e-11, scale=scale
        )
    return None


@LAWS()
def a_permuted_batch_gives_permuted_results(trial: ModuleTrial) -> NotCovered | None:
    """Permuted samples give permuted results, and the same gradients of the parameters."""
    wanted, floats = trial.layer.batch, floating_arrays(trial.input)
    if wanted is None or not floats:
        return NotCovered("the case declares no batch axis")
    if wanted == "evaluate" and trial.training:
        return NotCovered("in training mode samples may meet")
    module, x, v = trial.after_forward()
    output = [np.array(y.numpy()) for y in leaves(module.output)]
    expected, total = trial.backward(module, x, v), trial.gradients(module)
    order = trial.rng.permutation(floats[0].shape[0])
    mixed = trial.with_zero_gradients(trial.copy())
    permuted = trial.on_input([a[order] for a in floats])
    for i, (f, e) in enumerate(zip(trial.forward(mixed, permuted), output, strict=True)):
        must_be_close(f, e[order], f"output {i} of permuted samples", relative=1e-11, scale=1.0)
    found = trial.backward(mixed, permuted, [c[order] for c in v])
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        must_be_close(f, e[order], f"gradInput {i} of permuted samples", relative=1e-10, scale=1.0)
    for i, (f, e) in enumerate(zip(trial.gradients(mixed), total, strict=True)):
        what = f"gradient of parameter {i}, samples permuted"
        must_be_close(f, e, what, relative=1e-10, scale=1.0)
    return None


@LAWS(regimes=REGIMES, effort=0.4)
def finite_data_give_finite_results(trial: ModuleTrial) -> None:
    """Zeros, constants and data of size 1000 give finite outputs and gradients."""
    module, x, v = trial.after_forward()
    found = {
        "output": [y.numpy() for y in leaves(module.output)],
        "gradInput": trial.backward(module, x, v),
        "gradient of parameter": trial.gradients(module),
    }
    for what, arrays in found.items():
        for i, a in enumerate(arrays):
            bad = int(np.sum(~np.isfinite(a)))
            must(not bad, f"{what} {i}: {bad} of {a.size} entries are not finite")


@LAWS(empties=True)
def an_empty_batch_is_fine(trial: ModuleTrial) -> NotCovered | None:
    """A batch without samples gives outputs without samples, and zero gradients."""
    if trial.layer.batch is None or all(x.size for x in floating_arrays(trial.input)):
        return NotCovered("the case declares no batch axis that may be empty")
    module, x, v = trial.after_forward()
    for i, (g, x_part) in enumerate(
        zip(trial.backward(module, x, v), floating_arrays(trial.input), strict=True)
    ):
        must(g.shape == x_part.shape, f"gradInput {i} has shape {g.shape}")
    for i, g in enumerate(trial.gradients(module)):
        must(not g.any(), f"gradient of parameter {i} from no samples is not 0")
    return None


@LAWS()
def nan_stays_nan(trial: ModuleTrial) -> None:
    """A NaN in an entry that matters shows in the output, or is refused by a ValueError."""
    module = trial.copy()
    floats = floating_arrays(trial.input)
    before = trial.forward(module, trial.on_input())
    for i, x in enumerate(floats):
        if not x.size:
            continue
        bad, moved = spoil(x, trial.rng)
        rest = floats[:i], floats[i + 1 :]
        # copies, because running statistics would carry over from one call to the next
        after = trial.forward(trial.copy(), trial.on_input([*rest[0], moved, *rest[1]]))
        try:
            broken = trial.forward(trial.copy(), trial.on_input([*rest[0], bad, *rest[1]]))
        except ValueError as error:
            if isinstance(error, CheckError):
                raise
            continue
        for b, a, n in zip(before, after, broken, strict=True):
            must_show_nan(b, a, n, f"input {i}")


@LAWS()
def a_wrong_shape_is_refused_and_changes_nothing(trial: ModuleTrial) -> NotCovered | None:
    """A wrong shape raises ValueError and leaves parameters, buffers, random state and output."""
    if trial.layer.wrong is None:
        return NotCovered("the case declares no wrong input")
    module, x, v = trial.after_forward()
    expected = trial.backward(module, x, v)
    output, state = [y.numpy() for y in leaves(module.output)], module.state_dict()
    generator = devices.generator("cpu")
    random = generator.get_state()
    wrong = map_leaves(as_tensor, trial.layer.wrong)
    must_refuse(lambda: trial.run(module, wrong), "forward(an input of the wrong shape)")
    must(repr(generator.get_state()) == repr(random), "random numbers were drawn by a failing call")
    for name, value in module.state_dict().items():
        must_be_equal(value, state[name], name)
    must_all_be_equal([y.numpy() for y in leaves(module.output)], output, "output")
    trial.forward(module, x)
    must_all_be_equal(trial.backward(module, x, v), expected, "gradInput after the failed call,")
    return None
