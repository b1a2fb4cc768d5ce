"""BigDL's layers of pyramids, regions and beams, against plain NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import signal, special

from tapegrad import nn


def draws(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def values(parameter):
    return parameter.numpy().astype(np.float64)


def convolved(x, layer, stride=1):
    """A convolution of maps (N, C, H, W), with as much padding as keeps the sides."""
    weight, edge = values(layer.weight), layer.weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    y = [
        [sum(signal.correlate(a, w, "valid") for a, w in zip(image, filters, strict=True))]
        for image in x
        for filters in weight
    ]
    y = np.array(y).reshape(len(x), len(weight), *y[0][0].shape)
    if layer.bias is not None:
        y = y + values(layer.bias)[:, None, None]
    return y[:, :, ::stride, ::stride]


def fill(module):
    """Parameters as large as the values, so that each of them counts."""
    for k, parameter in enumerate(module.parameters()[0]):
        parameter.numpy()[...] = 0.5 * draws(*parameter.shape, seed=k + 1)
    return module


# Pyramids -----------------------------------------------------------------------------------------


def pyramid(module, maps):
    y = [None] * len(maps)
    z = 0
    for k in reversed(range(len(maps))):
        z = convolved(maps[k], module.innerBlocks[k]) + z
        y[k] = convolved(z, module.layerBlocks[k])
        z = z.repeat(2, axis=2).repeat(2, axis=3)
    return y


def all_close(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-4)


def test_a_map_of_a_pyramid_knows_the_smaller_ones():
    maps = [draws(2, 3, 8, 12), draws(2, 4, 4, 6), draws(2, 5, 2, 3)]
    module = fill(nn.FPN([3, 4, 5], 6))
    expected = pyramid(module, maps)
    all_close(module.forward(maps), expected)
    more = fill(nn.FPN([3, 4, 5], 6, topBlocks=1))
    all_close(more.forward(maps), [*expected, expected[-1][:, :, ::2, ::2]])
    skipping = fill(nn.FPN([0, 3, 4, 5], 6))
    all_close(skipping.forward([draws(2, 9, 16, 24), *maps]), expected)


@pytest.mark.parametrize(("last", "before", "after"), [(4, 4, 7), (4, 6, 6), (6, 6, 6)])
def test_two_more_maps_are_convolutions_of_the_last(last, before, after):
    maps = [draws(1, 3, 8, 12), draws(1, last, 4, 6)]
    module = fill(nn.FPN([3, last], 6, 2, before, after))
    first, second = module.topModules
    y = pyramid(module, maps)
    p6 = convolved(y[-1] if before == after else maps[-1], first, stride=2)
    p7 = convolved(np.maximum(p6, 0), second, stride=2)
    all_close(module.forward(maps), [*y, p6, p7])


def test_a_pyramid_of_other_sides_is_refused():
    for wrong in ([3, 0], [], [0, 0], [3, -1]):
        with pytest.raises(ValueError, match="only the first may be 0"):
            nn.FPN(wrong, 2)
    with pytest.raises(ValueError, match="0, 1 or 2"):
        nn.FPN([3], 2, 3)
    with pytest.raises(ValueError, match="inChannelsP6P7 is 5, but the map that they read has 3"):
        nn.FPN([3], 2, 2, 5, 4)
    with pytest.raises(nn.ShapeError, match="not twice as high and wide"):
        nn.FPN([3, 4], 2).forward([draws(1, 3, 8, 8), draws(1, 4, 4, 3)])
    with pytest.raises(nn.ShapeError, match="N, C, H, W"):
        nn.FPN([3], 2).forward([draws(3, 8, 8)])


# Pooling by levels --------------------------------------------------------------------------------

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)


def test_a_region_is_pooled_on_the_level_of_its_size():
    """Maps of level k are k everywhere."""
    maps = [np.full((2, 1, 256 // 2**k, 256 // 2**k), float(k)) for k in range(4)]
    sides = [10, 111, 112, 223, 224, 447, 448, 1000]
    rois = np.array([[0, 0, side - 1, side - 1] for side in sides])
    wide = np.array([[0, 0, 223, 55], [0, 0, 111, 447]])  # areas of squares of 112 and 224
    found = nn.Pooler(1, SCALES, 2).forward([maps, [rois, wide]]).numpy()[:, 0, 0, 0]
    assert found.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 1, 2]


def test_regions_keep_their_order_and_their_image():
    maps = [draws(2, 3, 32 // 2**k, 32 // 2**k, seed=k) for k in range(2)]
    rois = [
        np.array([[0, 0, 300, 200], [3, 4, 60, 70], [5, 5, 250, 250.0]]),
        np.array([[1, 2, 30, 40.0]]),
    ]
    module = nn.Pooler(2, SCALES[:2], 2)
    found = module.forward([maps, rois]).numpy()
    levels = [[1, 0, 1], [0]]
    expected = [
        nn.RoiAlign(SCALES[level], 2, 2, 2).forward([maps[level][n : n + 1], roi[None]]).numpy()
        for n in range(2)
        for roi, level in zip(rois[n], levels[n], strict=True)
    ]
    np.testing.assert_allclose(found, np.concatenate(expected))
    none = module.forward([maps, [np.zeros((0, 4)), rois[1]]]).numpy()
    np.testing.assert_allclose(none, found[3:])
    first = [planes[:1] for planes in maps]
    assert module.forward([first, np.zeros((0, 4))]).shape == (0, 3, 2, 2)
    np.testing.assert_allclose(module.forward([first, rois[0]]).numpy(), found[:3])


def test_levels_that_cannot_be_chosen_are_refused():
    for wrong in ([0.25, 0.2], [], [-1]):
        with pytest.raises(ValueError, match="half of the one before"):
            nn.Pooler(1, wrong, 1)
    maps = [draws(1, 1, 4, 4)]
    module = nn.Pooler(1, [0.25], 1)
    with pytest.raises(ValueError, match="Pooler: 1 of 4 rois are NaN"):
        module.forward([maps, np.array([[0, np.nan, 3, 3]])])
    with pytest.raises(nn.ShapeError, match="1 images"):
        module.forward([maps, [np.zeros((1, 4))] * 2])
    with pytest.raises(nn.ShapeError, match="1 images"):
        module.forward([maps, np.zeros((1, 5))])


# Regions ------------------------------------------------------------------------------------------


def moved(box, offset, more):
    """A box moved by offsets of its centre and its sides."""
    width, height = box[2] - box[0] + more, box[3] - box[1] + more
    x, y = box[0] + width / 2 + offset[0] * width, box[1] + height / 2 + offset[1] * height
    w, h = width * np.exp(offset[2]) / 2, height * np.exp(offset[3]) / 2
    return np.array([x - w, y - h, x + w, y + h])


def overlap(a, b):
    def area(box):
        return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)

    both = area([*np.maximum(a[:2], b[:2]), *np.minimum(a[2:], b[2:])])
    return both / (area(a) + area(b) - both)


def suppressed(pairs, thresh):
    """Of (score, box) those that no better one overlaps by more than `thresh`."""
    kept = []
    for score, box in sorted(pairs, key=lambda pair: -pair[0]):
        if all(overlap(box, other) <= thresh for _, other in kept):
            kept.append((score, box))
    return kept


def regions(module, maps, image, info, limits):
    height, width = info
    found = []
    for level, planes in enumerate(maps):
        side, stride = module.anchorSizes[level], module.anchorStride[level]
        conv, classes, boxes = module.head[0], module.head[2][0], module.head[2][1]
        hidden = np.maximum(convolved(planes[image : image + 1], conv), 0)
        scores, offsets = convolved(hidden, classes)[0], convolved(hidden, boxes)[0]
        anchors = nn.Anchor(module.aspectRatios, [side / stride]).basic(stride)
        pairs = []
        for i, j in itertools.product(range(planes.shape[2]), range(planes.shape[3])):
            for a, anchor in enumerate(anchors):
                box = moved(
                    anchor + np.array([j, i, j, i]) * stride, offsets[4 * a : 4 * a + 4, i, j], 0
                )
                box = np.clip(box, 0, [width - 1, height - 1] * 2)
                pairs.append((scores[a, i, j], box))
        best = sorted(pairs, key=lambda pair: -pair[0])[: limits[0]]
        large = [(s, b) for s, b in best if min(b[2] - b[0] + 1, b[3] - b[1] + 1) >= module.minSize]
        found += suppressed(large, module.nmsThread)
    return [box for _, box in sorted(found, key=lambda pair: -pair[0])[: limits[1]]]


@pytest.mark.parametrize("training", [True, False])
def test_regions_of_a_pyramid_are_moved_anchors_without_overlaps(training):
    module = fill(nn.RegionProposal(3, [16, 32], [0.5, 1, 2], [4, 8], 20, 9, 15, 7, 0.5, 10))
    module.train = training
    maps = [draws(2, 3, 4, 5), draws(2, 3, 2, 3)]
    found = module.forward([maps, np.array([[40.0, 50.0]])])
    assert len(found) == 2
    for n, boxes in enumerate(found):
        expected = regions(module, maps, n, (40, 50), (15, 7) if training else (20, 9))
        assert len(expected) > 3
        np.testing.assert_allclose(boxes.numpy(), expected, rtol=1e-4, atol=1e-3)


def test_the_head_of_a_region_network_can_be_trained():
    module = nn.RegionProposal(3, [16], [1.0], [4])
    scores, offsets = module.head.forward(draws(2, 3, 4, 5))
    assert scores.shape == (2, 1, 4, 5)
    assert offsets.shape == (2, 4, 4, 5)
    assert 0.005 < module.head[0].weight.numpy().std() < 0.015
    with pytest.raises(ValueError, match="one of each for a level"):
        nn.RegionProposal(3, [16], [1.0], [4, 8])
    with pytest.raises(nn.ShapeError, match="2 maps and 2 sizes"):
        module.forward([[draws(1, 3, 4, 4)] * 2, np.array([9, 9])])
    with pytest.raises(ValueError, match="RegionProposal: 16 of 16 scores are NaN"):
        module.forward([[np.full((1, 3, 4, 4), np.nan)], np.array([9.0, 9])])


# Heads --------------------------------------------------------------------------------------------


def detected(shares, boxes_of, thresh, least, most):
    """Rows (class, probability, box), by class; boxes_of(class) has a box for each region."""
    found = []
    for label in range(1, shares.shape[1]):
        pairs = [
            (p, box) for p, box in zip(shares[:, label], boxes_of(label), strict=True) if p > least
        ]
        found += [(label, p, *box) for p, box in suppressed(pairs, thresh)]
    if most and len(found) > most:
        best = sorted(found, key=lambda row: -row[1])[:most]
        found = sorted(best, key=lambda row: (row[0], -row[1]))
    return np.array(found)


def head():
    module = fill(nn.BoxHead(2, 3, SCALES[:2], 2, 0.2, 0.4, 5, 4, 4))
    module.bboxPredictor.weight.numpy()[...] *= 2
    maps = [draws(2, 2, 16, 16), draws(2, 2, 8, 8)]
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 40, (2, 6, 2))
    rois = list(np.concatenate([corner, corner + rng.uniform(5, 20, (2, 6, 2))], axis=2))
    rois[1] = rois[1][:4]
    return module, maps, rois


def test_classes_and_boxes_of_regions():
    module, maps, rois = head()
    pooled = nn.Pooler(3, SCALES[:2], 2).forward([maps, rois]).numpy().reshape(10, -1)
    first, second = module.featureExtractor[2], module.featureExtractor[4]
    for layer in (first, second):
        pooled = np.maximum(pooled @ values(layer.weight).T + values(layer.bias), 0)
    scores, offsets = (
        pooled @ values(layer.weight).T + values(layer.bias)
        for layer in (module.clsPredictor, module.bboxPredictor)
    )
    info = np.array([60.0, 50.0])
    features, found = module.forward([maps, rois, info])
    np.testing.assert_allclose(features.numpy(), pooled, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0].numpy(), scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1].numpy(), offsets, rtol=1e-4, atol=1e-5)
    assert [r.numpy().tolist() for r in found[2]] == [r.tolist() for r in rois]
    assert found[3].numpy().tolist() == info.tolist()

    _, (labels, boxes, probabilities) = module.evaluate().forward([maps, rois, info])
    rows = []
    for n, part in enumerate((slice(0, 6), slice(6, 10))):

        def boxes_of(label, n=n, part=part):
            own = offsets[part, 4 * label : 4 * label + 4] * [0.1, 0.1, 0.2, 0.2]
            ends = [
                moved(roi, offset, 1) - [0, 0, 1, 1]
                for roi, offset in zip(rois[n], own, strict=True)
            ]
            return np.clip(ends, 0, [49, 59, 49, 59])

        rows.append(detected(special.softmax(scores[part], 1), boxes_of, 0.4, 0.2, 5))
        np.testing.assert_allclose(boxes[n].numpy(), rows[n][:, 2:], rtol=1e-4, atol=1e-3)
    assert len(rows[0]) == 5  # of more
    rows = np.concatenate(rows)
    assert labels.numpy().tolist() == rows[:, 0].tolist()
    np.testing.assert_allclose(probabilities.numpy(), rows[:, 1], rtol=1e-4)


def test_features_of_regions_learn_while_detections_do_not():
    module, maps, rois = head()
    x = [maps, rois, np.array([60.0, 50.0])]
    features, (labels, boxes, _) = module.evaluate().forward(x)
    module.zeroGradParameters()
    ones = [np.ones(labels.shape), [np.ones(b.shape) for b in boxes], np.ones(labels.shape)]
    module.backward(x, [np.zeros(features.shape), ones])
    assert not any(g.numpy().any() for g in module.parameters()[1])
    module.backward(x, [np.ones(features.shape), ones])
    assert module.featureExtractor[2].gradWeight.numpy().any()


def test_no_region_and_no_detection():
    module, maps, rois = head()
    module.evaluate().scoreThresh = 1.0
    _, (labels, boxes, probabilities) = module.forward([maps, rois, np.array([60, 50])])
    assert labels.shape == probabilities.shape == (0,)
    assert [b.shape for b in boxes] == [(0, 4), (0, 4)]
    with pytest.raises(ValueError, match="BoxHead: 24 of 24 scores are NaN"):
        module.forward([[maps[0] * np.nan, maps[1]], rois, np.array([60, 50])])


def test_the_mask_of_a_region_is_that_of_its_label():
    module = fill(nn.MaskHead(2, 3, SCALES[:2], 2, [4, 3], numClasses=5))
    assert module.apply("mask_fcn2") is module.featureExtractor[3]
    _, maps, rois = head()
    labels = np.array([0, 4, 2, 1, 3, 0, 4, 4, 1, 2])
    features, masks = module.forward([maps, rois, labels])
    x = nn.Pooler(3, SCALES[:2], 2).forward([maps, rois]).numpy()
    for k in (1, 3):
        x = np.maximum(convolved(x, module.featureExtractor[k]), 0)
    np.testing.assert_allclose(features.numpy(), x, rtol=1e-4, atol=1e-5)
    doubling, _, last = module.predictor
    weight = values(doubling.weight)
    # each entry becomes a square of 2 x 2, and squares do not meet
    y = np.einsum("ncij,cdab->ndiajb", x, weight).reshape(10, 3, 6, 6)
    y = convolved(np.maximum(y + values(doubling.bias)[:, None, None], 0), last)
    expected = special.expit(y)[np.arange(10), labels][:, None]
    np.testing.assert_allclose(masks.numpy(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(nn.ShapeError):
        module.forward([maps, rois, labels + 1])  # there is no class 5
    with pytest.raises(nn.ShapeError, match="one for each of 10 regions"):
        module.forward([maps, rois, labels[:3]])
    assert nn.MaskHead(2, layers=[3], useGn=True).featureExtractor[1].bias is None
    with pytest.raises(ValueError, match="dilation is 2"):
        nn.MaskHead(2, dilation=2)


def frcnn():
    rng = np.random.default_rng(5)
    corner = np.repeat(rng.uniform(0, 60, (4, 2)), 3, axis=0) + rng.uniform(0, 9, (12, 2))
    rois = np.concatenate([np.zeros((12, 1)), corner, corner + rng.uniform(30, 60, (12, 2))], 1)
    info = np.array([[80.0, 100.0, 2.0, 4.0]])
    shares = special.softmax(rng.normal(size=(12, 3)), 1)
    return [info, rois, 0.1 * rng.normal(size=(12, 12)), shares]


@pytest.mark.parametrize("most", [0, 4])
@pytest.mark.parametrize("vote", [False, True])
def test_detections_of_faster_rcnn(most, vote):
    info, rois, offsets, shares = x = frcnn()
    module = nn.DetectionOutputFrcnn(0.3, 3, vote, most, 0.2)
    assert all(np.array_equal(y.numpy(), own) for y, own in zip(module.forward(x), x, strict=True))

    def boxes_of(label):
        scaled = rois[:, 1:] / [4, 2, 4, 2]
        ends = [
            moved(roi, offset, 1)
            for roi, offset in zip(scaled, offsets[:, 4 * label : 4 * label + 4], strict=True)
        ]
        return np.clip(ends, 0, [24, 39, 24, 39])

    rows = detected(shares, boxes_of, 0.3, 0.2, most)
    if vote:
        for row in rows:
            boxes, found = boxes_of(int(row[0])), shares[:, int(row[0])]
            near = [k for k in range(12) if found[k] > 0.2 and overlap(row[2:], boxes[k]) >= 0.5]
            row[2:] = np.average(boxes[near], axis=0, weights=found[near])
    found = module.evaluate().forward(x).numpy()
    assert found.shape == (1, 1 + 6 * len(rows))
    assert len(rows) == most or (not most and len(rows) > 4)
    np.testing.assert_allclose(found[0, 1:].reshape(-1, 6), rows, rtol=1e-6, atol=1e-6)
    assert found[0, 0] == len(rows)
    in_a_table = module.forward([info, [rois, shares], offsets, shares]).numpy()
    assert np.array_equal(in_a_table, found)


def test_detections_of_faster_rcnn_refuse_what_does_not_fit():
    info, rois, offsets, shares = frcnn()
    module = nn.DetectionOutputFrcnn(nClasses=3).evaluate()
    for wrong in (
        [info[:, :3], rois, offsets, shares],
        [info, rois[:, 1:], offsets, shares],
        [info, rois, offsets[:, 1:], shares],
        [info, rois, offsets, shares[1:]],
    ):
        with pytest.raises(nn.ShapeError, match="are not \\(1, 4\\), \\(R, 5\\)"):
            module.forward(wrong)
    shares[0, 1] = np.nan
    with pytest.raises(ValueError, match="DetectionOutputFrcnn: 1 of 36 scores are NaN"):
        module.forward([info, rois, offsets, shares])


# Beams --------------------------------------------------------------------------------------------

WORDS, LONGEST, END, START = 4, 5, 1, 0
AFTER = 2 * np.random.default_rng(8).normal(size=(WORDS, WORDS))


def scores_of_next(words, encoded):
    """Scores of the next word, of the words so far (numbers) and a sample's numbers."""
    return AFTER[words[-1]] + np.sin(len(words) * encoded)


