"""Each class of layers that Caffe has a word for: written, run by OpenCV, read again.

A test demands a case for every class that the table writes.
"""

import numpy as np
import pytest
from caffe_models import drawn, opencv, ours

from tapegrad import nn, no_grad
from tapegrad.nn.formats import UnsupportedError, caffe
from tapegrad.nn.formats.caffe.table import TABLE

IMAGES = (2, 4, 6, 5)
CONV = (4, 3, 3, 3, 1, 1)


def drawn_weights(module):
    """The module with weights and statistics that are neither 0 nor 1."""
    random = np.random.default_rng(1)
    with no_grad():
        for _, p in module.named_parameters():
            p[...] = random.normal(0.2, 0.5, p.shape).astype(np.float32)
        for name, b in module.named_buffers():
            if b.dtype.kind == "f":
                low = 0.5 if "var" in name else -0.5
                b.assign(random.uniform(low, 1.5, b.shape).astype(np.float32))
    return module


def one(layer, shape=IMAGES):
    return lambda: (nn.Sequential(layer), shape)


def of_two(table, *shape):
    """A table layer over two branches."""
    branches = nn.ConcatTable(nn.Sequential(nn.Tanh()), nn.Sequential(nn.Sigmoid()))
    return lambda: (nn.Sequential(branches, table), shape or IMAGES)


def split():
    return nn.Sequential(nn.SplitTable(1), nn.CAddTable()), (2, 3, 4, 5)


def prior_box():
    layer = nn.PriorBox([4.0], [9.0], [2.0], variances=[0.1, 0.1, 0.2, 0.2], imgSize=24, step=4)
    return nn.Sequential(nn.SpatialConvolution(3, 2, 1, 1, 4, 4), layer), (1, 3, 24, 24)


CASES = {
    nn.SpatialConvolution: one(nn.SpatialConvolution(*CONV)),
    nn.SpatialShareConvolution: one(nn.SpatialShareConvolution(*CONV)),
    nn.SpatialConvolutionMM: one(nn.SpatialConvolutionMM(*CONV)),
    nn.SpatialDilatedConvolution: one(nn.SpatialDilatedConvolution(*CONV, 2, 2, 2, 2)),
    nn.SpatialDepthWiseConvolution: one(nn.SpatialDepthWiseConvolution(4, 2, 3, 3)),
    nn.SpatialFullConvolution: one(nn.SpatialFullConvolution(4, 3, 3, 3, 2, 2, 1, 1, 0, 0)),
    nn.SpatialMaxPooling: one(nn.SpatialMaxPooling(2, 3, 2, 2, 1, 1)),
    nn.SpatialDilatedMaxPooling: one(nn.SpatialDilatedMaxPooling(2, 2, 2, 2)),
    nn.SpatialAveragePooling: one(nn.SpatialAveragePooling(3, 3, 2, 2, 1, 1)),
    nn.SpatialAdaptiveAveragePooling: one(nn.SpatialAdaptiveAveragePooling(1, 1)),
    nn.SpatialAdaptiveMaxPooling: one(nn.SpatialAdaptiveMaxPooling(1, 1)),
    nn.Linear: one(nn.Linear(5, 3)),
    nn.LookupTable: one(nn.LookupTable(7, 3), (2, 4)),
    nn.BatchNormalization: one(nn.BatchNormalization(5), (3, 5)),
    nn.SpatialBatchNormalization: one(nn.SpatialBatchNormalization(4)),
    nn.VolumetricBatchNormalization: one(nn.VolumetricBatchNormalization(2), (2, 2, 3, 4, 3)),
    nn.Scale: one(nn.Scale(1, 4, 1, 1)),
    nn.CMul: one(nn.CMul(1, 4, 1, 1)),
    nn.CAdd: one(nn.CAdd(5), (3, 5)),
    nn.SpatialCrossMapLRN: one(nn.SpatialCrossMapLRN(3, 0.5, 0.6, 2.0)),
    nn.SpatialWithinChannelLRN: one(nn.SpatialWithinChannelLRN(3, 0.5, 0.6)),
    nn.NormalizeScale: one(nn.NormalizeScale(2.0, 1e-10, 1.0, (1, 4, 1, 1))),
    nn.ReLU: one(nn.ReLU()),
    nn.LeakyReLU: one(nn.LeakyReLU(0.3)),
    nn.ReLU6: one(nn.ReLU6()),
    nn.PReLU: one(nn.PReLU(4)),
    nn.ELU: one(nn.ELU(0.7)),
    nn.SiLU: one(nn.SiLU()),
    nn.Clamp: one(nn.Clamp(-0.5, 0.7)),
    nn.HardTanh: one(nn.HardTanh()),
    nn.Sigmoid: one(nn.Sigmoid()),
    nn.Tanh: one(nn.Tanh()),
    nn.Abs: one(nn.Abs()),
    nn.SoftPlus: one(nn.SoftPlus()),
    nn.BinaryThreshold: one(nn.BinaryThreshold(0.3)),
    nn.Power: one(nn.Power(2.0, 0.5, 1.0)),
    nn.MulConstant: one(nn.MulConstant(0.25)),
    nn.AddConstant: one(nn.AddConstant(0.25)),
    nn.Square: one(nn.Square()),
    nn.Sqrt: lambda: (nn.Sequential(nn.Abs(), nn.Sqrt()), IMAGES),
    nn.Exp: one(nn.Exp()),
    nn.Log: lambda: (nn.Sequential(nn.Exp(), nn.Log()), IMAGES),
    nn.Dropout: one(nn.Dropout(0.3)),
    nn.CMulTable: of_two(nn.CMulTable()),
    nn.CAddTable: of_two(nn.CAddTable()),
    nn.CMaxTable: of_two(nn.CMaxTable()),
    nn.CSubTable: of_two(nn.CSubTable()),
    nn.SoftMax: one(nn.SoftMax()),
    nn.SpatialSoftMax: one(nn.SpatialSoftMax()),
    nn.LogSoftMax: one(nn.LogSoftMax()),
    nn.SpatialLogSoftMax: one(nn.SpatialLogSoftMax()),
    nn.JoinTable: of_two(nn.JoinTable(-1)),
    nn.Narrow: one(nn.Narrow(1, 1, 2)),
    nn.Select: one(nn.Select(2, -2)),
    nn.SplitTable: split,
    nn.Contiguous: lambda: (nn.Sequential(nn.Tanh(), nn.Contiguous()), IMAGES),
    nn.View: one(nn.View(4, 30).setNumInputDims(3)),
    nn.Reshape: one(nn.Reshape(2, 60, batchMode=True)),
    nn.Flatten: one(nn.Flatten(2, 3)),
    nn.InferReshape: one(nn.InferReshape((0, -1, 2))),
    nn.Squeeze: one(nn.Squeeze(2), (2, 3, 1, 4)),
    nn.Unsqueeze: one(nn.Unsqueeze(2), (2, 3, 4)),
    nn.Collapse: one(nn.Collapse(3)),
    nn.Transpose: one(nn.Transpose((1, 2), (2, 3))),
    nn.Tile: one(nn.Tile(1, 3)),
    nn.Sum: one(nn.Sum(-1)),
    nn.Mean: one(nn.Mean(2, 3)),
    nn.PriorBox: prior_box,
}
# No case of one input: the definition of SSD in test_caffe_files.py is read, and written below
SEVERAL_INPUTS = {nn.DetectionOutputSSD}

