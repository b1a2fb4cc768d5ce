"""What is wrong with a Caffe file, or meant to do harm, is one family of errors with its place."""

import sys

import numpy as np
import pytest
from caffe_models import DATA, filled, ours

from tapegrad import nn
from tapegrad.nn.formats import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
    caffe,
)
from tapegrad.nn.formats.caffe.fields import SCHEMA
from tapegrad.nn.formats.caffe.table import DATA as DATA_LAYERS
from tapegrad.nn.formats.caffe.table import LEFT_OUT, TABLE, canonical

IN = 'layer { name: "data" type: "Input" top: "data" input_param { shape { %s } } }\n'
IMAGE = IN % "dim: 1 dim: 3 dim: 8 dim: 8"


def text(*layers, head=IMAGE):
    return (head + "\n".join(layers)).encode()


def layer(kind, bottom="data", top="y", name="y", more=""):
    bottoms = " ".join(f'bottom: "{each}"' for each in bottom.split())
    tops = " ".join(f'top: "{each}"' for each in top.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} {tops} {more} }}'


CONV = "convolution_param { num_output: 4 kernel_size: 3 %s }"

REFUSED = {
    "a Python layer": (
        text(layer("Python", more='python_param { module: "os" layer: "system" param_str: "ls" }')),
        UnsafeError, r"net\.layer\[1\] \(y\).*imports and calls.*Python",
    ),
    "an unknown layer": (text(layer("Magic")), UnsupportedError, r"net\.layer\[1\] \(y\).*'Magic'"),
    "an unknown setting": (
        text(layer("Convolution", more=CONV % "twist: 3")),
        UnsupportedError, r"ConvolutionParameter\.twist",
    ),
    "a bottom that nothing gives": (
        text(layer("ReLU", bottom="nothing")), FormatError, "an earlier layer.*'nothing'",
    ),
    "a cycle": (
        text(layer("Eltwise", "data b", "a", "a"), layer("ReLU", "a", "b", "b")),
        FormatError, "an earlier layer.*'b'",
    ),
    "a top of two layers": (
        text(layer("ReLU", "data", "a", "a"), layer("TanH", "data", "a", "b")),
        FormatError, r"net\.layer\[2\] \(b\).*one layer.*'a'",
    ),
    "an input of two layers": (
        text(layer("ReLU"), head=IMAGE + IMAGE.replace('name: "data"', 'name: "other"')),
        FormatError, "one top of a name",
    ),
    "a layer that reads itself": (
        text(layer("Eltwise", "data y", "y", "y")), FormatError, "earlier layer",
    ),
    "two layers of one name": (
        text(layer("ReLU", "data", "a", "same"), layer("TanH", "a", "b", "same")),
        FormatError, r"net\.layer\[1\].*'same'",
    ),
    "both formats": (
        text(layer("ReLU"), 'layers { name: "x" type: RELU bottom: "data" top: "z" }'),
        FormatError, "layers of one format",
    ),
    "layers of 2013": (
        b'input: "data" layers { layer { name: "a" type: "relu" } bottom: "data" top: "a" }',
        UnsupportedError, "upgrade_net_proto",
    ),
    "a kernel larger than the image": (
        text(layer("Convolution", more="convolution_param { num_output: 1 kernel_size: 9 }")),
        FormatError, "not smaller than the kernel",
    ),
    "a stride of 0": (
        text(layer("Convolution", more=CONV % "stride: 0")), FormatError, "lengths of at least 1",
    ),
    "groups that do not divide": (
        text(layer("Convolution", more=CONV % "group: 2")), FormatError, "divide into 2 groups",
    ),
    "a huge layer": (
        text(layer("InnerProduct", more="inner_product_param { num_output: 4294967295 }")),
        LimitError, "Limits allow",
    ),
    "an image without an end": (
        text(layer("InnerProduct", more="inner_product_param { num_output: 2 }"),
             head=IN % ("dim: 1" + " dim: 9223372036854775807" * 3)),
        LimitError, "Limits allow",
    ),
    "a product that would overflow": (
        text(layer("InnerProduct", more="inner_product_param { num_output: 4 }"),
             head=IN % "dim: 1 dim: 4294967296 dim: 4294967296"),
        LimitError, "Limits allow",
    ),
    "a negative length": (
        text(layer("ReLU"), head=IN % "dim: 1 dim: -3"), FormatError, "lengths from 1",
    ),
    "forty axes": (text(layer("ReLU"), head=IN % ("dim: 1 " * 40)), FormatError, "lengths from 1"),
    "an even window of LRN": (
        text(layer("LRN", more="lrn_param { local_size: 4 }")), FormatError, "an odd local_size",
    ),
    "stochastic pooling": (
        text(layer("Pooling", more="pooling_param { pool: STOCHASTIC kernel_size: 2 }")),
        UnsupportedError, "stochastic",
    ),
    "a base of 0": (
        text(layer("Log", more="log_param { base: 0 }")), FormatError, "a base above 0",
    ),
    "a dropout of everything": (
        text(layer("Dropout", more="dropout_param { dropout_ratio: 1.5 }")),
        FormatError, "dropout_ratio",
    ),
    "slices that go back": (
        text(layer("Slice", top="a b c", more="slice_param { slice_point: 2 slice_point: 1 }")),
        FormatError, "slice_points that grow",
    ),
    "a slice beyond the end": (
        text(layer("Slice", top="a b", more="slice_param { slice_point: 7 }")),
        FormatError, "slice_points below 3",
    ),
    "an axis that is not there": (
        text(layer("Concat", more="concat_param { axis: 9 }")), FormatError, "axis of a blob of 4",
    ),
    "a crop beyond the image": (
        text(layer("Crop", "data data", more="crop_param { axis: 2 offset: 5 }")),
        FormatError, "a part of the 8 entries",
    ),
    "an order with one axis twice": (
        text(layer("Permute", more="permute_param { order: 0 order: 0 }")),
        FormatError, "different axes",
    ),
    "an order of axes that a matrix has not": (
        text(
            layer("Flatten", top="f", name="f"),
            layer("Permute", "f", more="permute_param { order: 0 order: 2 }"),
        ),
        FormatError, "different axes below 2",
    ),
    "two bottoms for a ReLU": (text(layer("ReLU", "data data")), FormatError, "1 bottoms"),
    "no layers": (IMAGE.encode().replace(b"layer", b"input_shape") + b"", FormatError, None),
    "no output": (text(layer("Silence", top="")), FormatError, "a layer that gives something"),
    "a definition of BigDL": (
        b'name: "m" moduleType: "com.intel.analytics.bigdl.nn.Linear"',
        FormatError, "one of BigDL's",
    ),
    "code: 5 of SSD": (
        text(layer("DetectionOutput", "data data data",
                   more="detection_output_param { num_classes: 2 code_type: CORNER }")),
        UnsupportedError, "CENTER_SIZE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_definition_is_refused_with_its_place(name):
    data, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message) as caught:
        caffe.load_caffe_model(data, None)
    assert type(caught.value) in (kind, LimitError) or kind is FormatError


@pytest.mark.parametrize("depth", [200, 100_000])
def test_nesting_has_a_limit(depth):
    data = IMAGE.encode() + b"layer { input_param { shape { " * depth
    with pytest.raises(FormatError):
        caffe.load_caffe_model(data, None)
    binary = b""
    for _ in range(200):
        binary = b"\xa2\x06" + bytes([len(binary) & 0x7F]) + binary[:100]
    with pytest.raises(FormatError):
        caffe.load_caffe_model(None, binary)


def test_nothing_that_a_file_names_is_opened(monkeypatch):
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(arguments[0])
                     if event == "open" and "passwd" in str(arguments[0]) else None)  # fmt: skip
    with pytest.raises(FormatError):
        caffe.load_caffe_model(DATA / "alexnet_train.prototxt", None)
    assert opened == []


