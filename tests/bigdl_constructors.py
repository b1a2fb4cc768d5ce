"""BigDL's constructors, as recordings call them, translated into those of tapegrad.nn.

CONSTRUCTORS has a line for each class: the arguments of its Scala `apply` in their order, defaults
where there are some, and what an argument becomes here:

    name:axis      a dimension, an index or a list of them, counted from 1 there and from 0 here
    name>other     the argument has another name here; `>*` spreads a list over positional ones
    name>@field    the value of the parameter or attribute `field` of the new module
    name>field()   a method that is called if the value is true

An argument that the class here does not have is left out if it has its default, else an error.
This is the only place where numbers that count from 1 become numbers that count from 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from bigdl_scala import evaluate

from tapegrad import nn
from tapegrad.autograd import Tensor

__all__ = ["build", "constructor_names"]

REGULARIZERS = "wRegularizer=null, bRegularizer=null"
INITIAL = (
    "initWeight=null>@weight, initBias=null>@bias, initGradWeight=null>@gradWeight, "
    "initGradBias=null>@gradBias"
)
CELL = f"{REGULARIZERS.replace(', ', ', uRegularizer=null, ')}"
NCHW = '"NCHW"'

CONSTRUCTORS = f"""
Abs()
ActivityRegularization(l1, l2)
Add(inputSize)
AddConstant(constant_scalar, inplace=false)
BatchNormalization(nOutput, eps=1e-5, momentum=0.1, affine=true, {INITIAL})
BiRecurrent(merge=null, batchNormParams=null, isSplitInput=false)
BifurcateSplitTable(dimension:axis)
Bilinear(inputSize1, inputSize2, outputSize, biasRes=true>bias, {REGULARIZERS})
BinaryThreshold(th=1e-6>threshold, ip=false>inplace)
BinaryTreeLSTM(inputSize, hiddenSize, gateOutput=true, withGraph=true)
Bottle(module, nInputDim=2, nOutputDim=null)
CAdd(size>*, bRegularizer=null)
CAddTable(inplace=false)
CAveTable(inplace=false)
CDivTable()
CMaxTable()
CMinTable()
CMul(size>*, wRegularizer=null)
CMulTable()
CSubTable()
Clamp(min>min_value, max>max_value)
Concat(dimension:axis)
ConcatTable()
Contiguous()
ConvLSTMPeephole(inputSize, outputSize, kernelI, kernelC, stride=1, padding=-1, activation=null, \
innerActivation=null, {CELL}, cRegularizer=null, withPeephole=true)
ConvLSTMPeephole3D(inputSize, outputSize, kernelI, kernelC, stride=1, padding=-1, {CELL}, \
cRegularizer=null, withPeephole=true)
Cosine(inputSize, outputSize)
CosineDistance()
Cropping2D(heightCrop, widthCrop, format={NCHW})
Cropping3D(dim1Crop, dim2Crop, dim3Crop, format="channel_first")
CrossProduct(numTensor=0, embeddingSize=0)
DenseToSparse(propagateBack=true)
DotProduct()
Dropout(initP=0.5>p, inplace=false, scale=true)
ELU(alpha=1.0, inplace=false)
Echo()
Euclidean(inputSize, outputSize, fastBackward=true)
Exp()
ExpandSize(targetSizes)
FeedForwardNetwork(hiddenSize, filterSize, reluDropout)
FlattenTable()
GRU(inputSize=4, outputSize=3, p=0.0, activation=null, innerActivation=null, {CELL})
GaussianDropout(rate)
GaussianNoise(stddev)
GaussianSampler()
GradientReversal(lambda=1.0>lambda_)
HardShrink(lambda=0.5>lambda_)
HardSigmoid()
HardTanh(minValue=-1.0>min_value, maxValue=1.0>max_value, inplace=false)
Highway(size, withBias=true, activation=null, {REGULARIZERS})
Identity()
Index(dimension:axis)
InferReshape(size, batchMode=false)
JoinTable(dimension:axis, nInputDims)
L1Penalty(l1weight, sizeAverage=false, provideOutput=true)
LSTM(inputSize, hiddenSize, p=0.0, activation=null, innerActivation=null, {CELL})
LSTMPeephole(inputSize=4, hiddenSize=3, p=0.0, {CELL})
LayerNormalization(hiddenSize)
LeakyReLU(negval=0.01, inplace=false)
Linear(inputSize, outputSize, withBias=true>bias, {REGULARIZERS}, {INITIAL})
LocallyConnected1D(nInputFrame, inputFrameSize, outputFrameSize, kernelW, strideW=1, \
propagateBack=true, {REGULARIZERS}, {INITIAL})
LocallyConnected2D(nInputPlane, inputWidth, inputHeight, nOutputPlane, kernelW, kernelH, \
strideW=1, strideH=1, padW=0, padH=0, propagateBack=true, {REGULARIZERS}, {INITIAL}, \
withBias=true, format={NCHW})
Log()
LogSigmoid()
LogSoftMax()
LookupTable(nIndex, nOutput, paddingValue=0:index, maxNorm=1.7976931348623157e308, normType=2.0, \
shouldScaleGradByFreq=false, wRegularizer=null, maskZero=false)
MM(transA=false, transB=false)
MV(trans=false)
MapTable(module=null)
MaskedSelect()
Masking(maskValue=0.0)
Max(dim=1:axis>dimension, numInputDims=-2147483648>nInputDims)
Maxout(inputSize, outputSize, maxoutNumber, withBias=true, {REGULARIZERS}, initWeight=null, \
initBias=null)
Mean(dimension=1:axis, nInputDims=-1, squeeze=true)
Min(dim=1:axis>dimension, numInputDims=-2147483648>nInputDims)
MixtureTable(dim=2147483647:axis)
Mul(wRegularizer=null)
MulConstant(scalar>constant_scalar, inplace=false)
MultiRNNCell(cells)
Narrow(dimension:axis, offset:axis, length=1)
NarrowTable(offset:axis, length=1)
Negative(inplace=false)
NegativeEntropyPenalty(beta=0.01)
Normalize(p, eps=1e-10)
NormalizeScale(p, eps=1e-10, scale, size, wRegularizer=null)
PReLU(nOutputPlane=0)
Pack(dimension:axis)
Padding(dim:axis, pad, nInputDim, value=0.0, nIndex=1:axis>index)
PairwiseDistance(norm=2>p)
ParallelTable()
Power(power>p, scale=1.0, shift=0.0)
RReLU(lower=0.125, upper=0.3333333333333333, inplace=false)
ReLU(ip=false>inplace)
ReLU6(inplace=false)
Recurrent(batchNormParams=null, maskZero=false)
RecurrentDecoder(outputLength>seqLength)
Replicate(nFeatures>nfeatures, dim=1:axis, nDim=2147483647>ndim)
Reshape(size>*, batchMode=null)
ResizeBilinear(outputHeight, outputWidth, alignCorners=false, dataFormat={NCHW}>format)
Reverse(dimension=1:axis, isInplace=false>inplace)
RnnCell(inputSize=4, hiddenSize=3, activation, isInputWithBias=true, isHiddenWithBias=true, {CELL})
SReLU(shape, shareAxes=null:axis)
Scale(size>*)
Select(dimension:axis, index:axis)
SelectTable(index:axis)
Sequential()
Sigmoid()
SoftMax(axis=-1)
SoftMin()
SoftPlus(beta=1.0)
SoftShrink(lambda=0.5>lambda_)
SoftSign()
SpatialAveragePooling(kW, kH, dW=1, dH=1, padW=0, padH=0, globalPooling=false, ceilMode=false, \
countIncludePad=true, divide=true, format={NCHW})
SpatialBatchNormalization(nOutput, eps=1e-5, momentum=0.1, affine=true, {INITIAL}, \
dataFormat={NCHW}>format)
SpatialContrastiveNormalization(nInputPlane=1, kernel=null, threshold=1e-4, thresval=1e-4)
SpatialConvolution(nInputPlane, nOutputPlane, kernelW>kW, kernelH>kH, strideW=1>dW, strideH=1>dH, \
padW=0, padH=0, nGroup=1, propagateBack=true, {REGULARIZERS}, {INITIAL}, withBias=true, \
format={NCHW})
SpatialConvolutionMap(connTable, kW, kH, dW=1, dH=1, padW=0, padH=0, {REGULARIZERS})
SpatialCrossMapLRN(size=5, alpha=1.0, beta=0.75, k=1.0, format={NCHW})
SpatialDilatedConvolution(nInputPlane, nOutputPlane, kW, kH, dW=1, dH=1, padW=0, padH=0, \
dilationW=1, dilationH=1, {REGULARIZERS})
SpatialDivisiveNormalization(nInputPlane=1, kernel=null, threshold=1e-4, thresval=1e-4)
SpatialDropout1D(initP=0.5>p)
SpatialDropout2D(initP=0.5>p, format={NCHW})
SpatialDropout3D(initP=0.5>p, format={NCHW})
SpatialFullConvolution(nInputPlane, nOutputPlane, kW, kH, dW=1, dH=1, padW=0, padH=0, adjW=0, \
adjH=0, nGroup=1, noBias=false>noBias(), {REGULARIZERS})
SpatialMaxPooling(kW, kH, dW=1, dH=1, padW=0, padH=0, format={NCHW})
SpatialSeparableConvolution(nInputChannel, nOutputChannel, depthMultiplier, kW, kH, sW=1, sH=1, \
pW=0, pH=0, hasBias=true, dataFormat={NCHW}>format, {REGULARIZERS}, pRegularizer=null, \
initDepthWeight=null>@weight, initPointWeight=null>@pointWeight, initBias=null>@bias)
SpatialShareConvolution(nInputPlane, nOutputPlane, kernelW>kW, kernelH>kH, strideW=1>dW, \
strideH=1>dH, padW=0, padH=0, nGroup=1, propagateBack=true, {REGULARIZERS}, {INITIAL}, \
withBias=true)
SpatialSubtractiveNormalization(nInputPlane=1, kernel=null)
SpatialWithinChannelLRN(size=5, alpha=1.0, beta=0.75)
SpatialZeroPadding(padLeft>pad_l, padRight>pad_r, padTop>pad_t, padBottom>pad_b)
SplitTable(dimension:axis, nInputDims=-1)
Sqrt()
Square()
Squeeze(dim=-2147483648:axis, numInputDims=-2147483648)
Sum(dimension=1:axis, nInputDims=-1, sizeAverage=false, squeeze=true)
Tanh()
TanhShrink()
TemporalConvolution(inputFrameSize, outputFrameSize, kernelW>kW, strideW=1>dW, \
propagateBack=true, {REGULARIZERS}, {INITIAL})
TemporalMaxPooling(kW, dW=1)
Threshold(th=1e-6>threshold, v=0.0>val, ip=false>inplace)
Tile(dim=1:axis, copies=2)
TimeDistributed(layer>module, maskZero=false)
Transpose(permutations:axis>*)
Unsqueeze(pos:axis, numInputDims=-2147483648)
UpSampling1D(length)
UpSampling2D(size, format={NCHW})
UpSampling3D(size)
View(...)
VolumetricAveragePooling(kT, kW, kH, dT=1, dW=1, dH=1, padT=0, padW=0, padH=0, \
countIncludePad=true, ceilMode=false)
VolumetricConvolution(nInputPlane, nOutputPlane, kT, kW, kH, dT=1, dW=1, dH=1, padT=0, padW=0, \
padH=0, withBias=true>bias, {REGULARIZERS})
VolumetricFullConvolution(nInputPlane, nOutputPlane, kT, kW, kH, dT=1, dW=1, dH=1, padT=0, padW=0, \
padH=0, adjT=0, adjW=0, adjH=0, nGroup=1, noBias=false>noBias(), {REGULARIZERS})
VolumetricMaxPooling(kT, kW, kH, dT=1, dW=1, dH=1, padT=0, padW=0, padH=0)
AbsCriterion(sizeAverage=true)
BCECriterion(weights=null, sizeAverage=true)
CategoricalCrossEntropy()
ClassNLLCriterion(weights=null, sizeAverage=true, logProbAsInput=true, \
paddingValue=-1:label>ignoreIndex)
ClassSimplexCriterion(nClasses)
CosineDistanceCriterion(sizeAverage=true)
CosineEmbeddingCriterion(margin=0.0, sizeAverage=true)
CosineProximityCriterion()
CrossEntropyCriterion(weights=null, sizeAverage=true)
DiceCoefficientCriterion(sizeAverage=true, epsilon=1.0)
DistKLDivCriterion(sizeAverage=true)
DotProductCriterion(sizeAverage=false)
GaussianCriterion()
HingeEmbeddingCriterion(margin=1.0, sizeAverage=true)
KLDCriterion(sizeAverage=true)
KullbackLeiblerDivergenceCriterion()
L1Cost()
L1HingeEmbeddingCriterion(margin=1.0)
MSECriterion(sizeAverage=true)
MarginCriterion(margin=1.0, sizeAverage=true, squared=false)
MarginRankingCriterion(margin=1.0, sizeAverage=true)
MeanAbsolutePercentageCriterion()
MeanSquaredLogarithmicCriterion()
MultiCriterion()
MultiLabelMarginCriterion(sizeAverage=true)
MultiLabelSoftMarginCriterion(weights=null, sizeAverage=true)
MultiMarginCriterion(p=1, weights=null, margin=1.0, sizeAverage=true)
PGCriterion(sizeAverage=false)
ParallelCriterion(repeatTarget=false)
PoissonCriterion()
SmoothL1Criterion(sizeAverage=true)
SmoothL1CriterionWithWeights(sigma, num=0)
SoftMarginCriterion(sizeAverage=true)
SoftmaxWithCriterion(ignoreLabel=null:label, normalizeMode="VALID")
TimeDistributedCriterion(critrn>criterion, sizeAverage=false, dimension=2:axis)
TimeDistributedMaskCriterion(critrn>criterion, paddingValue=0:label)
TransformerCriterion(criterion, inputTransformer=null, targetTransformer=null)
"""

# BigDL's names for what is called otherwise here, because Torch7 has another class of that name.
OTHERWISE = {"LSTM": "LSTMCell", "GRU": "GRUCell"}


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor; `default` is REQUIRED for one without."""

    name: str
    default: Any
    kind: str
    target: str


