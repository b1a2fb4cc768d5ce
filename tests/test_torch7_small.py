"""Single layers as recorded runs of Torch7 show them to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.autograd import Parameter, Tensor
from tapegrad.nn.formats import torch7 as t7

ROWS = np.random.default_rng(0).normal(size=(4, 3))


def test_convert_without_arguments_takes_any_axes_behind_the_batch(tmp_path: Path) -> None:
    module = nn.Convert()
    assert (module.inputShape, module.outputShape, module.nInputDim) == ("b*", "b*", -1)
    for x in (ROWS, ROWS[0], ROWS[None, None]):
        assert np.array_equal(module.forward(x).numpy(), x)
    assert repr(nn.Convert("b*", "b*")) == repr(module)
    t7.save(module, tmp_path / "x.t7")
    assert np.array_equal(t7.load(tmp_path / "x.t7").forward(ROWS).numpy(), ROWS)
    for shapes in (("b*", "bf"), ("bf", "b*"), ("bt*",)):
        with pytest.raises(ValueError, match="no way from"):
            nn.Convert(*shapes)


def test_a_threshold_in_place_takes_no_value_above_it() -> None:
    with pytest.raises(ValueError, match="val must be at most threshold, found val 1"):
        nn.Threshold(0, 1, True)
    assert nn.Threshold(0, 1).forward(ROWS).numpy().max() >= 1
    assert nn.Threshold(1, 1, True).inplace


def test_a_mufuru_has_torch7s_parameters_in_its_order() -> None:
    module = nn.MuFuRu(3, 2)
    shapes = [p.shape for p in module.parameters()[0]]
    assert shapes == [(2, 3), (2,), (2, 2), (2,), (2, 5), (2,), (16, 5), (16,)]
    assert module.ops == ["keep", "replace", "mul", "diff", "forget", "sqrt_diff", "max", "min"]
    x, h = ROWS.astype(np.float32), np.ones((4, 2), np.float32)
    r = 1 / (1 + np.exp(-(module.reset_gate(x) + module.reset_state(h)).numpy()))
    v = np.tanh(module.candidate(np.concatenate([x, r * h], axis=1)).numpy())
    p = np.exp(module.mixture(np.concatenate([x, h], axis=1)).numpy().reshape(4, 8, 2))
    p /= p.sum(axis=1, keepdims=True)
    d = np.abs(h - v)
    results = [h, v, h * v, d / 2, 0 * h, np.sqrt(d) / 4, np.maximum(h, v), np.minimum(h, v)]
    wanted = sum(p[:, k] * result for k, result in enumerate(results))
    found, _ = module.step(Tensor(x), Tensor(h))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)


def scaled_one_by_one(weight: np.ndarray, keys: list[int], values: list[float]) -> list[float]:
    """What Torch7 makes of values in training, one after the other, in `weight` itself."""
    found = []
    for key, value in zip(keys, values, strict=True):
        row = weight[key]
        if abs(value) > row[0]:
            row[0], row[1] = abs(value), 1 / abs(value)
        row[2] = 1
        found.append(value * row[1] + row[3])
    return found


def test_an_index_linear_divides_by_the_largest_value_of_each_key(tmp_path: Path) -> None:
    module = nn.IndexLinear(6, 2, normalize=True).double()
    start = np.random.default_rng(1).normal(size=(6, 6))
    start[:, :3] = 0
    start[5, :3] = [4, 0.25, 1]
    module.weight = Parameter(start.copy())
    keys = [[0, 2, 0, 5], [2, 4, 0]]
    values = [[1.0, -3.0, 2.0, 1.0], [6.0, 0.0, -1.0]]
    x = [[np.array(k) for k in keys], [np.array(v) for v in values]]
    expected = start.copy()
    scaled = [scaled_one_by_one(expected, k, v) for k, v in zip(keys, values, strict=True)]
    rows = [start[k, 4:] for k in keys]
    wanted = np.array([np.array(s) @ r for s, r in zip(scaled, rows, strict=True)])
    module.zeroGradParameters()
    y = module.forward(x).numpy()
    np.testing.assert_allclose(y, wanted + module.bias.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(module.weight.numpy(), expected)
    g = np.random.default_rng(2).normal(size=y.shape)
    module.backward(x, g)
    gradient = np.zeros((6, 6))
    for sample in range(2):
        for key, value in zip(keys[sample], scaled[sample], strict=True):
            gradient[key, 3] += g[sample] @ start[key, 4:]
            gradient[key, 4:] += value * g[sample]
    np.testing.assert_allclose(module.gradWeight.numpy(), gradient, rtol=1e-12)
    t7.save(module, tmp_path / "x.t7")
    assert t7.objects(tmp_path / "x.t7")["normalize"] == 4
    module.evaluate()
    again = t7.load(tmp_path / "x.t7").evaluate()
    beyond = [np.array([0, 2, 1]), np.array([-5.0, 3.0, 2.0])]
    row = expected[[0, 2, 1]]
    inside = np.array([-1.0, 0.5, 1.0]) + row[:, 3]
    for one in (module, again):
        y = one.forward(beyond).numpy()
        np.testing.assert_allclose(y, inside @ row[:, 4:] + module.bias.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(module.weight.numpy(), expected)
    module.reset()
    assert not module.weight.numpy().any()


def test_a_failing_forward_remembers_no_value() -> None:
    module = nn.Sequential(nn.IndexLinear(6, 2, normalize=True), nn.View(7)).double()
    with pytest.raises(ValueError, match="View"):
        module.forward([np.array([1, 2]), np.array([1.0, 2.0])])
    assert not module.get(0).weight.numpy().any()
