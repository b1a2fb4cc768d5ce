"""Laws of copies and conversions: clones, pickles, shared and flat parameters, types, text."""

from __future__ import annotations

import pickle

import numpy as np

from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_all_be_equal,
    must_be_close,
    must_be_equal,
)
from tapegrad.autograd.check.modules.trial import ModuleTrial, floating_arrays
from tapegrad.autograd.core.tree import leaves

__all__ = ["LAWS"]

LAWS = Laws("module")


@LAWS()
def a_clone_is_equal_and_independent(trial: ModuleTrial) -> None:
    """A clone has equal bits, and later changes to one do not affect the other."""
    module, x, v = trial.after_forward()
    trial.backward(module, x, v)
    clone = module.clone()
    must_all_be_equal(trial.values(clone), trial.values(module), "parameter of the clone")
    must_all_be_equal(trial.gradients(clone), trial.gradients(module), "gradient of the clone")
    before, gradients = trial.values(module), trial.gradients(module)
    state = module.state_dict()
    for p, g in zip(*clone.parameters(), strict=True):
        p.data[...] += 1
        g.data[...] += 1
    trial.forward(clone, trial.other_input())
    must_all_be_equal(trial.values(module), before, "parameter of the original")
    must_all_be_equal(trial.gradients(module), gradients, "gradient of the original")
    for name, value in module.state_dict().items():
        must_be_equal(value, state[name], f"{name} of the original")


@LAWS()
def sharing_joins_the_memory_of_exactly_the_named_fields(trial: ModuleTrial) -> None:
    """share(other, "weight") joins the memory of the weights of every part, and of nothing else."""
    module, other = trial.copy(), trial.copy()
    must(module.share(other, "weight") is module, "share() returns the module")
    theirs = dict(other.named_parameters())
    for name, parameter in module.named_parameters():
        same = np.shares_memory(parameter.numpy(), theirs[name].numpy())
        wanted = name.rpartition(".")[2] == "weight" and parameter.size > 0
        must(same == wanted, f"{name} is {'shared' if same else 'not shared'}")
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] == "weight":
            parameter.data[...] = 0.75
            must_be_equal(theirs[name].numpy(), parameter.numpy(), f"the other's {name}")


@LAWS()
def a_pickled_copy_gives_equal_results(trial: ModuleTrial) -> None:
    """Parameters, buffers and mode survive pickling."""
    module, x, _ = trial.after_forward()
    copy = pickle.loads(pickle.dumps(module))  # noqa: S301  # our own bytes
    must_all_be_equal(trial.forward(copy, x), trial.forward(module, x), "output of the copy")
    must(copy.train == module.train, "the mode was lost")


@LAWS(effort=0.1)
def shared_parameters_stay_shared_in_copies(trial: ModuleTrial) -> NotCovered | None:
    """A Parameter that two parts hold is one Parameter in a clone and after pickling."""
    pair = [trial.copy()]
    pair.append(pair[0].clone())
    names = dict(pair[0].named_parameters())
    if not names:
        return NotCovered("it has no parameters")
    pair[1].share(pair[0], *{name.rpartition(".")[2] for name in names})
    first, second = pickle.loads(pickle.dumps(pair))  # noqa: S301  # our own bytes
    theirs = dict(second.named_parameters())
    for name, parameter in first.named_parameters():
        same = np.shares_memory(parameter.numpy(), theirs[name].numpy())
        must(same or not parameter.size, f"{name} was shared, and is not after pickling")
    return None


@LAWS(effort=0.1)
def its_text_is_short_and_printing_changes_nothing(trial: ModuleTrial) -> None:
    """repr contains no memory address, and is the same for a clone."""
    module, x, _ = trial.after_forward()
    output, text = [y.numpy() for y in leaves(module.output)], repr(module)
    must(" at 0x" not in text, f"repr is {text}")
    must(repr(module.clone()) == text, f"a clone of {text} is {module.clone()!r}")
    must_all_be_equal(trial.forward(module, x), output, "output after repr()")


@LAWS()
def state_dict_carries_everything_that_evaluation_needs(trial: ModuleTrial) -> None:
    """Loading it into a module with other parameters gives equal bits."""
    module, x, _ = trial.after_forward()
    other = module.clone()
    for tensor in [*dict(other.named_parameters()).values(), *dict(other.named_buffers()).values()]:
        tensor.data[...] = 0.25
    other.load_state_dict(module.state_dict())
    first = trial.forward(module.evaluate(), x)
    must_all_be_equal(trial.forward(other.evaluate(), x), first, "output")