REQUIRED = object()


def _declared() -> dict[str, list[Argument]]:
    found = {}
    for line in CONSTRUCTORS.strip().splitlines():
        name, _, rest = line.removesuffix(")").partition("(")
        arguments = []
        for word in filter(None, rest.split(", ")):
            word, _, target = word.partition(">")
            word, _, kind = word.partition(":")
            word, has_default, default = word.partition("=")
            value = evaluate(default, {}) if has_default else REQUIRED
            arguments.append(Argument(word, value, kind, target or word))
        found[name] = arguments
    return found


DECLARED = _declared()


def constructor_names() -> list[str]:
    """BigDL's classes that `build` knows."""
    return list(DECLARED)


def from_zero(value: Any) -> Any:
    """Positions that count from 1, as positions that count from 0; negative ones stay."""
    if isinstance(value, (list, tuple)):
        return type(value)(from_zero(entry) for entry in value)
    return value - 1 if value is not None and value > 0 else value


def no_label(value: Any) -> Any:
    """A label that counts from 1, from 0; numbers that are none of the classes give None."""
    return value - 1 if value is not None and value > 0 else None


def before(value: int) -> int:
    """An index that counts from 1, from 0; 0, which is none, gives -1."""
    return value - 1


NO_LIMIT = (-(2**31), 2**31 - 1, 1.7976931348623157e308)
KINDS: dict[str, Callable[[Any], Any]] = {
    "": lambda value: value,
    "axis": from_zero,
    "index": before,
    "label": no_label,
}


