"""What the layers promise beyond the laws and the recorded runs.

Containers as lists, which shapes are refused and with what words, initial values, modes, and the
places where tapegrad departs from Torch7 on purpose (nn/DIFFERENCES.md).
"""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import devices, nn


def images(*shape):
    return np.random.default_rng(5).standard_normal(shape)


# Containers ------------------------------------------------------------------------------------


def kinds(container):
    return [type(module).__name__ for module in container]


def test_sequential_is_edited_by_position_from_0():
    model = nn.Sequential(nn.Linear(2, 3)).add(nn.Tanh())
    model.insert(nn.ReLU(), 1)
    model.insert(nn.Sigmoid())
    model.insert(nn.Identity(), -1)
    assert kinds(model) == ["Linear", "ReLU", "Tanh", "Sigmoid", "Identity"]
    model.remove()
    model.remove(1)
    assert kinds(model) == ["Linear", "Tanh", "Sigmoid"]
    assert model.size() == len(model) == 3
    assert model.get(-1) is model[2]


@pytest.mark.parametrize(
    "act",
    [
        lambda m: m.get(2),
        lambda m: m.get(-3),
        lambda m: m.remove(2),
        lambda m: m.insert(nn.Tanh(), 3),
        lambda m: nn.Sequential().remove(),
    ],
)
def test_positions_that_do_not_exist_are_index_errors(act):
    model = nn.Sequential(nn.Tanh(), nn.ReLU())
    with pytest.raises(IndexError, match="Sequential has"):
        act(model)
    assert kinds(model) == ["Tanh", "ReLU"]


def test_containers_hold_modules_only():
    with pytest.raises(TypeError, match="Sequential holds modules, not type"):
        nn.Sequential(nn.Tanh)


def test_an_empty_container_is_true_and_the_identity():
    model = nn.Sequential()
    assert model
    x = images(2, 3)
    assert np.array_equal(model.forward(x).numpy(), x)


def test_repr_counts_from_0_and_tostring_from_1():
    model = nn.Sequential(nn.Linear(2, 2), nn.ConcatTable(nn.Tanh(), nn.Sequential(nn.ReLU())))
    assert "(0): nn.Linear(2 -> 2)" in repr(model)
    assert "`-> (1): nn.Sequential {" in repr(model)
    assert "(1): nn.Linear(2 -> 2)" in model.__tostring__()
    assert "[input -> (1) -> (2) -> output]" in model.__tostring__()


def test_branches_with_children_keep_their_line_to_the_next_branch():
    assert nn.ConcatTable(nn.Sequential(nn.Tanh()), nn.ReLU()).__tostring__() == (
        "nn.ConcatTable {\n"
        "  input\n"
        "    |`-> (1): nn.Sequential {\n"
        "    |      [input -> (1) -> output]\n"
        "    |      (1): nn.Tanh\n"
        "    |    }\n"
        "     `-> (2): nn.ReLU\n"
        "     ... -> output\n"
        "}"
    )


def test_reset_draws_anew_in_the_same_memory():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.BatchNormalization(3))
    flat, _ = model.getParameters()
    before = flat.numpy().copy()
    model.reset()
    assert np.mean(flat.numpy() != before) > 0.7
    assert np.shares_memory(flat.numpy(), model[0].weight.numpy())


# What is refused ----------------------------------------------------------------------------------