@LAWS()
def get_parameters_gives_flat_views(trial: ModuleTrial) -> None:
    """The module and the flat buffers of getParameters share their memory."""
    module, x, v = trial.after_forward()
    expected, output = trial.backward(module, x, v), [y.numpy() for y in leaves(module.output)]
    values, gradients = trial.values(module), trial.gradients(module)
    trial.with_zero_gradients(module)
    flat, flat_gradient = module.getParameters()
    size = sum(value.size for value in values)
    must(flat.shape == flat_gradient.shape == (size,), f"flat shape {flat.shape}, size {size}")
    must_all_be_equal(trial.values(module), values, "parameter after getParameters,")
    must_all_be_equal(trial.forward(module, x), output, "output after getParameters,")
    must_all_be_equal(trial.backward(module, x, v), expected, "gradInput after getParameters,")
    if not size:
        return
    reached = np.sort(np.concatenate([np.ravel(g) for g in gradients]))
    must_be_equal(np.sort(flat_gradient.numpy()), reached, "the flat gradient, sorted,")
    flat.data[...] *= 0.5
    halves = [0.5 * value for value in values]
    must_all_be_equal(trial.values(module), halves, "parameter after halving the flat buffer,")
    again, _ = module.getParameters()
    must(again is flat or np.shares_memory(again.numpy(), flat.numpy()),
         "a second getParameters gave other buffers")  # fmt: skip


@LAWS()
def float32_agrees_with_float64(trial: ModuleTrial) -> None:
    """A float32 module gives float32 results and gradients, close to those of float64."""
    single = trial.copy().float()
    double = single.clone().double()
    floats = [a.astype(np.float32) for a in floating_arrays(trial.input)]
    x, y = trial.on_input(floats), trial.on_input([a.astype(np.float64) for a in floats])
    at_single, at_double = trial.forward(single, x), trial.forward(double, y)
    v = [c.astype(np.float32) for c in trial.cotangents(double)]
    g_single = trial.backward(trial.with_zero_gradients(single), x, v)
    g_double = trial.backward(
        trial.with_zero_gradients(double), y, [c.astype(np.float64) for c in v]
    )
    pairs = [
        ("output", at_single, at_double, 1e-5),
        ("gradInput", g_single, g_double, 1e-4),
        ("gradient of parameter", trial.gradients(single), trial.gradients(double), 1e-4),
    ]
    for what, singles, doubles, tolerance in pairs:
        for i, (s, d) in enumerate(zip(singles, doubles, strict=True)):
            must(s.dtype == np.float32, f"{what} {i} of a float32 module is {s.dtype}")
            must_be_close(s, d, f"{what} {i} in float32", relative=tolerance, scale=1.0)


@LAWS()
def conversion_to_float_and_back_keeps_structure(trial: ModuleTrial) -> None:
    """Names, shapes and the list of modules stay the same; values are rounded once."""
    module, x, _ = trial.after_forward()
    values = trial.values(module)
    names = [name for name, _ in module.named_parameters()]
    parts = [id(part) for part in module.listModules()]
    must(module.float().double() is module, "float() and double() return the module itself")
    must([name for name, _ in module.named_parameters()] == names, "parameters were renamed")
    must([id(part) for part in module.listModules()] == parts, "modules were replaced")
    rounded = [value.astype(np.float32).astype(np.float64) for value in values]
    must_all_be_equal(trial.values(module), rounded, "parameter")
    trial.forward(module, x)


@LAWS()
def clear_state_drops_results_and_nothing_else(trial: ModuleTrial) -> None:
    """clearState empties output and gradInput; the next forward gives equal bits."""
    module, x, v = trial.after_forward()
    trial.backward(module, x, v)
    output = [np.array(y.numpy()) for y in leaves(module.output)]
    values, gradients = trial.values(module), trial.gradients(module)
    must(module.clearState() is module, "clearState() returns the module")
    left = sum(t.size for t in [*leaves(module.output), *leaves(module.gradInput)])
    must(left == 0, f"{left} entries of output and gradInput are left")
    must_all_be_equal(trial.values(module), values, "parameter")
    must_all_be_equal(trial.gradients(module), gradients, "gradient of parameter")
    if trial.training or not dict(module.named_buffers()):
        must_all_be_equal(trial.forward(module, x), output, "output")
