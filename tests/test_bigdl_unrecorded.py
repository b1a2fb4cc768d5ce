"""BigDL's layers of which there is no recorded run, against their equations written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import nn


def draws(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_anchors_are_those_of_faster_rcnn():
    anchors = nn.Anchor([0.5, 1, 2], [8, 16, 32])
    assert anchors.basic()[[0, 3, 8]].tolist() == [
        [-84, -40, 99, 55],
        [-56, -56, 71, 71],
        [-168, -344, 183, 359],
    ]
    everywhere = anchors.generateAnchors(2, 3)
    assert everywhere.shape == (2 * 3 * 9, 4)
    assert np.array_equal(everywhere[9] - everywhere[0], [16, 0, 16, 0])


def test_overlapping_boxes_go():
    boxes = np.array([[0, 0, 9, 9], [1, 0, 10, 9], [20, 20, 29, 29]])
    assert nn.Nms().nms(np.array([0.5, 0.9, 0.1]), boxes, 0.5).tolist() == [1, 2]
    assert nn.Nms().nms(np.array([0.5, 0.9, 0.1]), boxes, 0.9).tolist() == [1, 0, 2]
    assert nn.Nms().nms(np.array([0.5, 0.9, 0.1]), boxes, 0.9, 0.3, 1).tolist() == [1]


def test_regions_are_pooled_as_by_a_loop():
    maps = draws(2, 3, 5, 6)
    rois = np.array([[0, 0, 0, 8, 6], [1, 4, 2, 11, 9], [1, 20, 20, 30, 30]])
    found = nn.RoiPooling(3, 2, 0.5).forward([maps, rois]).numpy()
    for r, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = np.floor(np.array(corners) * 0.5 + 0.5).astype(int)
        height, width = max(y2 - y1 + 1, 1) / 2, max(x2 - x1 + 1, 1) / 3
        for i in range(2):
            for j in range(3):
                rows = slice(y1 + int(i * height), y1 + int(np.ceil((i + 1) * height)))
                columns = slice(x1 + int(j * width), x1 + int(np.ceil((j + 1) * width)))
                part = maps[image][:, rows, columns]
                expected = part.max((1, 2)) if part.size else np.zeros(3)
                assert np.allclose(found[r, :, i, j], expected)


@pytest.mark.parametrize("ratio", [0, 2])
def test_a_region_of_a_plane_has_the_means_of_its_parts(ratio):
    """On x -> a·x + b·y the mean of interpolated places is the value at their centre."""
    y, x = np.mgrid[:8, :9]
    maps = (2.0 * x + 3.0 * y)[None, None]
    roi = np.array([[1.5, 2.0, 6.5, 5.0]])
    found = nn.RoiAlign(1, ratio, 3, 2).forward([maps, roi]).numpy()[0, 0]
    centres_x = 1.0 + 5.0 * (np.arange(2) + 0.5) / 2
    centres_y = 1.5 + 3.0 * (np.arange(3) + 0.5) / 3
    assert np.allclose(found, 2 * centres_x + 3 * centres_y[:, None])


def test_priors_of_a_cell():
    priors = nn.PriorBox([4.0], [9.0], [4.0], imgSize=16).forward(draws(1, 1, 1, 2)).numpy()
    boxes = priors[0, 0].reshape(2, 4, 4) * 16
    widths, heights = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    assert np.allclose(widths[0], [4, 6, 8, 2], atol=1e-5)
    assert np.allclose(heights[0], [4, 6, 2, 8], atol=1e-5)
    assert np.allclose((boxes[1, :, 0] + boxes[1, :, 2]) / 2, 12)
    assert np.allclose(priors[0, 1], 0.1)


def test_detections_of_ssd_are_decoded_and_sorted_by_class():
    module = nn.DetectionOutputSSD(3, confThresh=0.2, confPostProcess=False).evaluate()
    prior = np.zeros((1, 2, 8))
    prior[0, 0] = [0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1]
    prior[0, 1] = 0.1
    scores = np.array([[0.1, 0.8, 0.1, 0.1, 0.1, 0.9]])
    offsets = np.array([[1.0, 0, 0, 0, 0, 0, 0, 0]])
    found = module.forward([offsets, scores, prior]).numpy()
    expected = [[2, 1, 0.8, 0.05, 0, 0.55, 0.5, 2, 0.9, 0.5, 0.5, 1, 1]]
    assert np.allclose(found, expected)


def test_boxes_are_not_chosen_among_nan():
    """Every comparison with a NaN is false: such a box would be left out, or kept, silently."""
    prior = np.full((1, 2, 8), 0.1)
    scores = np.array([[0.1, np.nan, 0.1, 0.1, 0.1, 0.9]])
    module = nn.DetectionOutputSSD(3).evaluate()
    with pytest.raises(ValueError, match="DetectionOutputSSD: 3 of 6 scores are NaN"):
        module.forward([np.zeros((1, 8)), scores, prior])
    with pytest.raises(ValueError, match="DetectionOutputSSD: 1 of 8 offsets are NaN"):
        module.forward([np.where(np.arange(8) == 3, np.nan, 0)[None], np.ones((1, 6)), prior])
    maps = [np.full((1, 2, 2, 3), np.nan), np.zeros((1, 4, 2, 3)), np.array([[64.0, 80, 1, 1]])]
    with pytest.raises(ValueError, match="Proposal: 12 of 12 scores are NaN"):
        nn.Proposal(10, 4, [1.0], [2.0]).forward(maps)


def test_a_tree_is_computed_from_its_leaves():
    module = nn.BinaryTreeLSTM(2, 3)
    x = draws(1, 3, 2)
    tree = np.array([[[3, 1, -2], [-1, -1, 2], [-1, -1, 0], [2, 4, -1], [-1, -1, 1]]])

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    layers = [(p.weight.numpy(), p.bias.numpy()) for p in module.modules]

    def node(k):
        left, right, leaf = tree[0, k]
        if left < 0:
            c, o = (w @ x[0, leaf] + b for w, b in layers[10:])
            return c, sigmoid(o) * np.tanh(c)
        (lc, lh), (rc, rh) = node(left), node(right)
        pairs = zip(layers[0:10:2], layers[1:10:2], strict=True)
        i, f, g, u, o = (w @ lh + b + v @ rh + d for (w, b), (v, d) in pairs)
        c = sigmoid(i) * np.tanh(u) + sigmoid(f) * lc + sigmoid(g) * rc
        return c, sigmoid(o) * np.tanh(c)

    found = module.forward([x, tree]).numpy()
    assert np.allclose(found[0], [node(k)[1] for k in range(5)], atol=1e-6)


def test_steps_of_zeros_leave_the_state():
    module = nn.Recurrent(maskZero=True).add(nn.LSTMCell(2, 3))
    x = draws(1, 4, 2)
    short = module.forward(x[:, [0, 2, 3]]).numpy()
    x[:, 1] = 0
    long = module.forward(x).numpy()
    assert not long[:, 1].any()
    assert np.allclose(long[:, [0, 2, 3]], short)


def test_a_state_is_set_and_read():
    module = nn.Recurrent().add(nn.GRUCell(2, 3))
    x = draws(2, 4, 2)
    whole = module.forward(x).numpy()
    module.forward(x[:, :2])
    module.setHiddenState(module.getHiddenState())
    assert np.allclose(module.forward(x[:, 2:]).numpy(), whole[:, 2:])


def test_dropout_of_a_cell_is_that_of_all_steps():
    cell = nn.LSTMCell(2, 3, 0.5)
    nn.manual_seed(1)
    noises = cell.noises(nn.Parameter(draws(4, 2)))
    assert [noise.shape for noise in noises] == [(4, 2)] * 4 + [(4, 3)] * 4
    nn.manual_seed(1)
    module = nn.RecurrentDecoder(2).add(nn.RnnCell(3, 3))
    assert module.forward(draws(4, 3)).shape == (4, 2, 3)
    cell.evaluate()
    assert cell.noises(nn.Parameter(draws(4, 2))) == []


def test_a_word_is_predicted_from_the_words_before():
    module = nn.Transformer(7, 4, 2, 8, 2, withShareWeightsLinear=True)
    words = np.array([[1, 2, 3, 4]])
    first = module.forward(words).numpy()
    words[0, 2] = 6
    second = module.forward(words).numpy()
    assert first.shape == (1, 4, 7)
    assert np.allclose(first[:, :3], second[:, :3])
    assert not np.allclose(first[:, 3], second[:, 3])


def test_padding_of_the_source_is_not_looked_at():
    module = nn.Transformer(7, 4, 2, 8, 1, paddingValue=0, transformerType="Translation")
    target = np.array([[1, 2, 3]])
    short = module.forward([np.array([[4, 5]]), target]).numpy()
    long = module.forward([np.array([[4, 5, 0, 0]]), target]).numpy()
    assert np.allclose(short, long, atol=1e-5)


def test_sparse_rows_are_combined():
    module = nn.LookupTableSparse(4, 2, "mean")
    module.weight.numpy()[...] = np.arange(8).reshape(4, 2)
    table = [np.array([[0, 0], [0, 2], [2, 1]]), np.array([1, 3, 0]), np.array([3, 3])]
    assert module.forward(table).numpy().tolist() == [[4, 5], [0, 0], [0, 1]]
    dense = np.array([[0.0, 5, 0], [7, 0, 8]])
    indices, values, shape = nn.DenseToSparse().forward(dense)
    assert indices.numpy().tolist() == [[0, 1], [1, 0], [1, 2]]
    joined = nn.SparseJoinTable(1).forward([[indices, values, shape]] * 2)
    assert joined[0].numpy().tolist() == [[0, 1], [0, 4], [1, 0], [1, 2], [1, 3], [1, 5]]
    assert joined[1].numpy().tolist() == [5, 5, 7, 8, 7, 8]


def test_a_convolution_may_pass_no_gradient_back():
    module = nn.SpatialConvolution(2, 3, 2, 2, propagateBack=False)
    x = draws(1, 2, 4, 4)
    module.forward(x)
    module.zeroGradParameters()
    assert not module.backward(x, draws(1, 3, 3, 3)).numpy().any()
    assert module.gradWeight.numpy().any()


def test_echo_calls_functions():
    seen = []
    module = nn.Echo(
        lambda _, x: seen.append(x.shape), lambda _, x, g: seen.append((x.shape, g.shape))
    )
    x = draws(2, 3)
    assert np.array_equal(module.forward(x).numpy(), x)
    module.backward(x, x)
    assert seen == [(2, 3), ((2, 3), (2, 3))]