REFUSED = [
    (nn.Linear(5, 3), (2, 7), "Linear: last axis of the input is 7, inputSize is 5"),
    (nn.Linear(5, 3), (), r"Linear: last axis of the input is missing"),
    (nn.SpatialConvolution(2, 3, 3, 3), (3, 5, 5), "SpatialConvolution: .*nInputPlane is 2"),
    (nn.SpatialConvolution(2, 3, 3, 3), (2, 5), "SpatialConvolution: .*nInputPlane is 2"),
    (nn.SpatialConvolution(2, 3, 3, 4), (2, 3, 9), "padded to 3 x 9, is smaller than the kernel"),
    (nn.SpatialMaxPooling(4, 4), (1, 2, 3, 9), "SpatialMaxPooling: .*height"),
    (nn.SpatialMaxPooling(2, 2, 2, 2, 2, 0), (1, 4, 4), "SpatialMaxPooling: .*half the kernel"),
    (nn.SpatialAveragePooling(3, 3), (4, 4), "SpatialAveragePooling: .*neither"),
    (nn.BatchNormalization(4), (4,), "BatchNormalization: .*single sample in evaluate"),
    (nn.BatchNormalization(4), (3, 5), "BatchNormalization: .*5 features, nOutput is 4"),
    (nn.SpatialBatchNormalization(4), (3, 4), "SpatialBatchNormalization: .*2 axes"),
    (nn.View(5), (2, 12), "View: .*no multiple of the 5"),
    (nn.View(-1).setNumInputDims(3), (2, 12), "View: .*2 axes, a single sample has 3"),
    (nn.Reshape(3, 5), (2, 12), "Reshape: .*24 entries"),
    (nn.LogSoftMax(), (1, 1, 1, 1, 1), "LogSoftMax: "),
    (nn.Sequential(nn.Tanh(), nn.Linear(4, 3), nn.Linear(5, 2)), (2, 4), r"Sequential\[2\].Linear"),
    (nn.ConcatTable(nn.Sequential(nn.Linear(5, 2))), (2, 4), r"ConcatTable\[0\].*\[0\].Linear"),
]


@pytest.mark.parametrize(("module", "shape", "words"), REFUSED)
def test_shapes_that_do_not_fit_are_refused_with_the_path_and_both_sizes(module, shape, words):
    state = {name: value.copy() for name, value in module.state_dict().items()}
    with pytest.raises(nn.ShapeError, match=words):
        module.forward(np.zeros(shape, np.float32))
    assert all(np.array_equal(state[k], v) for k, v in module.state_dict().items())


def test_a_failure_behind_batch_normalization_leaves_its_statistics_alone():
    model = nn.Sequential(nn.BatchNormalization(4), nn.Linear(5, 2))
    with pytest.raises(nn.ShapeError):
        model.forward(images(3, 4))
    assert not model[0].running_mean.numpy().any()


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Dropout(1),
        lambda: nn.Dropout(-0.1),
        lambda: nn.Dropout(0.5).setp(float("nan")),
        lambda: nn.View(2, -1, -1),
        lambda: nn.View(2, -2),
        lambda: nn.Reshape(3, -1),
    ],
)
def test_settings_without_meaning_are_refused_at_once(build):
    with pytest.raises(ValueError, match=r"Dropout|View|Reshape"):
        build()


# Shapes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        (nn.Reshape(3, 4), (12,), (3, 4)),
        (nn.Reshape((3, 4)), (2, 12), (2, 3, 4)),
        (nn.Reshape(3, 4), (1, 12), (1, 3, 4)),
        (nn.Reshape(12), (3, 4), (12,)),
        (nn.Reshape(12, False), (1, 3, 4), (12,)),
        (nn.Reshape(12, batchMode=True), (3, 12), (3, 12)),
        (nn.Reshape(2, 6, True), (0, 12), (0, 2, 6)),
        (nn.View(12), (3, 4), (12,)),
        (nn.View(12), (1, 3, 4), (12,)),
        (nn.View(12).setNumInputDims(2), (1, 3, 4), (1, 12)),
        (nn.View(3, -1).setNumInputDims(1), (5, 12), (5, 3, 4)),
        (nn.View(3, -1), (5, 12), (3, 20)),
        (nn.View(12), (0, 12), (0, 12)),
        (nn.View(9).resetSize(4, 3), (2, 12), (2, 4, 3)),
    ],
)
def test_reshape_and_view_tell_batches_from_samples(module, before, after):
    x = images(*before)
    y = module.forward(x)
    assert y.shape == after
    assert np.array_equal(y.numpy().reshape(-1), x.reshape(-1))


def test_width_comes_before_height():
    x = images(1, 2, 7, 9)
    assert nn.SpatialConvolution(2, 1, 4, 2, 3, 1, 1, 2).double().forward(x).shape == (1, 1, 10, 3)
    assert nn.SpatialMaxPooling(4, 2).forward(x).shape == (1, 2, 3, 2)
    assert nn.SpatialMaxPooling(4, 2).ceil().forward(x).shape == (1, 2, 4, 3)
    assert nn.SpatialMaxPooling(4, 2).ceil().floor().forward(x).shape == (1, 2, 3, 2)
    assert nn.SpatialAveragePooling(4, 2).forward(x).shape == (1, 2, 6, 6)