def constructor(name: str) -> Callable[..., Any]:
    """The function that a Scala expression calls under the name of a BigDL class."""

    def make(*positional: Any, **named: Any) -> Any:
        cls = getattr(nn, OTHERWISE.get(name, name))
        declared = DECLARED[name]
        if declared and declared[0].name == "...":
            return cls(*positional, **named)
        given = dict(zip((a.name for a in declared), positional, strict=False)) | named
        assert len(positional) <= len(declared)
        assert given.keys() <= {argument.name for argument in declared}, f"{name}: {named}"
        takes = inspect.signature(cls).parameters
        spread: list[Any] = []
        arguments: dict[str, Any] = {}
        later: list[tuple[str, Any]] = []
        for argument in declared:
            value = given.get(argument.name, argument.default)
            if value is REQUIRED:
                raise TypeError(f"{name} needs {argument.name}")
            usual = value == argument.default
            if isinstance(value, (int, float)) and value in NO_LIMIT:
                continue
            value = KINDS[argument.kind](value)
            if argument.target == "*":
                spread = list(value)
            elif argument.target.startswith("@") or argument.target.endswith("()"):
                later.append((argument.target, value))
            elif argument.target in takes:
                arguments[argument.target] = value
            elif hasattr(cls, argument.target):
                later.append((f"={argument.target}", value))
            elif not usual:
                raise TypeError(f"nn.{cls.__name__} has no {argument.target}")
        module = cls(*spread, **arguments)
        for target, value in later:
            if target.endswith("()"):
                if value:
                    getattr(module, target[:-2])()
            elif target.startswith("="):
                setattr(module, target[1:], value)
            elif value is not None:
                getattr(module, target[1:]).numpy()[...] = value.numpy()
        return module

    return make


