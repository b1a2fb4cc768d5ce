"""BigDL's layers and criterions give what the real BigDL 2.4 recorded.

The recordings lie in tests/data/bigdl/; TAPEGRAD_BIGDL_RECORDINGS names another directory of the
same layout.  What it lacks is skipped by name, and no case at all is a failure.  Numbers agree
within 1e-5 of the largest one that was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bigdl_constructors import build
from bigdl_layouts import (
    DEPARTURES,
    ORIGINALS,
    from_recorded,
    gradient_of_input,
    input_from_recorded,
    output_from_recorded,
)
from bigdl_recordings import DIRECTORY, require, require_cases, table_in

from tapegrad import nn
from tapegrad.autograd import Tensor

TOLERANCE = 1e-5


def manifest() -> Iterator[tuple[str, str, str]]:
    """(name, constructor, mode) of each line."""
    path = DIRECTORY / "layers_manifest.txt"
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                name, expression, mode, *_ = line.split("\t")
                yield name, expression, mode


LAYERS = table_in("layers.npz")
CRITERIONS = table_in("criterions.npz")
CASES = list(manifest())
LAYER_CASES = [(n, e, m) for n, e, m in CASES if not n.startswith("criterion:")]
CRITERION_CASES = [
    (n.removeprefix("criterion:"), e) for n, e, _ in CASES if n.startswith("criterion:")
]


def nest(arrays: dict[str, np.ndarray], name: str) -> Any:
    """An array, or the table of `name__1`, `name__2`, … as a list; None if there is none."""
    if name in arrays:
        return arrays[name]
    entries = []
    while any(key.startswith(f"{name}__{len(entries) + 1}") for key in arrays):
        entries.append(nest(arrays, f"{name}__{len(entries) + 1}"))
    return entries or None


def flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for entry in value for leaf in flat(entry)]
    return [value]


def check(what: str, found: Any, recorded: Any) -> None:
    found, recorded = flat(found), flat(recorded)
    assert len(found) == len(recorded), f"{what}: {len(found)} arrays, {len(recorded)} recorded"
    for ours, theirs in zip(found, recorded, strict=True):
        if ours is None:  # what has no gradient here has zeros there
            assert not theirs.any(), f"{what}: no gradient, and one recorded"
            continue
        ours = np.asarray(ours.numpy())
        assert ours.size == theirs.size, f"{what}: shape {ours.shape}, {theirs.shape} recorded"
        largest = float(np.abs(theirs).max(initial=0))
        error = float(np.abs(ours.reshape(theirs.shape) - theirs).max(initial=0))
        assert error <= TOLERANCE * (largest or 1), f"{what}: {error} of {largest}"


def numbered(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    return [arrays[key] for key in sorted(arrays) if key.startswith(prefix)]


def statistics(module: nn.Module) -> list[Any]:
    """The extra parameters of BigDL: running mean and variance of each normalization."""
    kinds = (nn.BatchNormalization,)
    layers = [m for m in module.listModules() if isinstance(m, kinds)]
    return [s for layer in layers for s in (layer.running_mean, layer.running_var)]


def test_there_are_cases():
    layers = LAYERS.keys() & {name for name, *_ in LAYER_CASES}
    criterions = CRITERIONS.keys() & {name for name, _ in CRITERION_CASES}
    count = len(layers) + len(criterions)
    require_cases(count, "layers_manifest.txt", "layers.npz", "criterions.npz")


@pytest.mark.parametrize("file", ["layers_manifest.txt", "layers.npz", "criterions.npz"])
def test_the_recording_is_there(file):
    assert require(file).stat().st_size


def arrays_of(table, file, name):
    """The arrays of a case of the manifest; the test is skipped, by its name, where it has none."""
    require(file)
    if name not in table:
        pytest.skip(f"{file} has nothing of {name}")
    return table[name]


@pytest.mark.parametrize(
    ("name", "expression", "mode"), LAYER_CASES, ids=[name for name, *_ in LAYER_CASES]
)
def test_a_layer_computes_what_bigdl_did(name, expression, mode):
    arrays = arrays_of(LAYERS, "layers.npz", name)
    module = build(expression)
    module.training() if mode == "train" else module.evaluate()
    parameters = module.parameters()[0]
    before = from_recorded(module, numbered(arrays, "before_w_"))
    assert len(before) == len(parameters), f"{len(before)} parameters recorded"
    for parameter, values in zip(parameters, before, strict=True):
        assert parameter.size == values.size, f"{parameter.shape} and {values.shape}"
        parameter.numpy()[...] = values.reshape(parameter.shape)
    for buffer, values in zip(statistics(module), numbered(arrays, "before_extra_"), strict=True):
        buffer.numpy()[...] = values
    x = input_from_recorded(module, nest(arrays, "input"))
    departures = DEPARTURES.get((type(module).__name__, mode), {})
    recorded = output_from_recorded(module, nest(arrays, "output"))
    check("output", module.forward(x), recorded)
    gradient = nest(arrays, "gradInput")
    if gradient is None:  # BigDL's own backward failed
        return
    module.zeroGradParameters()
    found = module.backward(x, nest(arrays, "gradOutput"))
    if "gradInput" not in departures:
        check("gradInput", found, gradient_of_input(module, gradient))
    gradients = from_recorded(module, numbered(arrays, "after_g_"))
    for k, (ours, theirs) in enumerate(zip(module.parameters()[1], gradients, strict=True)):
        if f"gradient {k}" not in departures:
            check(f"gradient of parameter {k}", ours, theirs)
    if after := numbered(arrays, "after_extra_"):
        check("running statistics", statistics(module), after)


@pytest.mark.parametrize(
    ("name", "expression"), CRITERION_CASES, ids=[name for name, _ in CRITERION_CASES]
)
def test_a_criterion_computes_what_bigdl_did(name, expression):
    arrays = arrays_of(CRITERIONS, "criterions.npz", name)
    if "loss" not in arrays:
        pytest.skip(f"BigDL recorded no loss of {name}")
    criterion = build(expression)
    x = nest(arrays, "input")
    target = input_from_recorded(criterion, nest(arrays, "target"), "target")
    gradient = nest(arrays, "gradInput")
    original = ORIGINALS.get(type(criterion).__name__)
    if original is not None and x.ndim > 2:
        loss, theirs = original(criterion, x, target)
        if np.allclose(loss, arrays["loss"], rtol=TOLERANCE):
            check("gradInput of the original", Tensor(theirs), gradient)
            return
    check("loss", criterion.forward(x, target), arrays["loss"])
    if gradient is not None:
        check("gradInput", criterion.backward(x, target), gradient)