def test_convolution_is_the_sum_over_its_windows():
    layer, x = nn.SpatialConvolution(2, 3, 3, 2, 2, 1, 1, 1).double(), images(2, 2, 4, 6)
    y = layer.forward(x).numpy()
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for n, o, i, j in np.ndindex(y.shape):
        window = wide[n, :, i : i + 2, 2 * j : 2 * j + 3]
        expected = np.sum(window * layer.weight.numpy()[o]) + layer.bias.numpy()[o]
        assert abs(y[n, o, i, j] - expected) < 1e-12


def test_average_pooling_counts_padding_or_not():
    x = np.ones((1, 3, 3))
    layer = nn.SpatialAveragePooling(3, 3, 1, 1, 1, 1)
    assert layer.forward(x).numpy()[0, 0, 0] == pytest.approx(4 / 9)
    assert layer.setCountExcludePad().forward(x).numpy()[0, 0, 0] == pytest.approx(1)
    assert layer.setCountIncludePad().forward(x).numpy()[0, 0, 0] == pytest.approx(4 / 9)
    layer.divide = False
    assert layer.forward(x).numpy()[0, 1, 1] == pytest.approx(9)


# Values and modes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Linear(400, 30), nn.SpatialConvolution(4, 30, 10, 10)])
def test_initial_weights_fill_their_range_and_follow_the_seed(layer):
    drawn = []
    for _ in range(2):
        devices.manual_seed(11)
        layer.reset()
        drawn.append((layer.weight.numpy().copy(), layer.bias.numpy().copy()))
    weight, bias = drawn[0]
    assert all(np.array_equal(a, b) for a, b in zip(*drawn, strict=True))
    assert 0.049 < np.abs(weight).max() <= 0.05  # 1/√400
    assert np.abs(bias).max() <= 0.05
    assert abs(weight.mean()) < 0.002
    layer.reset(stdv=0.3)
    assert layer.weight.numpy().std() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.SpatialConvolution(4, 3, 1, 1)])
def test_no_bias_leaves_one_parameter(layer):
    assert "without bias" in repr(layer.noBias())
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer.reset()
    assert layer.double().forward(images(4, 4, 4)).shape[-1] in {3, 4}


def test_batch_normalization_follows_the_batch_with_the_unbiased_variance():
    layer, x = nn.SpatialBatchNormalization(3, 1e-3, 0.25).double(), images(4, 3, 2, 2)
    y = layer.forward(x).numpy()
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    weight = layer.weight.numpy()[:, None, None]
    expected = (x - mean[:, None, None]) / np.sqrt(var + 1e-3)[:, None, None] * weight
    assert np.allclose(y, expected, rtol=1e-12)
    assert np.allclose(layer.running_mean.numpy(), 0.25 * mean)
    assert np.allclose(layer.running_var.numpy(), 0.75 + 0.25 * x.var((0, 2, 3), ddof=1))


def test_batch_normalization_of_one_sample_in_evaluate_keeps_its_shape():
    layer, x = nn.BatchNormalization(3, affine=False).double().evaluate(), images(3)
    assert layer.forward(x).shape == (3,)
    assert np.array_equal(layer.forward(x).numpy(), layer.forward(x[None]).numpy()[0])


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluate():
    layer, x = nn.Dropout(0.3), np.ones((200, 200))
    y = layer.forward(x).numpy()
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.01)
    assert np.unique(y).tolist() == pytest.approx([0, 1 / 0.7])
    assert np.array_equal(layer.noise.numpy(), y)
    assert np.array_equal(layer.backward(x, x).numpy(), y)
    assert layer.clearState().noise is None
    assert np.array_equal(layer.evaluate().forward(x).numpy(), x)
    assert np.array_equal(nn.Dropout(0).forward(x).numpy(), x)


def test_dropout_v1_scales_in_evaluate_instead():
    layer, x = nn.Dropout(0.25, v1=True), np.ones((30, 30))
    assert set(np.unique(layer.forward(x).numpy())) == {0, 1}
    assert np.all(layer.evaluate().forward(x).numpy() == 0.75)


def test_stochastic_inference_differentiates_the_mask_it_drew():
    layer, x = nn.Dropout(0.5, stochasticInference=True).evaluate(), np.ones((9, 9))
    y = layer.forward(x).numpy().copy()
    assert set(np.unique(y)) == {0, 2}
    assert np.array_equal(layer.backward(x, x).numpy(), y)


