"""Caffe's files: what we write is run by OpenCV and read back; definitions, phases and names."""

import numpy as np
import pytest
from architectures import ARCHITECTURES
from caffe_models import DATA, drawn, filled, opencv, ours

from tapegrad import nn
from tapegrad.nn.formats import FormatError, Limits, UnsupportedError, caffe
from tapegrad.nn.formats.caffe import showing

cv2 = pytest.importorskip("cv2", reason="OpenCV judges Caffe's files: pip install opencv-python<5")
needs_caffe = pytest.mark.skipif(
    not hasattr(cv2.dnn, "readNetFromCaffe"), reason="OpenCV 5 has no reader of Caffe's files"
)

NOT_IN_V1 = {
    "resnet_block", "resnet_downsampling", "depthwise", "depthwise_strided", "prelu",
    "elu_and_leaky", "mobilenet_v2_block", "dense_block", "plain_batch_norm",
    "fully_connected_reshape",
}  # fmt: skip
V1_LACKS = "BatchNorm|PReLU|ELU|Reshape"  # layers that the first format has no number for


def saved(module, shape, folder, v2=True):
    files = folder / "net.prototxt", folder / "net.caffemodel"
    if shape is None:
        module = module.toGraph()
    module.saveCaffe(*files, v2, inputs=shape)
    return files


@needs_caffe
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_opencv_runs_what_is_written(name, tmp_path):
    module, shape = ARCHITECTURES[name]()
    files = saved(module, shape, tmp_path)
    x = drawn(shape)
    for mine, theirs in zip(ours(module, x), opencv(cv2, *files, x), strict=True):
        np.testing.assert_allclose(theirs.reshape(mine.shape), mine, rtol=1e-5, atol=1e-5)


