"""Models of int8 weights: near the model that they were made of, small in files, without gradients.

What BigDL's own quantized models gave for some inputs stands in recordings, which another directory
of the same layout can take the place of (TAPEGRAD_BIGDL_RECORDINGS).
"""

import copy

import numpy as np
import pytest
from bigdl_recordings import DIRECTORY, require, require_cases

from tapegrad import Tensor, grad, manual_seed, nn, no_grad, replay, vmap
from tapegrad.autograd import ops
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.services import service
from tapegrad.nn.quantized.int8 import Int8
from tapegrad.nn.quantized.quantizing import _kinds

RNG = np.random.default_rng(0)
manual_seed(0)  # or the layers below depend on which files were imported before this one


def floats(*shape):
    return Tensor(RNG.normal(size=shape).astype(np.float32))


INDICES = Tensor(np.array([[1, 2], [3, 0], [4, 4]]))
SPARSE = [Tensor(np.array(part)) for part in ([[0, 0], [0, 1], [1, 0]], [1, 4, 3], [2, 2])]
IMAGES = floats(2, 4, 6, 6)
FILMS = floats(2, 2, 4, 4, 4)
# Each layer that has a quantized one, and an input; more where options make another path.
LAYERS = [
    (nn.Linear(5, 7), floats(3, 5)),
    (nn.Linear(5, 7, bias=False), floats(5)),
    (nn.Linear(1500, 70), floats(2, 1500)),
    (nn.SpatialConvolution(4, 3, 3, 3, 1, 1, 1, 1), IMAGES),
    (nn.SpatialConvolution(4, 3, 3, 3).noBias(), floats(4, 6, 6)),
    (nn.SpatialConvolutionMM(4, 3, 3, 3), IMAGES),
    (nn.SpatialDilatedConvolution(4, 3, 2, 2, 1, 1, 0, 0, 2, 2), IMAGES),
    (nn.SpatialDepthWiseConvolution(4, 2, 3, 3), IMAGES),
    (nn.SpatialFullConvolution(4, 3, 3, 3), IMAGES),
    (nn.VolumetricConvolution(2, 3, 2, 2, 2), FILMS),
    (nn.VolumetricDilatedConvolution(2, 3, 2, 2, 2), FILMS),
    (nn.VolumetricFullConvolution(2, 3, 2, 2, 2), FILMS),
    (nn.Conv1d(4, 6, 3, groups=2), floats(2, 4, 8)),
    (nn.Conv2d(4, 6, 3), IMAGES),
    (nn.Conv3d(2, 3, 2), FILMS),
    (nn.SpatialConvolution(4, 6, 3, 3, nGroup=2), IMAGES),
    (nn.SpatialConvolution(6, 3, 3, 3, format="NHWC"), IMAGES),
    (nn.SpatialShareConvolution(4, 3, 3, 3), IMAGES),
    (nn.SpatialSeparableConvolution(4, 3, 2, 3, 3), IMAGES),
    (nn.SpatialConvolutionLocal(4, 3, 6, 6, 3, 3), IMAGES),
    (nn.LocallyConnected2D(4, 6, 6, 3, 3, 3), IMAGES),
    (nn.LocallyConnected1D(7, 3, 5, 2), floats(2, 7, 3)),
    (nn.SpatialConvolutionMap(nn.tables.oneToOne(4), 3, 3), IMAGES),
    (nn.SpatialFullConvolutionMap(nn.tables.full(4, 3), 3, 3), floats(4, 6, 6)),
    (nn.TemporalConvolution(3, 5, 2), floats(2, 7, 3)),
    (nn.TemporalRowConvolution(3, 2), floats(2, 7, 3)),
    (nn.LookupTable(5, 4), INDICES),
    (nn.LookupTable(5, 4, maxNorm=1.0), INDICES),
    (nn.EmbeddingBag(5, 4), INDICES),
    (nn.LookupTableSparse(5, 4, maxNorm=1.0), SPARSE),
    (nn.Embedding(5, 4, padding_idx=0), INDICES),
    (nn.StepLSTM(3, 4, 5), [floats(2, 3), floats(2, 5), floats(2, 4)]),
    (nn.StepGRU(3, 4), [floats(2, 3), floats(2, 4)]),
    (nn.SeqLSTM(3, 4), floats(6, 2, 3)),
    (nn.SeqLSTM(3, 4, 2), [floats(6, 2, 3), [floats(2, 2), floats(2, 4)]]),
    (nn.SeqGRU(3, 4), floats(6, 2, 3)),
    (nn.RNNLayer("lstm", 3, 4, 2, bidirectional=True), floats(6, 2, 3)),
    (nn.RNNLayer("gru", 3, 4, bias=False), [floats(6, 2, 3), None]),
    (nn.Sequencer(nn.LookupRNN(5, 4)), INDICES),
]
# Layers that become int8 by the Linears in them, and others around quantized ones.
AROUND = [
    (nn.Sequencer(nn.LSTM(3, 4)), floats(6, 2, 3)),
    (nn.Sequencer(nn.FastLSTM(3, 4)), floats(6, 2, 3)),
    (nn.Sequencer(nn.GRU(3, 4)), floats(6, 2, 3)),
    (nn.SeqBLSTM(3, 4), floats(6, 2, 3)),
    (nn.Recurrent().add(nn.RnnCell(3, 4)), floats(2, 6, 3)),
    (nn.Recurrent().add(nn.LSTMCell(3, 4)), floats(2, 6, 3)),
    (nn.Recurrent().add(nn.LSTMCell(3, 4, p=0.5)), floats(2, 6, 3)),
    (nn.Recurrent().add(nn.LSTMPeephole(3, 4)), floats(2, 6, 3)),
    (nn.BiRecurrent().add(nn.GRUCell(3, 4)), floats(2, 6, 3)),
    (nn.RecurrentDecoder(3).add(nn.MultiRNNCell([nn.RnnCell(4, 4)])), floats(2, 4)),
    (nn.Recurrent().add(nn.ConvLSTMPeephole(4, 3, 3, 3)), floats(2, 2, 4, 6, 6)),
    (nn.Recurrent().add(nn.ConvLSTMPeephole3D(2, 3, 1, 3)), floats(2, 2, 2, 4, 4, 4)),
    (nn.TimeDistributed(nn.Linear(3, 4)), floats(2, 6, 3)),
    (nn.Highway(5), floats(3, 5)),
    (nn.ConcatTable().add(nn.Linear(5, 2)).add(nn.Identity()), floats(3, 5)),
]