@pytest.mark.parametrize("layer", [nn.ReLU(True), nn.Dropout(0.5, inplace=True)])
def test_in_place_layers_leave_the_caller_s_arrays_alone(layer):
    x, g = images(4, 4), images(4, 4)
    kept = x.copy(), g.copy()
    layer.forward(x)
    layer.backward(x, g)
    assert np.array_equal(x, kept[0])
    assert np.array_equal(g, kept[1])


@pytest.mark.parametrize(
    "layer",
    [
        nn.ReLU(),
        nn.Tanh(),
        nn.SoftMax(),
        nn.SpatialMaxPooling(2, 2),
        nn.SpatialAveragePooling(2, 2),
    ],
)
def test_nan_stays_nan(layer):
    x = images(1, 2, 2)
    x[0, 0, 1] = np.nan
    assert np.isnan(layer.forward(x).numpy()).any()


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_softmaxes_sum_over_the_classes(axes):
    x = images(3, 4, 5, 2)[(0,) * (4 - axes)]
    classes = 0 if axes in {1, 3} else 1
    y = nn.SoftMax().forward(x).numpy()
    assert np.allclose(y.sum(classes), 1)
    assert np.allclose(np.exp(nn.LogSoftMax().forward(x).numpy()), y)


# Criterions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [[2, 0], np.array([2, 0], np.uint8), np.array([2.0, 0.0], np.float32), np.array([2, 0])],
)
def test_labels_may_have_any_numeric_dtype(labels):
    x = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]], np.float32))
    loss = nn.ClassNLLCriterion().forward(x, labels)
    assert loss.dtype == np.float32
    assert float(loss) == pytest.approx(-np.log(0.25 * 0.125) / 2)


@pytest.mark.parametrize("labels", [[-1, 0], [0, 3], [0.5, 1], [np.nan, 0]])
@pytest.mark.parametrize("criterion", [nn.ClassNLLCriterion(), nn.CrossEntropyCriterion()])
def test_labels_that_are_no_class_are_refused(criterion, labels):
    with pytest.raises(nn.ShapeError, match=r"Criterion: the target holds .* 3 classes"):
        criterion.forward(images(2, 3), labels)


def test_ignored_samples_count_neither_above_nor_below_the_line():
    x = nn.LogSoftMax().forward(images(3, 4)).numpy()
    weights = [1.0, 2.0, 0.5, 4.0]
    criterion = nn.ClassNLLCriterion(weights, ignoreIndex=1)
    expected = -(2 * 0 + 0.5 * x[0, 2] + 4 * x[2, 3]) / 4.5
    assert float(criterion.forward(x, [2, 1, 3])) == pytest.approx(expected)
    assert not criterion.backward(x, [2, 1, 3]).numpy()[1].any()
    assert float(criterion.forward(x, [1, 1, 1])) == 0
    assert not criterion.backward(x, [1, 1, 1]).numpy().any()


def test_cross_entropy_of_one_class_is_zero_and_long_axes_may_be_padded_with_ones():
    criterion = nn.CrossEntropyCriterion()
    assert float(criterion.forward(images(5, 1), [0] * 5)) == 0
    x = images(2, 3)
    flat = float(criterion.forward(x, [0, 2]))
    assert float(criterion.forward(x[:, :, None, None], np.array([[0], [2]]))) == flat


@pytest.mark.parametrize(
    ("criterion", "x", "target"),
    [
        (nn.MSECriterion(), (2, 3), np.zeros(5)),
        (nn.ClassNLLCriterion(), (2, 3), [0]),
        (nn.ClassNLLCriterion(), (3,), [0, 1]),
        (nn.ClassNLLCriterion(), (2, 3, 4), [0, 1]),
        (nn.ClassNLLCriterion([1.0, 2.0]), (2, 3), [0, 1]),
    ],
)
def test_targets_that_do_not_fit_are_refused(criterion, x, target):
    with pytest.raises(nn.ShapeError, match=type(criterion).__name__):
        criterion.forward(images(*x), target)


def test_mse_pairs_entries_and_never_broadcasts():
    x, target = images(3, 1), images(3)
    loss = float(nn.MSECriterion().forward(x, target))
    assert loss == pytest.approx(np.mean((x[:, 0] - target) ** 2))