# Weights ------------------------------------------------------------------------------------------


def model(*blobs, kind="InnerProduct", more=None):
    """A model of one layer with these (shape, numbers)."""
    record = SCHEMA.new("LayerParameter", name="y", type=kind, top=["y"])
    for field, values in (more or {"inner_product_param": {"num_output": 2}}).items():
        names = {"inner_product_param": "InnerProductParameter",
                 "batch_norm_param": "BatchNormParameter"}  # fmt: skip
        setattr(record, field, SCHEMA.new(names[field], **values))
    for shape, numbers in blobs:
        stated = SCHEMA.new("BlobShape", dim=list(shape))
        data = np.asarray(numbers, np.float32)
        record.blobs.append(SCHEMA.new("BlobProto", shape=stated, data=data))
    net = SCHEMA.new("NetParameter", layer=[record])
    import io

    out = io.BytesIO()
    SCHEMA.write(net, out)
    return out.getvalue()


FINE = [((2, 3), range(6)), ((2,), range(2))]
BLOBS = {
    "too few numbers": (model(((2, 3), range(5)), FINE[1]), TruncatedError, "6 numbers.*found 5"),
    "too many numbers": (model(((2, 3), range(7)), FINE[1]), FormatError, "6 numbers.*found 7"),
    "a shape that overflows": (
        model(((2**40, 2**40), range(6)), FINE[1]), FormatError, r"found"),
    "a negative length": (model(((-2, -3), range(6)), FINE[1]), FormatError, "not negative"),
    "another shape": (model(((4, 3), range(12)), FINE[1]), FormatError, r"\(2, 3\).*\(4, 3\)"),
    "no bias": (model(FINE[0]), FormatError, r"blob 1 of the layer.*1 blobs"),
    "many axes": (model(((1,) * 40 + (2, 3), range(6)), FINE[1]), LimitError, "32 axes"),
    "BigDL's batch normalization": (
        model(((4,), range(4)), ((4,), range(4)), kind="BatchNorm", more={"batch_norm_param": {}}),
        FormatError, "BigDL writes weight and bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOBS)
def test_weights_that_do_not_fit_are_refused_with_their_place(name):
    data, kind, message = BLOBS[name]
    with pytest.raises(kind, match=message) as caught:
        caffe.load_caffe_model(None, data)
    assert "net.layer[0] (y)" in str(caught.value)


def test_the_weights_of_these_tests_are_fine_otherwise():
    module = caffe.load_caffe_model(None, model(*FINE))
    assert np.array_equal(ours(module, np.ones((1, 3), np.float32))[0], [[3, 13]])


def test_a_model_that_lacks_a_layer_of_the_definition_is_refused(tmp_path):
    definition = text(layer("InnerProduct", more="inner_product_param { num_output: 2 }", name="z"))
    with pytest.raises(FormatError, match=r"blob 0 of the layer in the file of weights.*0 blobs"):
        caffe.load_caffe_model(definition, model(*FINE))


def test_two_layers_with_weights_under_one_name_are_refused():
    with pytest.raises(FormatError, match="weights for each layer once"):
        caffe.load_caffe_model(text(layer("ReLU")), model(*FINE) + model(*FINE))


@pytest.mark.parametrize("name", ["alexnet", "resnet", "ssd"])
def test_a_model_cut_at_every_byte_is_refused(name, tmp_path):
    data = filled(DATA / f"{name}.prototxt", tmp_path).read_bytes()
    step = 1 + len(data) // 400
    for at in range(0, len(data), step):
        with pytest.raises(FormatError):
            caffe.load_caffe_model(DATA / f"{name}.prototxt", data[:at])


def test_limits_hold():
    data = model(*FINE)
    with pytest.raises(LimitError, match="at most 10 bytes"):
        caffe.load_caffe_model(None, data, limits=Limits(max_bytes=10))
    with pytest.raises(LimitError):
        caffe.load_caffe_model(None, data, limits=Limits(max_nodes=3))


def test_neither_file_is_a_type_error():
    with pytest.raises(TypeError, match="both"):
        caffe.load_caffe_model(None, None)


# The table ----------------------------------------------------------------------------------------


def test_every_entry_has_a_reader_and_one_name():
    names = [name for entry in TABLE for name in (entry.name, *entry.aliases)]
    names += [*DATA_LAYERS, *LEFT_OUT]
    assert len({name.upper() for name in names}) == len(names)
    assert all(entry.read is not None for entry in TABLE)
    assert all(canonical(name.lower()) == name for name in names)


def test_layers_that_are_written_are_exact_classes():
    class Mine(nn.ReLU):
        def updateOutput(self, x):
            return x

    with pytest.raises(UnsupportedError, match=r"nn\.Mine"):
        TABLE.writer(Mine(), "model")