def arrays(nest):
    return [leaf.numpy() for leaf in leaves(nest) if isinstance(leaf, Tensor)]


def name_of(layer):
    return repr(layer).split("\n")[0][:40]


def error_of(found, expected):
    """The largest difference, of the largest entry."""
    pairs = list(zip(arrays(found), arrays(expected), strict=True))
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)


@pytest.mark.parametrize(
    ("layer", "x"), LAYERS + AROUND, ids=[name_of(layer) for layer, _ in LAYERS + AROUND]
)
def test_a_quantized_layer_is_near_the_layer_and_its_file_gives_the_same_bits(layer, x, tmp_path):
    before = {k: v.copy() for k, v in layer.state_dict().items()}
    quantized = nn.quantize(layer.evaluate())
    assert all((v == before[k]).all() for k, v in layer.state_dict().items())
    expected, found = layer(x), quantized(x)
    assert 0 < error_of(found, expected) < 2e-2
    assert not any(part.train for part in quantized.listModules())
    quantized.save(tmp_path / "model")
    for other in (nn.load(tmp_path / "model"), copy.deepcopy(quantized)):
        assert all((a == b).all() for a, b in zip(arrays(other(x)), arrays(found), strict=True))
        assert repr(other) == repr(quantized)


def test_bigdls_methods_are_there_and_a_graph_is_made_of_them():
    kept = {name for name in dir(nn.Module) if not name.startswith("_")}
    for kind, _ in ((cls, replaced) for replaced, cls in _kinds(Int8)):
        hidden = {
            n for n in kept if callable(getattr(nn.Module, n)) and not callable(getattr(kind, n))
        }
        assert not hidden, kind
    model, x = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).evaluate(), floats(3, 5)
    quantized = model.quantize()
    assert (quantized.toGraph()(x).numpy() == quantized(x).numpy()).all()
    assert quantized.modules[0].getName().startswith("Linear@")
    assert quantized.modules[0].toString().startswith("quantized.Linear[")
    assert quantized.setName("q").apply("q") is quantized


def test_files_of_weights_hold_those_of_8_bits(tmp_path):
    layer, x = nn.Linear(5, 4).setName("a"), floats(3, 5)
    source, other = layer.quantize(), nn.Linear(5, 4).setName("a").quantize()
    source.saveWeights(tmp_path / "weights")
    assert (other(x).numpy() != source(x).numpy()).any()
    assert (other.loadWeights(tmp_path / "weights")(x).numpy() == source(x).numpy()).all()