@needs_caffe
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_opencv_runs_layers_of_the_first_format(name, tmp_path):
    module, shape = ARCHITECTURES[name]()
    if name in NOT_IN_V1:
        with pytest.raises(UnsupportedError, match=f"first format.*({V1_LACKS})"):
            saved(module, shape, tmp_path, v2=False)
        assert not list(tmp_path.iterdir())
        return
    files = saved(module, shape, tmp_path, v2=False)
    x = drawn(shape)
    for mine, theirs in zip(ours(module, x), opencv(cv2, *files, x), strict=True):
        np.testing.assert_allclose(theirs.reshape(mine.shape), mine, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_written_is_read_back_with_equal_bits(name, tmp_path):
    module, shape = ARCHITECTURES[name]()
    definition, model = saved(module, shape, tmp_path)
    x = drawn(shape)
    for again in (caffe.load_caffe_model(definition, model), nn.load(model)):
        for mine, theirs in zip(ours(module, x), ours(again, x), strict=True):
            assert np.array_equal(mine, theirs)
    assert "blobs" not in definition.read_text(encoding="utf-8")


def test_names_of_layers_are_kept(tmp_path):
    module = nn.Sequential(nn.Linear(3, 2).setName("fc1"), nn.Tanh().setName("act"))
    definition, model = saved(module, (1, 3), tmp_path)
    again = nn.Module.loadCaffeModel(definition, model)
    assert [each.getName() for each in again.modules] == ["fc1", "act"]


def test_save_writes_the_definition_beside_the_model(tmp_path):
    module = nn.Sequential(nn.Linear(3, 2), nn.LogSoftMax())
    nn.save(module, tmp_path / "m.caffemodel")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.caffemodel", "m.prototxt"]
    again = nn.load(tmp_path / "m.caffemodel")
    assert [type(each) for each in again.modules] == [nn.Linear, nn.LogSoftMax]
    x = drawn((4, 3))
    assert np.array_equal(ours(again, x)[0], ours(module, x)[0])


def test_batch_normalization_is_one_layer_here_and_two_there(tmp_path):
    module, shape = ARCHITECTURES["resnet_block"]()
    definition, model = saved(module, shape, tmp_path)
    text = definition.read_text(encoding="utf-8")
    assert text.count('type: "BatchNorm"') == text.count('type: "Scale"') == 3
    again = caffe.load_caffe_model(definition, model)
    found = [m for m in again.listModules() if isinstance(m, nn.SpatialBatchNormalization)]
    assert len(found) == 3
    assert not [m for m in again.listModules() if isinstance(m, nn.Scale)]


def test_a_model_in_double_precision_keeps_all_its_bits(tmp_path):
    module = nn.Sequential(nn.SpatialConvolution(2, 3, 3, 3), nn.SpatialBatchNormalization(3),
                           nn.SpatialCrossMapLRN(3, 1e-4, 0.75), nn.ELU(0.3)).double()  # fmt: skip
    files = saved(module.evaluate(), (1, 2, 6, 6), tmp_path)
    again = caffe.load_caffe_model(*files)
    x = np.random.default_rng(0).normal(size=(1, 2, 6, 6))
    assert ours(again, x)[0].dtype == np.float64
    assert np.array_equal(ours(again, x)[0], ours(module, x)[0])


def test_three_thousand_layers_take_no_recursion_and_little_time():
    lines = ['input: "b0" input_shape { dim: 1 dim: 2 }']
    lines += [
        f'layer {{ name: "l{i}" type: "ReLU" bottom: "b{i}" top: "b{i + 1}" }}' for i in range(3000)
    ]
    module = caffe.load("\n".join(lines).encode())
    assert len(module.modules) == 3000


def test_large_arrays_are_copied_piece_by_piece(tmp_path):
    module = nn.Sequential(nn.Linear(1203, 1207), nn.Linear(1207, 2))
    definition, model = saved(module, (1, 1203), tmp_path)
    again = caffe.load_caffe_model(definition, model)
    assert module[0].weight.nbytes > 1 << 22
    assert np.array_equal(again[0].weight.numpy(), module[0].weight.numpy())
    model.unlink()  # a module does not need its file
    again[0].weight.numpy()[...] = 0


def test_a_batch_normalization_that_others_read_too_stays_alone(tmp_path):
    text = """input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 }
    layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
    layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
    layer { name: "sum" type: "Eltwise" bottom: "bn" bottom: "scale" top: "sum" }"""
    definition = tmp_path / "net.prototxt"
    definition.write_text(text, encoding="utf-8")
    module = caffe.load_caffe_model(definition, filled(definition, tmp_path))
    bn, scale = (module.apply(name) for name in ("bn", "scale"))
    x = drawn((2, 3, 4, 4))
    normal = ours(bn, x)[0]
    assert bn.weight is None
    assert np.array_equal(ours(module, x)[0], normal + ours(scale, normal)[0])


def test_a_shared_layer_is_shared_again(tmp_path):
    layer = nn.Linear(3, 3).setName("fc")
    module = nn.Sequential(layer, nn.Tanh(), layer)
    files = saved(module, (2, 3), tmp_path)
    again = caffe.load_caffe_model(*files)
    assert again[0].weight is again[2].weight
    assert again[0].bias is again[2].bias


# Definitions in the style of the published ones ---------------------------------------------------

PUBLISHED = ("alexnet", "vgg", "googlenet", "resnet", "squeezenet", "mobilenet", "segmentation")


@needs_caffe
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_definition_runs_as_in_opencv(name, tmp_path):
    definition = DATA / f"{name}.prototxt"
    model = filled(definition, tmp_path)
    module = caffe.load_caffe_model(definition, model)
    shape = {"alexnet": (2, 3, 35, 35), "vgg": (2, 3, 16, 16), "googlenet": (1, 3, 28, 28)}
    shape |= {"resnet": (2, 3, 18, 18), "squeezenet": (1, 3, 23, 23), "mobilenet": (1, 3, 20, 20)}
    x = drawn(shape.get(name, (1, 3, 12, 12)))
    [mine], [theirs] = ours(module, x), opencv(cv2, definition, model, x)
    assert mine.std() > 1e-3
    np.testing.assert_allclose(mine, theirs.reshape(mine.shape), rtol=1e-5, atol=1e-5)


@needs_caffe
def test_ssd_finds_the_boxes_that_opencv_finds(tmp_path):
    definition = DATA / "ssd.prototxt"
    model = filled(definition, tmp_path, seed=4)
    module = caffe.load_caffe_model(definition, model)
    x = drawn((1, 3, 32, 32))
    [row], [theirs] = ours(module, x), opencv(cv2, definition, model, x)
    found = row[0, 1:].reshape(-1, 6)[: int(row[0, 0])]
    wanted = theirs.reshape(-1, 7)[:, 1:]
    assert len(found) == len(wanted) > 5
    order = [np.lexsort(boxes.T.round(4)) for boxes in (found, wanted)]
    np.testing.assert_allclose(found[order[0]], wanted[order[1]], rtol=1e-5, atol=1e-5)


def test_a_training_definition_is_read_by_phase(tmp_path):
    model = filled(DATA / "alexnet.prototxt", tmp_path)
    deploy = caffe.load_caffe_model(DATA / "alexnet.prototxt", model)
    train = DATA / "alexnet_train.prototxt"
    x = drawn((2, 3, 35, 35))
    tested, trained = (caffe.load_caffe_model(train, model, train=t) for t in (False, True))
    assert not tested.train
    assert trained.train
    assert np.array_equal(ours(tested, x)[0], ours(deploy, x)[0])
    assert np.array_equal(ours(trained.evaluate(), x)[0], ours(deploy, x)[0])


RULES = """input: "data" input_shape { dim: 1 dim: 2 }
layer { name: "a" type: "ReLU" bottom: "data" top: "a" %s }
layer { name: "b" type: "TanH" bottom: "data" top: "b" }"""


@pytest.mark.parametrize(
    ("rule", "tested", "trained", "deployed"),
    [
        ("", True, True, True),
        ("include { phase: TRAIN }", False, True, False),
        ("include { phase: TEST }", True, False, True),
        ("exclude { phase: TEST }", False, True, False),
        ("exclude { phase: TRAIN } exclude { stage: 'deploy' }", True, False, False),
        ("include { phase: TEST stage: 'deploy' }", False, False, True),
        ("include { phase: TEST not_stage: 'deploy' } include { phase: TRAIN }", True, True, False),
        ("include { min_level: 1 }", False, False, False),
    ],
)
def test_layers_are_in_or_out_by_rules(rule, tested, trained, deployed):
    text = (RULES % rule).encode()
    kinds = {"train": True}, {"train": False}, {"stages": ("deploy",)}
    found = [
        nn.ReLU in [type(m) for m in caffe.load_caffe_model(text, None, **kind).listModules()]
        for kind in kinds
    ]
    assert found == [trained, tested, deployed]


@pytest.mark.parametrize("side", range(3, 9))
def test_the_size_of_pooled_images_is_known_before_they_are(side):
    text = f"""input: "data" input_shape {{ dim: 1 dim: 1 dim: {side} dim: {side} }}
    layer {{ name: "p" type: "Pooling" bottom: "data" top: "p"
             pooling_param {{ kernel_size: 2 stride: 2 pad: 1 }} }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "p" top: "fc"
             inner_product_param {{ num_output: 2 }} }}"""
    module = caffe.load(text.encode())
    assert ours(module, drawn((3, 1, side, side)))[0].shape == (3, 2)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 0, 2, 1), (0, 0), (2, 1)])