def next_word(words, i, most, encoded, bias, cache):
    assert words.shape == (len(encoded), i + 1)
    assert most == LONGEST
    rows = zip(words.numpy(), encoded.numpy(), strict=True)
    return nn.Parameter(np.array([scores_of_next(*row) for row in rows])), cache


def all_sequences(encoded):
    """(words, logarithm of the probability) of each sequence that ends in time."""
    living, ended = [((START,), 0.0)], []
    for _ in range(LONGEST):
        grown = []
        for words, chance in living:
            shares = special.log_softmax(scores_of_next(words, encoded))
            for word in range(WORDS):
                (ended if word == END else grown).append(((*words, word), chance + shares[word]))
        living = grown
    return ended, living


def score(words, chance, alpha):
    return chance / ((5 + len(words) - 1) / 6) ** alpha


@pytest.mark.parametrize("alpha", [0, 0.6, 2.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(alpha):
    """As wide as there are sequences: nothing is lost on the way."""
    x = draws(3, WORDS)
    module = nn.SequenceBeamSearch(WORDS, 300, alpha, LONGEST, END, START).setLogitFn(next_word)
    words, scores = (y.numpy() for y in module.forward([x, x]))
    assert words.shape == (3, 300, LONGEST + 1)
    for n in range(3):
        ended, _ = all_sequences(x[n])
        ranked = sorted(ended, key=lambda pair: -score(*pair, alpha))
        expected = [(*w, *[START] * (LONGEST + 1 - len(w))) for w, _ in ranked[:20]]
        assert [tuple(w) for w in words[n, :20].tolist()] == expected
        np.testing.assert_allclose(
            scores[n, :20], [score(*pair, alpha) for pair in ranked[:20]], rtol=1e-5
        )


def narrow(encoded, beams, alpha):
    """A search with few beams, in lists."""
    living, ended = [((START,), 0.0)], []
    for _ in range(LONGEST):
        grown = []
        for words, chance in living:
            shares = special.log_softmax(scores_of_next(words, encoded))
            grown += [((*words, word), chance + shares[word]) for word in range(WORDS)]
        best = sorted(grown, key=lambda pair: -pair[1])[: 2 * beams]
        ended += [
            (words, score(words, chance, alpha)) for words, chance in best if words[-1] == END
        ]
        ended = sorted(ended, key=lambda pair: -pair[1])[:beams]
        living = [pair for pair in best if pair[0][-1] != END][:beams]
    return ended


@pytest.mark.parametrize("beams", [1, 2, 3])
def test_a_narrow_beam_follows_the_best(beams):
    x = draws(5, WORDS, seed=4)
    module = nn.SequenceBeamSearch(WORDS, beams, 0.6, LONGEST, END, START).setLogitFn(next_word)
    words, scores = (y.numpy() for y in module.forward([x, x]))
    for n in range(5):
        expected = narrow(x[n], beams, 0.6)
        for k, (own, wanted) in enumerate(expected):
            assert words[n, k].tolist() == [*own, *[START] * (LONGEST + 1 - len(own))]
            assert scores[n, k] == pytest.approx(wanted, rel=1e-5)


def test_without_an_end_the_living_sequences_are_the_result():
    def never(words, i, most, encoded, bias, cache):
        logits, cache = next_word(words, i, most, encoded, bias, cache)
        return logits - 1e9 * np.eye(WORDS)[END], cache

    x = draws(2, WORDS)
    module = nn.SequenceBeamSearch(WORDS, 300, 1.0, LONGEST, END, START).setLogitFn(never)
    words, scores = (y.numpy() for y in module.forward([x, x]))
    assert not (words == END).any()
    assert not (np.diff(scores[:, :243]) > 0).any()
    np.testing.assert_allclose(np.exp(scores[:, :243]).sum(axis=1), 1, rtol=1e-4)


def test_the_cache_follows_its_sequences():
    """A function that knows the words from its cache alone is the same function."""

    def remembered(words, i, most, encoded, bias, cache):
        assert set(cache) == {"layer_1_k", "layer_1_v", "layer_2_k", "layer_2_v"}
        assert cache["layer_2_v"].shape == (len(words), i, 1)
        last = np.reshape(words[:, -1:], (-1, 1, 1)) * 1.0
        cache = {name: np.concatenate([part, last], axis=1) for name, part in cache.items()}
        known = cache["layer_1_k"][:, :, 0]
        assert np.array_equal(known.numpy(), words.numpy())
        return next_word(words, i, most, encoded, bias, cache)

    x = draws(3, WORDS, seed=2)
    plain = nn.SequenceBeamSearch(WORDS, 3, 0.6, LONGEST, END, START).setLogitFn(next_word)
    module = nn.SequenceBeamSearch(WORDS, 3, 0.6, LONGEST, END, START, 2, 1)
    found = module.setLogitFn(remembered).forward([x, x])
    for a, b in zip(found, plain.forward([x, x]), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


def test_a_transformer_translates_word_by_word():
    model = nn.Transformer(
        7, 4, 2, 8, 1, withShareWeightsLinear=True, transformerType="Translation"
    ).evaluate()
    fill(model)
    source = np.array([[2, 3, 5], [6, 2, 4]])

    def next_word_of_model(words, i, most, encoded, bias, cache):
        behind = np.zeros((len(words), 1), int)  # is not looked at: the next word stands there
        target = np.concatenate([words.numpy()[:, 1:], behind], axis=1)
        return model([encoded, target])[:, -1], cache

    search = nn.SequenceBeamSearch(7, 50, 0.0, 3, 1, 0).setLogitFn(next_word_of_model)
    words, scores = (y.numpy() for y in search.forward([source, source]))
    others = [word for word in range(7) if word != 1]
    for n in range(2):
        chances = {}
        for length in range(3):
            for begin in itertools.product(others, repeat=length):
                target = np.array([[*begin, 1]])
                shares = special.log_softmax(model([source[n : n + 1], target]).numpy()[0], 1)
                chances[0, *begin, 1] = sum(shares[t, word] for t, word in enumerate(target[0]))
        best = max(chances, key=chances.get)
        assert tuple(words[n, 0, : len(best)].tolist()) == best
        assert scores[n, 0] == pytest.approx(chances[best], rel=1e-4)


def test_a_search_ends_when_nothing_better_can_come():
    calls = []

    def at_once(words, i, most, encoded, bias, cache):
        calls.append(i)
        return nn.Parameter(np.tile(np.where(np.arange(WORDS) == END, 9.0, 0), (len(words), 1))), {}

    module = nn.SequenceBeamSearch(WORDS, 1, 0.6, LONGEST, END, START).setLogitFn(at_once)
    words, _ = module.forward([draws(2, 3), draws(2, 3)])
    assert calls == [0]
    assert words.numpy().tolist() == [[[START, END, *[START] * 4]]] * 2


def test_a_search_that_cannot_choose_is_refused():
    with pytest.raises(ValueError, match="at least 2, 1, 1 and 0"):
        nn.SequenceBeamSearch(1, 1, 0, 1, 0, 0)
    module = nn.SequenceBeamSearch(WORDS, 2, 0, 3, END, START)
    x = [draws(2, 3), draws(2, 3)]
    with pytest.raises(ValueError, match="call setLogitFn first"):
        module.forward(x)
    with pytest.raises(TypeError, match="is no function"):
        module.setLogitFn("next")
    with pytest.raises(nn.ShapeError, match=r"shape \(2, 4\), not \(4, 4\)"):
        module.setLogitFn(lambda *given: (np.zeros((2, 4)), {})).forward(x)
    with pytest.raises(ValueError, match="scores of the next word are NaN"):
        module.setLogitFn(lambda *given: (nn.Parameter(np.full((4, 4), np.nan)), {})).forward(x)
    with pytest.raises(nn.ShapeError, match="other samples"):
        module.forward([x[0], x[1][:1]])