def test_every_quantized_class_is_tried():
    tried = {type(part) for layer, _ in LAYERS for part in layer.listModules()}
    assert {cls for cls, _ in _kinds(Int8)} <= tried


def test_a_quantized_model_is_another_model_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.LookupRNN(4, 3))
    quantized = nn.quantize(model)
    assert not any(part.train for part in quantized.listModules())
    assert all(part.train for part in model.listModules())
    assert not any(isinstance(part, Int8) for part in model.listModules())
    # what stands inside a quantized layer is quantized too
    left = [part for part in quantized.listModules() if type(part) is nn.Linear]
    assert not left


def test_weights_are_rounded_by_row():
    layer = nn.Linear(3, 3)
    with no_grad():
        ops.assign(layer.weight, np.array([[1, -2, 0.5], [0, 0, 0], [1e-3, 3e-3, -3e-3]]))
    quantized = nn.quantize(layer)
    expected = [[round(127 / 2), -127, round(127 / 4)], [0, 0, 0], [round(127 / 3), 127, -127]]
    assert quantized.int8["weight"].numpy().tolist() == expected
    assert np.allclose(quantized.scales["weight"].numpy()[:, 0], [2 / 127, 1, 3e-3 / 127])
    assert not list(quantized.named_parameters())


def test_a_row_does_not_depend_on_its_batch():
    model = nn.Sequential().add(nn.Linear(40, 30)).add(nn.Tanh()).add(nn.Linear(30, 4))
    quantized, x = nn.quantize(model), floats(64, 40)
    whole = quantized(x).numpy()
    for size in (1, 2, 7):
        cut = [quantized(Tensor(x.numpy()[i : i + size])).numpy() for i in range(0, 64, size)]
        assert (np.concatenate(cut) == whole).all()
    assert (vmap(quantized)(x).numpy() == whole).all()


@pytest.mark.parametrize("calibrate", [None, [floats(9, 40)]])
def test_a_recorded_step_repeats_it(calibrate):
    model = nn.Sequential().add(nn.Linear(40, 30)).add(nn.ReLU()).add(nn.Linear(30, 4))
    quantized = nn.quantize(model, calibrate)
    recorded = replay(quantized)
    for _ in range(4):
        x = floats(5, 40)
        assert (recorded(x).numpy() == quantized(x).numpy()).all()


def test_scales_are_observed():
    layer, x = nn.Linear(3, 2), floats(50, 3)
    quantized = nn.quantize(layer, calibrate=[Tensor(x.numpy()[:10]), x])
    assert float(quantized.observed) == np.abs(x.numpy()).max()
    assert error_of(quantized(x), layer(x)) < 2e-2
    beyond = Tensor(np.full((1, 3), 1e3, np.float32))  # limited to what was observed
    most = Tensor(np.full((1, 3), float(quantized.observed), np.float32))
    assert (quantized(beyond).numpy() == quantized(most).numpy()).all()
    assert nn.quantize(layer).observed is None
    table = nn.Sequential().add(nn.LookupTable(5, 4)).add(nn.Linear(4, 2))
    assert nn.quantize(table, calibrate=[INDICES]).modules[0].observed is None


@pytest.mark.parametrize("calibrate", [None, [floats(9, 8)]])
def test_a_nan_is_not_rounded_to_a_number(calibrate):
    quantized = nn.quantize(nn.Linear(8, 3), calibrate)
    x = floats(4, 8)
    expected = quantized(x).numpy()
    x.numpy()[2, 5] = np.nan
    found = quantized(x).numpy()
    assert np.isnan(found[2]).all()
    assert (found[[0, 1, 3]] == expected[[0, 1, 3]]).all()
    images = floats(2, 1, 5, 5)
    images.numpy()[1, 0, 4, 4] = np.nan
    found = nn.quantize(nn.SpatialConvolution(1, 2, 2, 2))(images).numpy()
    assert np.isnan(found[1]).all()  # one scale for the sample
    assert np.isfinite(found[0]).all()
    x.numpy()[2, 5] = np.inf
    assert np.isfinite(quantized(x).numpy()[2]).all() == (calibrate is not None)


def test_zeros_and_shared_layers():
    layer = nn.Linear(3, 3)
    assert np.allclose(nn.quantize(layer)(Tensor(np.zeros((1, 3), np.float32))).numpy(),
                       layer.bias.numpy())  # fmt: skip
    quantized = nn.quantize(nn.Sequential().add(layer).add(layer))
    assert quantized.modules[0] is quantized.modules[1]
    start = nn.node(nn.Identity())
    hidden = layer(start)
    graph = nn.quantize(nn.gModule([start], [nn.CAddTable()([hidden, layer(hidden)])]))
    assert sum(isinstance(part, Int8) for part in graph.listModules()) == 1