def test_outputs_that_others_read_or_in_another_order_are_outputs_again(order, tmp_path):
    data = nn.Input("data")
    first = nn.Linear(3, 4).setName("first")(data)
    second = nn.Linear(4, 2).setName("second")(first)
    module = nn.gModule(data, [(first, second, data)[i] for i in order])
    again = caffe.load_caffe_model(*saved(module, (2, 3), tmp_path))
    x = drawn((2, 3))
    for mine, theirs in zip(ours(again, x), ours(module, x), strict=True):
        assert np.array_equal(mine, theirs)


def test_files_are_shown_layer_by_layer(tmp_path):
    text = (DATA / "alexnet_train.prototxt").read_bytes().replace(b'"LRN"', b'"Magic"')
    lines = list(showing.describe(text))
    assert lines[0] == (0, "SmallAlexNet", "Caffe network", {})
    assert (1, "norm1", "Magic [conv1] -> [norm1]", {}) in lines
    lines = list(showing.describe(filled(DATA / "vgg.prototxt", tmp_path)))
    assert lines[0][2] == "Caffe network (inputs data)"
    [arrays] = [arrays for _, name, _, arrays in lines if name == "fc8"]
    assert {name: array.shape for name, array in arrays.items()} == {"[0]": (7, 12), "[1]": (7,)}


def test_a_definition_alone_gives_drawn_weights():
    module = nn.load(DATA / "resnet.prototxt")
    assert ours(module, drawn((1, 3, 18, 18)))[0].shape == (1, 9)
    with pytest.raises(FormatError, match="shape of the input, or weights"):
        nn.load(DATA / "alexnet_train.prototxt")


def test_a_definition_alone_may_ask_for_so_much_memory_only():
    text = (DATA / "vgg.prototxt").read_bytes().replace(b"num_output: 12", b"num_output: 4000000")
    with pytest.raises(FormatError, match=r"Limits allow 16,000,000 .*caffemodel"):
        caffe.load(text)
    assert caffe.load((DATA / "vgg.prototxt").read_bytes(), limits=Limits(max_expanded=400_000))


# loadCaffe: weights onto a model that is there ----------------------------------------------------


