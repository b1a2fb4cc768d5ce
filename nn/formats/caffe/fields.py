"""The messages of Caffe's files: fields by number, as far as a network's meaning needs them.

Numbers beyond 200 are those of the SSD branch.  What training alone needs (fillers' details,
transformations of data, solvers) is left out: such fields are passed over.
"""

from __future__ import annotations

from tapegrad.nn.formats.common.protobuf import Enum, Field, Message, Schema

__all__ = ["SCHEMA", "V1_TYPES"]

V1_NUMBERS = {
    "NONE": 0, "ACCURACY": 1, "BNLL": 2, "CONCAT": 3, "CONVOLUTION": 4, "DATA": 5, "DROPOUT": 6,
    "EUCLIDEAN_LOSS": 7, "FLATTEN": 8, "HDF5_DATA": 9, "HDF5_OUTPUT": 10, "IM2COL": 11,
    "IMAGE_DATA": 12, "INFOGAIN_LOSS": 13, "INNER_PRODUCT": 14, "LRN": 15,
    "MULTINOMIAL_LOGISTIC_LOSS": 16,
    "POOLING": 17, "RELU": 18, "SIGMOID": 19, "SOFTMAX": 20, "SOFTMAX_LOSS": 21, "SPLIT": 22,
    "TANH": 23, "WINDOW_DATA": 24, "ELTWISE": 25, "POWER": 26, "SIGMOID_CROSS_ENTROPY_LOSS": 27,
    "HINGE_LOSS": 28, "MEMORY_DATA": 29, "ARGMAX": 30, "THRESHOLD": 31, "DUMMY_DATA": 32,
    "SLICE": 33,
    "MVN": 34, "ABSVAL": 35, "SILENCE": 36, "CONTRASTIVE_LOSS": 37, "EXP": 38, "DECONVOLUTION": 39,
}  # fmt: skip

V1_TYPES = {  # the names that layers of the second format have
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL",
    "CONCAT": "Concat", "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution",
    "DATA": "Data", "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise", "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN", "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence",
    "SLICE": "Slice", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split",
    "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
}  # fmt: skip

# parameter message -> (its name, its number in a layer of the second format, in one of the first)
PARAMETERS = {
    "argmax_param": ("ArgMaxParameter", 103, 23),
    "batch_norm_param": ("BatchNormParameter", 139, None),
    "bias_param": ("BiasParameter", 141, None),
    "clip_param": ("ClipParameter", 148, None),
    "concat_param": ("ConcatParameter", 104, 9),
    "convolution_param": ("ConvolutionParameter", 106, 10),
    "crop_param": ("CropParameter", 144, None),
    "detection_output_param": ("DetectionOutputParameter", 204, None),
    "dropout_param": ("DropoutParameter", 108, 12),
    "dummy_data_param": ("DummyDataParameter", 109, 26),
    "eltwise_param": ("EltwiseParameter", 110, 24),
    "elu_param": ("ELUParameter", 140, None),
    "embed_param": ("EmbedParameter", 137, None),
    "exp_param": ("ExpParameter", 111, 41),
    "flatten_param": ("FlattenParameter", 135, None),
    "inner_product_param": ("InnerProductParameter", 117, 17),
    "input_param": ("InputParameter", 143, None),
    "log_param": ("LogParameter", 134, None),
    "lrn_param": ("LRNParameter", 118, 18),
    "memory_data_param": ("MemoryDataParameter", 119, 22),
    "mvn_param": ("MVNParameter", 120, 34),
    "norm_param": ("NormalizeParameter", 206, None),
    "permute_param": ("PermuteParameter", 202, None),
    "pooling_param": ("PoolingParameter", 121, 19),
    "power_param": ("PowerParameter", 122, 21),
    "prelu_param": ("PReLUParameter", 131, None),
    "prior_box_param": ("PriorBoxParameter", 203, None),
    "reduction_param": ("ReductionParameter", 136, None),
    "relu_param": ("ReLUParameter", 123, 30),
    "reshape_param": ("ReshapeParameter", 133, None),
    "scale_param": ("ScaleParameter", 142, None),
    "slice_param": ("SliceParameter", 126, 31),
    "softmax_param": ("SoftmaxParameter", 125, 39),
    "swish_param": ("SwishParameter", 147, None),
    "threshold_param": ("ThresholdParameter", 128, 25),
    "tile_param": ("TileParameter", 138, None),
}


def _many(number: int, name: str, kind: str) -> Field:
    return Field(number, name, kind, repeated=True)


def _u32(number: int, name: str, default: int = 0) -> Field:
    return Field(number, name, "uint32", default=default)


def _i32(number: int, name: str, default: int = 0) -> Field:
    return Field(number, name, "int32", default=default)


def _f32(number: int, name: str, default: float = 0.0) -> Field:
    return Field(number, name, "float", default=default)