def vector(*entries: float) -> np.ndarray:
    return np.array(entries, np.float32)


def tensor(*arguments: Any) -> np.ndarray:
    """Tensor(Array(values), Array(lengths)), or Tensor(lengths …): of zeros."""
    if isinstance(arguments[0], (list, tuple)):
        values, *shape = arguments
        return np.array(values, np.float32).reshape(shape[0] if shape else -1)
    return np.zeros(arguments, np.float32)


NAMES: dict[str, Any] = {
    **{name: constructor(name) for name in DECLARED},
    "Array": lambda *entries: list(entries),
    "Seq": lambda *entries: list(entries),
    "Some": lambda value: value,
    "T": lambda *entries: list(entries),
    "t1": vector,
    "Tensor": tensor,
    "BatchNormParams": lambda eps=1e-5, momentum=0.1, affine=True, **_: {
        "eps": eps, "momentum": momentum, "affine": affine
    },
    "SpatialConvolutionMap.oneToOne": nn.tables.oneToOne,
    "SpatialConvolutionMap.full": nn.tables.full,
    "SpatialConvolutionMap.random": nn.tables.random,
    "DataFormat.NCHW": "NCHW",
    "DataFormat.NHWC": "NHWC",
    "NormMode.VALID": "VALID",
    "NormMode.FULL": "FULL",
    "NormMode.BATCH_SIZE": "BATCH_SIZE",
    "NormMode.NONE": "NONE",
    "Double.MaxValue": 1.7976931348623157e308,
    "Int.MaxValue": 2**31 - 1,
    "Int.MinValue": -(2**31),
    "Double.PositiveInfinity": float("inf"),
}  # fmt: skip


def build(expression: str) -> Any:
    """The module or criterion that a line of the manifest constructs.

    Raises ValueError for an expression, TypeError for an argument, that is not understood.
    """
    return evaluate(expression, NAMES)


def as_array(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, Tensor) else np.asarray(value)
