"""The layers of BigDL's files that attributes and arrays say whole; entry.py has the notation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn import containers, layers
from tapegrad.nn.formats.bigdl.attributes import NULL, array_attr, attr, value_of
from tapegrad.nn.formats.bigdl.entry import Entry, declared
from tapegrad.nn.formats.common.errors import UnsupportedError

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["LAYERS", "OURS"]

OURS = SimpleNamespace(
    **{name: getattr(room, name) for room in (layers, containers) for name in room.__all__}
)

REG = "wRegularizer:R, bRegularizer:R"
INIT = "initWeight:T, initBias:T, initGradWeight:T, initGradBias:T"
FORMAT = "format:F=NCHW"
KERNEL = "kernelW:i@kW, kernelH:i@kH, strideW:i@dW, strideH:i@dH"
WINDOW = "kW:i, kH:i, dW:i, dH:i, padW:i, padH:i"
PLANES = "nInputPlane:i, nOutputPlane:i"
VOLUME = "kT:i, kW:i, kH:i, dT:i, dW:i, dH:i, padT:i, padW:i, padH:i"
LEAST, MOST = -(2**31), 2**31 - 1

SIMPLE = f"""
Abs
ActivityRegularization(l1:d, l2:d)
AddConstant(constant_scalar:d, inplace:b=false)
BifurcateSplitTable(dimension:a)
BinaryThreshold(th:d>threshold, ip:b>inplace=false)
CAveTable(inplace:b=false)
CDivTable
CMaxTable
CMinTable
CMulTable
CSubTable
Clamp(minV:i>min_value@min_val, maxV:i>max_value@max_val)
Contiguous
CosineDistance
Cropping2D(heightCrop:I, widthCrop:I, dataFormat:F>format=NCHW)
Cropping3D(dim1Crop:I, dim2Crop:I, dim3Crop:I, dataFormat:s>format)
CrossProduct(numTensor:i, embeddingSize:i)
DenseToSparse(propagateBack:b)
DotProduct
ELU(alpha:d, inplace:b=false)
Exp
ExpandSize(targetSizes:I)
FlattenTable
GaussianDropout(rate:d)
GaussianNoise(stddev:d)
GaussianSampler
GradientReversal(lambda:d>lambda_@lambda)
HardShrink(lambda:d>lambda_@lambda)
HardSigmoid
HardTanh(minValue:d>min_value@min_val, maxValue:d>max_value@max_val, inplace:b=false)
Identity
Index(dimension:a)
InferReshape(size:I, batchMode:b)
JoinTable(dimension:a, nInputDims:i?-1)
L1Penalty(l1weight:i, sizeAverage:b=false, provideOutput:b=true)
LeakyReLU(negval:d, inplace:b=false)
Log
LogSigmoid
LogSoftMax
MM(transA:b, transB:b)
MV(trans:b)
MaskedSelect
Masking(maskValue:d)
Max(dim:a>dimension, numInputDims:i?{LEAST}>nInputDims=none)
Min(dim:a>dimension, numInputDims:i?{LEAST}>nInputDims=none)
MixtureTable(dim:a?{MOST})
MulConstant(constant:d>constant_scalar, inplace:b=false)
Narrow(dimension:a, offset:a@index, length:i)
NarrowTable(offset:a, length:i)
Negative(inplace:b=false)
NegativeEntropyPenalty(beta:d)
Normalize(p:d, eps:d)
Pack(dimension:a)
Padding(dim:a, pad:i, nInputDim:i, value:d, nIndex:a>index)
PairwiseDistance(norm:i>p@norm)
Power(power:d>p@pow, scale:d, shift:d)
RReLU(lower:d, upper:d, inplace:b=false)
ReLU(ip:b>inplace=false)
ReLU6(inplace:b=false)
Replicate(nFeatures:i>nfeatures, dim:a, nDim:i?{MOST}>ndim)
ResizeBilinear(outputHeight:i, outputWidth:i, alignCorners:b, dataFormat:F>format=NCHW)
Reverse(dim:a>dimension, isInplace:b>inplace=false)
Select(dimension:a, index:a)
SelectTable(index:a)
Sigmoid
SoftMin
SoftPlus(beta:d)
SoftShrink(lambda:d>lambda_@lambda)
SoftSign
SpatialAveragePooling({WINDOW}, globalPooling:b@global_pooling=false, ceilMode:b@ceil_mode=false, \
countIncludePad:b@count_include_pad=true, divide:b=true, {FORMAT})
SpatialCrossMapLRN(size:i, alpha:d, beta:d, k:d, {FORMAT})
SpatialDropout1D(initP:d>p)
SpatialDropout2D(initP:d>p, {FORMAT})
SpatialDropout3D(initP:d>p, {FORMAT})
SpatialWithinChannelLRN(size:i, alpha:d, beta:d)
SpatialZeroPadding(padLeft:i>pad_l, padRight:i>pad_r, padTop:i>pad_t, padBottom:i>pad_b)
SplitTable(dimension:a, nInputDims:i?-1)
Square
Sum(dimension:a, nInputDims:i?-1, sizeAverage:b, squeeze:b=true)
Tanh
TanhShrink
TemporalMaxPooling(kW:i, dW:i)
Threshold(th:d>threshold, v:d>val, ip:b>inplace=false)
Tile(dim:a, copies:i)
UpSampling1D(length:i)
UpSampling2D(size:I, {FORMAT})
UpSampling3D(size:I)
VolumetricAveragePooling({VOLUME}, countIncludePad:b@count_include_pad=true, \
ceilMode:b@ceil_mode=false)
Bilinear(inputSize1:i#weight.1, inputSize2:i#weight.2, outputSize:i#weight.0, biasRes:b#bias, \
{REG}) weight bias
CAdd(size:I#bias, bRegularizer:R) bias
CMul(size:I#weight, wRegularizer:R) weight
Cosine(inputSize:i#weight.1, outputSize:i#weight.0) weight
Linear(inputSize:i#weight.1, outputSize:i#weight.0, withBias:b#bias, {REG}, {INIT}) weight bias
LocallyConnected1D(nInputFrame:i, inputFrameSize:i, outputFrameSize:i, kernelW:i, strideW:i, \
propagateBack:b=true, {REG}, {INIT}) weight bias
LocallyConnected2D(nInputPlane:i, inputWidth:i@iW, inputHeight:i@iH, nOutputPlane:i, {KERNEL}, \
padW:i, padH:i, propagateBack:b=true, {REG}, {INIT}, withBias:b#bias, {FORMAT}) \
weight/local bias/local_bias
Mul(wRegularizer:R) weight
NormalizeScale(p:d, eps:d, scale:d, size:I#weight, wRegularizer:R) weight
PReLU(nOutputPlane:i) weight
SpatialConvolution({PLANES}, {KERNEL}, padW:i, padH:i, nGroup:i=1, propagateBack:b=true, {REG}, \
{INIT}, withBias:b#bias, {FORMAT}) weight/grouped bias
SpatialShareConvolution({PLANES}, {KERNEL}, padW:i, padH:i, nGroup:i=1, propagateBack:b=true, \
{REG}, {INIT}, withBias:b#bias) weight/grouped bias
SpatialDilatedConvolution({PLANES}, {WINDOW}, dilationW:i, dilationH:i, {REG}) weight bias
TemporalConvolution(inputFrameSize:i, outputFrameSize:i, kernelW:i@kW, strideW:i@dW, \
propagateBack:b!true, {REG}, {INIT}) weight bias
VolumetricConvolution({PLANES}, {VOLUME}, withBias:b#bias, {REG}) weight bias
"""


# Classes of which attributes say more, or less ----------------------------------------------------


def read_fields(**kinds: str) -> Any:
    """A reader that sets further attributes after the constructor: field=attribute in the file."""

    def read(reader: Any, record: Record, path: str, entry: Entry) -> Any:
        module = reader.made(entry, record, path)
        for field, name in kinds.items():
            value = value_of(record.attr[name]) if name in record.attr else NULL
            if value is not NULL:
                if not isinstance(value, bool):
                    raise reader.error("true or false", f"{value!r:.40}", f"{path}.{name}")
                setattr(module, field, value)
        return module

    return read


def write_fields(**kinds: str) -> Any:
    """The writer that belongs to `read_fields`."""

    def write(writer: Any, module: Any, record: Record, path: str) -> None:
        for field, name in kinds.items():
            record.attr[name] = attr("BOOL", bool(getattr(module, field)))

    return write


def _dropout(values: dict[str, Any]) -> dict[str, Any]:
    values["v1"] = not values.pop("scale")
    return values


def _write_pooling(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["ceilMode"] = attr("BOOL", bool(module.ceil_mode))
    record.attr["indices"] = writer.empty_tensor()


BATCH_MODES = (None, False, True)


def _read_reshape(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    values = entry.values(record.attr, reader.file, path)
    mode = value_of(record.attr["batchMode"]) if "batchMode" in record.attr else 0
    if mode is NULL or mode not in (0, 1, 2):
        raise reader.error("0, 1 or 2", f"{mode!r:.40}", f"{path}.batchMode")
    return entry.cls(*values["size"], batchMode=BATCH_MODES[int(mode)])


def _write_reshape(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["batchMode"] = attr("INT32", BATCH_MODES.index(module.batchMode))


def _spread(name: str) -> Any:
    def read(reader: Any, record: Record, path: str, entry: Entry) -> Any:
        values = entry.values(record.attr, reader.file, path)
        return entry.cls(*values[name])

    return read


def _read_squeeze(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    dims: Any = value_of(record.attr["dims"]) if "dims" in record.attr else NULL
    if dims is NULL:
        return entry.cls()
    if len(dims) != 1 or not isinstance(dims[0], int):
        kind = UnsupportedError
        raise reader.error("one axis, or none for all", f"{dims!r:.40}", f"{path}.dims", kind)
    batch = record.attr["batchMode"].boolValue if "batchMode" in record.attr else False
    return entry.cls(dims[0] - (0 if batch else 1))


def _write_squeeze(writer: Any, module: Any, record: Record, path: str) -> None:
    if module.numInputDims is not None:
        raise UnsupportedError("Squeeze without numInputDims", module.numInputDims, path=path)
    dims = None if module.dim is None else [module.dim + 1 if module.dim >= 0 else module.dim]
    record.attr["dims"] = array_attr("INT32", dims)
    record.attr["batchMode"] = attr("BOOL", False)


def _read_unsqueeze(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    pos = value_of(record.attr["pos"]) if "pos" in record.attr else NULL
    if isinstance(pos, list) and len(pos) == 1:
        [pos] = pos
    if isinstance(pos, bool) or not isinstance(pos, int):
        raise reader.error("one axis", f"{pos!r:.40}", f"{path}.pos", UnsupportedError)
    values = entry.values(record.attr, reader.file, path)
    return entry.cls(pos - 1 if pos > 0 else pos, **values)


def _write_unsqueeze(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["pos"] = array_attr("INT32", [module.pos + 1 if module.pos >= 0 else module.pos])


def _read_transpose(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    values = entry.values(record.attr, reader.file, path)
    pairs = []
    for k in range(min(values["size"], len(record.attr))):
        name = f"permutation_{k}"
        pair = value_of(record.attr[name]) if name in record.attr else NULL
        if not isinstance(pair, list) or len(pair) != 2:
            raise reader.error("two axes", f"{pair!r:.40}", f"{path}.{name}")
        pairs.append(tuple(n - 1 if n > 0 else n for n in pair))
    return entry.cls(*pairs)


def _write_transpose(writer: Any, module: Any, record: Record, path: str) -> None:
    if module.numInputDims is not None:
        raise UnsupportedError("Transpose without numInputDims", module.numInputDims, path=path)
    record.attr["size"] = attr("INT32", len(module.permutations))
    for k, pair in enumerate(module.permutations):
        values = [n + 1 if n >= 0 else n for n in pair]
        record.attr[f"permutation_{k}"] = array_attr("INT32", values)


def _read_softmax(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    """BigDL computes along the last axis, whatever `pos` says; `classes` is ours."""
    return entry.cls() if "classes" in record.attr else entry.cls(-1)


def _write_softmax(writer: Any, module: Any, record: Record, path: str) -> None:
    if module.axis not in {None, -1}:
        raise UnsupportedError("SoftMax(axis=-1), the last axis", module.axis, path=path)
    record.attr["pos"] = attr("INT32", 1)
    if module.axis is None:  # the axis of the classes is the last one of a batch of vectors
        record.attr["classes"] = attr("BOOL", True)


def _lookup(values: dict[str, Any]) -> dict[str, Any]:
    values["paddingValue"] = int(values["paddingValue"]) - 1
    if values["maxNorm"] >= np.finfo(np.float64).max:
        values["maxNorm"] = None
    return values


def _write_lookup(writer: Any, module: Any, record: Record, path: str) -> None:
    most = float(np.finfo(np.float64).max) if module.maxNorm is None else float(module.maxNorm)
    record.attr["paddingValue"] = attr("DOUBLE", float(max(module.paddingValue + 1, 0)))
    record.attr["maxNorm"] = attr("DOUBLE", most)


FULL = [
    "nInputPlane",
    "nOutputPlane",
    "kW",
    "kH",
    "dW",
    "dH",
    "padW",
    "padH",
    "adjW",
    "adjH",
    "nGroup",
]


def _full(values: dict[str, Any]) -> dict[str, Any]:
    numbers = values.pop("intParams")
    if len(numbers) != len(FULL):
        raise ValueError(f"{len(FULL)} numbers in intParams")
    return values | dict(zip(FULL, numbers, strict=True))


def _write_full(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["intParams"] = array_attr("INT32", [int(getattr(module, f)) for f in FULL])
    _write_no_bias(writer, module, record, path)


def _write_no_bias(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["noBias"] = attr("BOOL", module.bias is None)


def _write_share_axes(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["shareAxes"] = array_attr("INT32", None)
    for name in ("tLeft", "aLeft", "tRight", "aRight"):
        record.attr[name] = writer.tensor_attr(getattr(module, name), f"{path}.{name}")


def _write_separable(writer: Any, module: Any, record: Record, path: str) -> None:
    names = ("depthWeight", "pointWeight", "bias")
    for name, tensor in zip(names, record.parameters, strict=False):
        record.attr[name] = attr("TENSOR", tensor)
    if module.bias is None:
        record.attr["bias"] = writer.null_tensor()


def _read_means(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    values = entry.values(record.attr, reader.file, path)
    module = entry.cls(values["dimension"], values["nInputDims"])
    module.squeeze = values["squeeze"]
    return module


SPECIAL: list[Entry] = [
    declared("CAddTable(inplace:b=false)", OURS, types=2),
    declared(
        "Add(inputSize:i#bias.0) bias",
        OURS,
        more={"scalar": False},
        options={"scalar": False},
    ),
    declared(
        "Dropout(initP:d>p, inplace:b=false, scale:b@v2=true)",
        OURS,
        check=_dropout,
        options={"stochastic_inference": False},
    ),
    declared("Mean(dimension:a, nInputDims:i?-1, squeeze:b=true)", OURS, read=_read_means),
    declared("Reshape(size:I)", OURS, read=_read_reshape, write=_write_reshape),
    declared("View(sizes:I@size)", OURS, read=_spread("sizes")),
    declared("Squeeze", OURS, read=_read_squeeze, write=_write_squeeze),
    declared(
        f"Unsqueeze(numInputDims:i?{LEAST}=none)",
        OURS,
        read=_read_unsqueeze,
        write=_write_unsqueeze,
    ),
    declared("Transpose(size:i@size)", OURS, read=_read_transpose, write=_write_transpose),
    declared("SoftMax", OURS, read=_read_softmax, write=_write_softmax),
    declared(
        f"SpatialMaxPooling({WINDOW}, {FORMAT})",
        OURS,
        read=read_fields(ceil_mode="ceil_mode"),
        write=write_fields(ceil_mode="ceil_mode"),
    ),
    declared(
        f"VolumetricMaxPooling({VOLUME})",
        OURS,
        read=read_fields(ceil_mode="ceilMode"),
        write=_write_pooling,
    ),
    declared("Sqrt", OURS, options={"eps": 0}),
    declared(
        "Euclidean(inputSize:i#weight.0, outputSize:i#weight.1, fastBackward:b!true) weight", OURS
    ),
    declared(
        "LookupTable(nIndex:i#weight.0, nOutput:i#weight.1, paddingValue:d=0, maxNorm:d=1e999, "
        "normType:d=2, shouldScaleGradByFreq:b=false, wRegularizer:R, maskZero:b=false) weight",
        OURS,
        check=_lookup,
        write=_write_lookup,
    ),
    declared(
        f"SpatialFullConvolution(intParams:I, {REG}) weight/full bias",
        OURS,
        check=_full,
        write=_write_full,
    ),
    declared(
        f"VolumetricFullConvolution({PLANES}, {VOLUME}, adjT:i, adjW:i, adjH:i, nGroup:i=1, {REG}) "
        "weight/full bias",
        OURS,
        write=_write_no_bias,
    ),
    declared(
        "SReLU(shape:I#tLeft) tLeft aLeft tRight aRight",
        OURS,
        write=_write_share_axes,
    ),
    declared(
        "SpatialSeparableConvolution(nInputChannel:i@nInputPlane, nOutputChannel:i@nOutputPlane, "
        "depthMultiplier:i, kW:i, kH:i, sW:i@dW, sH:i@dH, pW:i@padW, pH:i@padH, hasBias:b#bias, "
        "dataFormat:F@format=NCHW, wRegularizer:R, bRegularizer:R, pRegularizer:R, "
        "initDepthWeight:T, initPointWeight:T, initBias:T) weight/depth pointWeight/point bias",
        OURS,
        write=_write_separable,
    ),
]

LAYERS: list[Entry] = [
    *(declared(line, OURS) for line in SIMPLE.strip().splitlines()),
    *SPECIAL,
]