def _flag(number: int, name: str, default: bool = False) -> Field:
    return Field(number, name, "bool", default=default)


def _parameters(version: int) -> list[Field]:
    return [
        Field(found, name, message)
        for name, (message, *numbers) in PARAMETERS.items()
        if (found := numbers[version]) is not None
    ]


_ENUMS = [
    Enum("LayerType", V1_NUMBERS),
    Enum("Phase", {"TRAIN": 0, "TEST": 1}),
    Enum("PoolMethod", {"MAX": 0, "AVE": 1, "STOCHASTIC": 2}),
    Enum("RoundMode", {"CEIL": 0, "FLOOR": 1}),
    Enum("NormRegion", {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1}),
    Enum("EltwiseOp", {"PROD": 0, "SUM": 1, "MAX": 2}),
    Enum("ReductionOp", {"SUM": 1, "ASUM": 2, "SUMSQ": 3, "MEAN": 4}),
    Enum("CodeType", {"CORNER": 1, "CENTER_SIZE": 2, "CORNER_SIZE": 3}),
]

_STRUCTURE = [
    Message("BlobShape", Field(1, "dim", "int64", repeated=True, packed=True)),
    Message(
        "BlobProto",
        *(_i32(i, name) for i, name in enumerate(("num", "channels", "height", "width"), 1)),
        Field(5, "data", "float", repeated=True, packed=True, bulk=True),
        Field(7, "shape", "BlobShape"),
        Field(8, "double_data", "double", repeated=True, packed=True, bulk=True),
    ),
    Message(
        "NetStateRule",
        Field(1, "phase", "Phase"),
        _i32(2, "min_level"),
        _i32(3, "max_level"),
        _many(4, "stage", "string"),
        _many(5, "not_stage", "string"),
    ),
    Message("ParamSpec", Field(1, "name", "string")),
    Message(
        "LayerParameter",
        Field(1, "name", "string"),
        Field(2, "type", "string"),
        _many(3, "bottom", "string"),
        _many(4, "top", "string"),
        _many(6, "param", "ParamSpec"),
        _many(7, "blobs", "BlobProto"),
        _many(8, "include", "NetStateRule"),
        _many(9, "exclude", "NetStateRule"),
        Field(10, "phase", "Phase"),
        *_parameters(0),
    ),
    Message(
        "V1LayerParameter",
        Field(1, "layer", "V0Layer"),
        _many(2, "bottom", "string"),
        _many(3, "top", "string"),
        Field(4, "name", "string"),
        Field(5, "type", "LayerType"),
        _many(6, "blobs", "BlobProto"),
        _many(32, "include", "NetStateRule"),
        _many(33, "exclude", "NetStateRule"),
        _many(1001, "param", "string"),
        *_parameters(1),
    ),
    Message("V0Layer", Field(1, "name", "string"), Field(2, "type", "string")),
    Message(
        "NetParameter",
        Field(1, "name", "string"),
        _many(2, "layers", "V1LayerParameter"),
        _many(3, "input", "string"),
        _many(4, "input_dim", "int32"),
        _many(8, "input_shape", "BlobShape"),
        _many(100, "layer", "LayerParameter"),
    ),
]