# What OpenCV 4 does not run, or does otherwise
NOT_IN_OPENCV = {
    nn.LookupTable: "no Embed",
    nn.VolumetricBatchNormalization: "the Scale behind it",
    nn.SiLU: "Swish without a message of parameters",
    nn.Clamp: "Clip",
    nn.HardTanh: "Clip",
    nn.BinaryThreshold: "Threshold",
    nn.CAdd: "Bias",
    nn.Tile: "Tile",
    nn.SpatialCrossMapLRN: "k, which is not 1 in this case",
    nn.Sum: "Reduction",
    nn.Mean: "Reduction",
}


def files_of(cls, folder):
    module, shape = CASES[cls]()
    module = drawn_weights(module).evaluate()
    x = drawn(shape)
    if cls is nn.LookupTable:
        x = np.arange(8).reshape(shape) % 7
    files = folder / "a.prototxt", folder / "a.caffemodel"
    caffe.save_caffe(module, *files, inputs=x)
    return module, files, x


@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
def test_a_layer_is_written_and_read_with_equal_bits(cls, tmp_path):
    module, files, x = files_of(cls, tmp_path)
    again = caffe.load_caffe_model(*files)
    # read as SpatialAveragePooling, which adds up in another order
    tolerance = 1e-6 if cls is nn.SpatialAdaptiveAveragePooling else 0
    for mine, theirs in zip(ours(again, x), ours(module, x), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
def test_opencv_runs_a_layer_that_is_written(cls, tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("OpenCV 5 has no reader of Caffe's files")
    if cls in NOT_IN_OPENCV:
        pytest.skip(f"OpenCV: {NOT_IN_OPENCV[cls]}")
    module, files, x = files_of(cls, tmp_path)
    [mine], [theirs] = ours(module, x), opencv(cv2, *files, x)
    np.testing.assert_allclose(theirs.reshape(mine.shape), mine, rtol=1e-5, atol=1e-5)


def test_every_class_that_is_written_has_a_case():
    assert set(TABLE.written_classes()) == CASES.keys() | SEVERAL_INPUTS


def test_detections_are_written(tmp_path):
    module = nn.gModule(
        inputs := [nn.Input("offsets"), nn.Input("scores"), nn.Input("priors")],
        nn.DetectionOutputSSD(3, confThresh=0.1, confPostProcess=False)(*inputs),
    ).evaluate()
    x = [drawn((1, 16)), np.abs(drawn((1, 12), 1)) / 3, np.abs(drawn((1, 2, 16), 2))]
    files = tmp_path / "a.prototxt", tmp_path / "a.caffemodel"
    caffe.save_caffe(module, *files, inputs=x)
    again = caffe.load_caffe_model(*files)
    assert np.array_equal(ours(again, x)[0], ours(module, x)[0])
    module.modules[-1].confPostProcess = True
    with pytest.raises(UnsupportedError, match="SoftMax"):
        caffe.save_caffe(module, *files, inputs=x)