def test_there_is_no_gradient_and_the_error_says_so():
    model = nn.Sequential().add(nn.Linear(3, 3)).add(nn.Tanh())
    quantized, x = nn.quantize(model), floats(2, 3)
    quantized.forward(x)
    for attempt in (
        lambda: quantized.backward(x, floats(2, 3)),
        lambda: grad(lambda x: quantized(x).sum())(x),
        quantized.modules[0].reset,
    ):
        with pytest.raises(NotImplementedError, match=r"quantized\.Linear has int8 weights"):
            attempt()


def test_quantize_refuses():
    with pytest.raises(TypeError, match="not int"):
        nn.quantize(3)
    with pytest.raises(ValueError, match="no layer that can be quantized"):
        nn.quantize(nn.Tanh())
    broken = nn.Linear(2, 2)
    with no_grad():
        ops.assign(broken.weight, np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        nn.quantize(broken)
    with pytest.raises(nn.ShapeError, match="inputSize is 3"):
        nn.quantize(nn.Linear(3, 3))(floats(2, 4))
    assert service("quantize") is nn.quantize


def test_a_users_subclass_stays_as_it_is():
    class Doubled(nn.Linear):
        def updateOutput(self, x):
            return 2 * super().updateOutput(x)

    quantized = nn.quantize(nn.Sequential().add(Doubled(3, 3)).add(nn.Linear(3, 2)))
    assert type(quantized.modules[0]) is Doubled


@pytest.mark.parametrize("rows", [1, 4, 5])
@pytest.mark.parametrize("k", [3, 1040, 2500])
def test_the_product_of_integers_is_exact(rows, k):
    x, w = (RNG.choice([127, 127, 126, -1], (n, k)).astype(np.int8) for n in (rows, 50))
    exact = x.astype(np.int64) @ w.T.astype(np.int64)
    for product in (ops.int8_product, ops.int8_product.primitive.body):
        given = (x, w) if product is ops.int8_product else (np, x, w)
        assert (np.asarray(product(*given)) == exact).all()
    with pytest.raises(nn.ShapeError, match="takes int8 arrays"):
        ops.int8_product(x.astype(np.int32), w)


# What BigDL's quantized models gave ---------------------------------------------------------------


def mlp(w):
    return nn.Sequential(
        nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), nn.LogSoftMax()
    ), [w[0], w[1], w[2], w[3]]  # fmt: skip


def mlp_without_bias(w):
    return nn.Sequential(
        nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftMax()
    ), [w[0], w[1], w[2]]  # fmt: skip


def lenet(w):
    return nn.Sequential(
        nn.Reshape(1, 28, 28), nn.SpatialConvolution(1, 6, 5, 5), nn.Tanh(),
        nn.SpatialMaxPooling(2, 2, 2, 2), nn.SpatialConvolution(6, 12, 5, 5), nn.Tanh(),
        nn.SpatialMaxPooling(2, 2, 2, 2), nn.Reshape(192), nn.Linear(192, 100), nn.Tanh(),
        nn.Linear(100, 10), nn.LogSoftMax(),
    ), [w[0][0], w[1], w[2][0], *w[3:]]  # fmt: skip


BUILT = {"mlp": mlp, "mlp_relu_nobias": mlp_without_bias, "lenet": lenet}
# tests/data/bigdl/ has no LeNet, which is large.
MODELS = [n for n in BUILT if n != "lenet" or (DIRECTORY / "models" / n / "data.npz").exists()]


def test_there_are_models():
    found = [n for n in BUILT if (DIRECTORY / "models" / n / "data.npz").exists()]
    require_cases(len(found), "models")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_as_near_as_bigdls_quantized_one(name):
    with np.load(require(f"models/{name}/data.npz")) as data:
        count = sum(key.startswith("before_w_") for key in data.files)
        weights = [data[f"before_w_{i:02}"] for i in range(count)]
        x, expected, theirs = (data[k] for k in ("input", "output_eval", "output_quant"))
    model, weights = BUILT[name](weights)
    with no_grad():
        for p, w in zip((p for _, p in model.named_parameters()), weights, strict=True):
            ops.assign(p, w)
    model.evaluate()
    assert np.abs(model(Tensor(x)).numpy() - expected).max() < 1e-5
    ours = nn.quantize(model)(Tensor(x)).numpy()
    allowed = max(np.abs(theirs - expected).max() * 1.5, 1e-2)
    assert np.abs(ours - expected).max() < allowed