_LAYERS = [
    Message("ArgMaxParameter", _flag(1, "out_max_val"), _u32(2, "top_k", 1), _i32(3, "axis")),
    Message(
        "BatchNormParameter",
        _flag(1, "use_global_stats"),
        _f32(2, "moving_average_fraction", 0.999),
        _f32(3, "eps", 1e-5),
    ),
    Message("BiasParameter", _i32(1, "axis", 1), _i32(2, "num_axes", 1)),
    Message("ClipParameter", _f32(1, "min"), _f32(2, "max")),
    Message("ConcatParameter", _u32(1, "concat_dim", 1), _i32(2, "axis", 1)),
    Message(
        "ConvolutionParameter",
        _u32(1, "num_output"),
        _flag(2, "bias_term", True),
        _many(3, "pad", "uint32"),
        _many(4, "kernel_size", "uint32"),
        _u32(5, "group", 1),
        _many(6, "stride", "uint32"),
        *(_u32(n, name) for n, name in enumerate(("pad_h", "pad_w", "kernel_h", "kernel_w"), 9)),
        _u32(13, "stride_h"),
        _u32(14, "stride_w"),
        _i32(16, "axis", 1),
        _many(18, "dilation", "uint32"),
    ),
    Message("CropParameter", _i32(1, "axis", 2), _many(2, "offset", "uint32")),
    Message(
        "NonMaximumSuppressionParameter",
        _f32(1, "nms_threshold", 0.3),
        _i32(2, "top_k", -1),
        _f32(3, "eta", 1.0),
    ),
    Message(
        "DetectionOutputParameter",
        _u32(1, "num_classes"),
        _flag(2, "share_location", True),
        _i32(3, "background_label_id"),
        Field(4, "nms_param", "NonMaximumSuppressionParameter"),
        Field(6, "code_type", "CodeType", default="CORNER"),
        _i32(7, "keep_top_k", -1),
        _flag(8, "variance_encoded_in_target"),
        _f32(9, "confidence_threshold"),
    ),
    Message("DropoutParameter", _f32(1, "dropout_ratio", 0.5)),
    Message(
        "DummyDataParameter",
        *(
            _many(n, name, "uint32")
            for n, name in enumerate(("num", "channels", "height", "width"), 2)
        ),
        _many(6, "shape", "BlobShape"),
    ),
    Message(
        "EltwiseParameter",
        Field(1, "operation", "EltwiseOp", default="SUM"),
        _many(2, "coeff", "float"),
    ),
    Message("ELUParameter", _f32(1, "alpha", 1.0)),
    Message(
        "EmbedParameter", _u32(1, "num_output"), _u32(2, "input_dim"), _flag(3, "bias_term", True)
    ),
    Message("ExpParameter", _f32(1, "base", -1.0), _f32(2, "scale", 1.0), _f32(3, "shift")),
    Message("FlattenParameter", _i32(1, "axis", 1), _i32(2, "end_axis", -1)),
    Message(
        "InnerProductParameter",
        _u32(1, "num_output"),
        _flag(2, "bias_term", True),
        _i32(5, "axis", 1),
        _flag(6, "transpose"),
    ),
    Message("InputParameter", _many(1, "shape", "BlobShape")),
    Message("LogParameter", _f32(1, "base", -1.0), _f32(2, "scale", 1.0), _f32(3, "shift")),
    Message(
        "LRNParameter",
        _u32(1, "local_size", 5),
        _f32(2, "alpha", 1.0),
        _f32(3, "beta", 0.75),
        Field(4, "norm_region", "NormRegion"),
        _f32(5, "k", 1.0),
    ),
    Message(
        "MemoryDataParameter",
        *(_u32(n, name) for n, name in enumerate(("batch_size", "channels", "height", "width"), 1)),
    ),
    Message(
        "MVNParameter",
        _flag(1, "normalize_variance", True),
        _flag(2, "across_channels"),
        _f32(3, "eps", 1e-9),
    ),
    Message(
        "NormalizeParameter",
        _flag(1, "across_spatial", True),
        _flag(3, "channel_shared", True),
        _f32(4, "eps", 1e-10),
    ),
    Message("PermuteParameter", _many(1, "order", "uint32")),
    Message(
        "PoolingParameter",
        Field(1, "pool", "PoolMethod"),
        _u32(2, "kernel_size"),
        _u32(3, "stride", 1),
        _u32(4, "pad"),
        *(_u32(n, name) for n, name in enumerate(("kernel_h", "kernel_w"), 5)),
        *(_u32(n, name) for n, name in enumerate(("stride_h", "stride_w", "pad_h", "pad_w"), 7)),
        _flag(12, "global_pooling"),
        Field(13, "round_mode", "RoundMode"),
    ),
    Message("PowerParameter", _f32(1, "power", 1.0), _f32(2, "scale", 1.0), _f32(3, "shift")),
    Message("PReLUParameter", _flag(2, "channel_shared")),
    Message(
        "PriorBoxParameter",
        *(
            _many(n, name, "float")
            for n, name in enumerate(("min_size", "max_size", "aspect_ratio"), 1)
        ),
        _flag(4, "flip", True),
        _flag(5, "clip"),
        _many(6, "variance", "float"),
        *(_u32(n, name) for n, name in enumerate(("img_size", "img_h", "img_w"), 7)),
        *(_f32(n, name) for n, name in enumerate(("step", "step_h", "step_w"), 10)),
        _f32(13, "offset", 0.5),
    ),
    Message(
        "ReductionParameter",
        Field(1, "operation", "ReductionOp", default="SUM"),
        _i32(2, "axis"),
        _f32(3, "coeff", 1.0),
    ),
    Message("ReLUParameter", _f32(1, "negative_slope")),
    Message(
        "ReshapeParameter", Field(1, "shape", "BlobShape"), _i32(2, "axis"), _i32(3, "num_axes", -1)
    ),
    Message("ScaleParameter", _i32(1, "axis", 1), _i32(2, "num_axes", 1), _flag(4, "bias_term")),
    Message(
        "SliceParameter",
        _u32(1, "slice_dim", 1),
        _many(2, "slice_point", "uint32"),
        _i32(3, "axis", 1),
    ),
    Message("SoftmaxParameter", _i32(2, "axis", 1)),
    Message("SwishParameter", _f32(1, "beta", 1.0)),
    Message("ThresholdParameter", _f32(1, "threshold")),
    Message("TileParameter", _i32(1, "axis", 1), _i32(2, "tiles")),
]

SCHEMA = Schema("caffe", "proto2", [*_STRUCTURE, *_LAYERS], _ENUMS)