def small():
    return nn.Sequential(
        nn.SpatialConvolution(3, 4, 3, 3).setName("conv"),
        nn.SpatialBatchNormalization(4).setName("bn"),
        nn.View(4 * 4 * 4).setNumInputDims(3),
        nn.Linear(64, 2).setName("fc"),
    )


def test_weights_go_into_the_layers_of_the_same_names(tmp_path):
    source, target = small().evaluate(), small().evaluate()
    files = saved(source, (1, 3, 6, 6), tmp_path)
    assert caffe.load_caffe(target, *files) is target
    x = drawn((2, 3, 6, 6))
    assert np.array_equal(ours(target, x)[0], ours(source, x)[0])


def test_match_all_means_every_layer_of_the_model(tmp_path):
    files = saved(small(), (1, 3, 6, 6), tmp_path)
    target = nn.Sequential(nn.SpatialConvolution(3, 4, 3, 3).setName("conv"), nn.Tanh(),
                           nn.SpatialConvolution(4, 2, 1, 1).setName("mine"))  # fmt: skip
    before = target[0].weight.numpy().copy()
    with pytest.raises(KeyError, match="mine"):
        nn.Module.loadCaffe(target, *files)
    assert np.array_equal(target[0].weight.numpy(), before)
    nn.Module.load_caffe(target, *files, matchAll=False)
    assert not np.array_equal(target[0].weight.numpy(), before)


def test_weights_of_another_shape_change_nothing(tmp_path):
    files = saved(small(), (1, 3, 6, 6), tmp_path)
    target = nn.Sequential(nn.SpatialConvolution(3, 4, 3, 3).setName("conv"),
                           nn.Linear(63, 2).setName("fc"))  # fmt: skip
    before = target[0].weight.numpy().copy()
    with pytest.raises(ValueError, match="fc"):
        caffe.load_caffe(target, *files)
    assert np.array_equal(target[0].weight.numpy(), before)


# What Caffe cannot say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.GELU(), (2, 3), r"model\[0\].*nn\.GELU"),
        (nn.SpatialConvolution(3, 4, 3, 3, 1, 1, format="NHWC"), (1, 5, 5, 3), "NHWC"),
        (nn.SpatialConvolution(3, 4, 2, 2, 1, 1, -1, -1), (1, 3, 5, 5), "same padding on both"),
        (nn.SpatialFullConvolution(3, 4, 3, 3, 2, 2, 0, 0, 1, 1), (1, 3, 5, 5), "adj"),
        (nn.SpatialAveragePooling(3, 3, 1, 1, 1, 1, countIncludePad=False), (1, 3, 5, 5), "count"),
        (nn.Dropout(0.5, True), (2, 3), "first version"),
        (nn.Linear(3, 2), (3,), "single sample"),
        (nn.Reshape(6, batchMode=False), (2, 3), "keeps the batch"),
    ],
)
def test_what_has_no_word_is_refused_before_anything_is_written(layer, shape, message, tmp_path):
    with pytest.raises(UnsupportedError, match=message):
        saved(nn.Sequential(layer), shape, tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_that_exist_are_kept(tmp_path):
    module = nn.Linear(2, 2)
    files = saved(module, (1, 2), tmp_path)
    with pytest.raises(FileExistsError):
        module.saveCaffe(*files, inputs=(1, 2))
    module.saveCaffe(*files, overwrite=True, inputs=(1, 2))


@needs_caffe
def test_pooling_that_rounds_down_is_cut_for_programs_that_round_up(tmp_path):
    module = nn.Sequential(nn.SpatialMaxPooling(3, 3, 2, 2, 1, 1), nn.ReLU())
    files = saved(module, (1, 2, 8, 8), tmp_path)
    x = drawn((1, 2, 8, 8))
    [mine], [theirs] = ours(module, x), opencv(cv2, *files, x)
    assert mine.shape == theirs.shape == (1, 2, 4, 4)
    assert np.array_equal(mine, theirs)
    again = caffe.load_caffe_model(*files)  # one layer again
    assert [each.getName() for each in again.modules] == ["SpatialMaxPooling1", "ReLU1"]
    assert not again[0].ceil_mode
    larger = drawn((1, 2, 13, 9))
    assert np.array_equal(ours(again, larger)[0], ours(module, larger)[0])
    plain = tmp_path / "plain"
    plain.mkdir()
    text = saved(module, None, plain)[0].read_text(encoding="utf-8")
    assert "round_mode: FLOOR" in text
    assert "Slice" not in text
