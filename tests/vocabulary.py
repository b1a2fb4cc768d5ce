"""The names of constructor arguments in nn: the one place that decides how they are spelled.

Where Torch7 (torch/nn, torch/rnn) has the class, its `__init` decides: TORCH7 has one line a class.
Where the name there is an abbreviation, or a word that Python reserves, and the field that it sets
is spelled out, the name is the field's: SPELLED_OUT.  What we take beside Torch7's arguments, and
all arguments of classes that Torch7 lacks, come from OURS, in which one idea has one name.
"""

from __future__ import annotations

# Torch7's names in the order of its `__init`; "..." stands for any number of positional arguments.
TORCH7 = """
Add(inputSize, scalar)
AddConstant(constant_scalar, ip)
AbsCriterion(sizeAverage)
BCECriterion(weights, sizeAverage)
BatchNormalization(nOutput, eps, momentum, affine)
BiSequencer(forward, backward, merge)
Bilinear(inputSize1, inputSize2, outputSize, bias)
Bottle(module, nInputDim, nOutputDim)
CAdd(...)
CAddTable(ip)
CMul(...)
CReLU(nInputDims, inplace)
Clamp(min_value, max_value)
ClassNLLCriterion(weights, sizeAverage, ignoreIndex)
ClassSimplexCriterion(nClasses)
Collapse(nInputDim)
Concat(dimension)
Constant(value, nInputDim)
Convert(inputShape, outputShape)
Copy(intype, outtype, forceCopy, dontCast)
Cosine(inputSize, outputSize)
CosineEmbeddingCriterion(margin)
CriterionTable(criterion)
CrossEntropyCriterion(weights, sizeAverage)
Decorator(module)
DepthConcat(dimension)
DistanceRatioCriterion(sizeAverage)
DontCast(module, castin, castout, moduleType)
Dropout(p, v1, inplace, stochasticInference)
ELU(alpha, inplace)
Euclidean(inputSize, outputSize)
FastLSTM(inputsize, outputsize)
FeatureLPPooling(width, stride, power, batch_mode)
GPU(module, device, outdevice)
GRU(inputsize, outputsize)
GatedLinearUnit(dim)
GradientReversal(lambda)
HardShrink(lam)
HardTanh(min_value, max_value, inplace)
HingeEmbeddingCriterion(margin)
Index(dimension)
IndexLinear(inputSize, outputSize, doGradInput, keysOffset, weight, bias, normalize)
JoinTable(dimension, nInputDims)
Kmeans(k, dim, scale)
L1HingeEmbeddingCriterion(margin)
L1Penalty(l1weight, sizeAverage, provideOutput)
LSTM(inputsize, outputsize)
LayerNormalization(nOutput, bias, eps, affine)
LeakyReLU(negval, ip)
Linear(inputSize, outputSize, bias)
LinearRNN(inputsize, outputsize, transfer)
LinearWeightNorm(inputSize, outputSize, bias, eps)
LookupRNN(nindex, outputsize, transfer)
LookupTable(nIndex, nOutput, paddingValue, maxNorm, normType)
LookupTableMaskZero(nIndex, nOutput)
MM(transA, transB)
MSECriterion(sizeAverage)
MV(trans)
MapTable(module, shared)
MarginCriterion(margin)
MarginRankingCriterion(margin)
MaskZero(module, v1, maskinput, maskoutput)
MaskZeroCriterion(criterion)
Max(dimension, nInputDims)
Maxout(inputSize, outputSize, maxoutNumber, preprocess)
Mean(dimension, nInputDims)
Min(dimension, nInputDims)
MixtureTable(dim)
ModuleCriterion(criterion, inputModule, targetModule, castTarget)
MuFuRu(inputsize, outputsize, ops)
MulConstant(constant_scalar, ip)
MultiLabelSoftMarginCriterion(weights, sizeAverage)
MultiMarginCriterion(p, weights, margin)
NaN(module, id)
Narrow(dimension, offset, length)
NarrowTable(offset, length)
Normalize(p, eps)
OneHot(outputSize)
PReLU(nOutputPlane)
Padding(dim, pad, nInputDim, value, index)
PairwiseDistance(p)
Parallel(inputDimension, outputDimension)
ParallelCriterion(repeatTarget)
PartialLinear(inputsize, outputsize, bias)
PixelShuffle(upscaleFactor)
Power(p)
PrintSize(prefix)
Profile(module, print_interval, name)
RReLU(l, u, ip)
ReLU(p)
ReLU6(inplace)
RecGRU(inputsize, outputsize)
RecLSTM(inputsize, hiddensize, outputsize)
Recurrence(stepmodule, outputSize, nInputDim)
Recursor(module)
Repeater(module, seqlen)
RepeaterCriterion(criterion)
Replicate(nf, dim, ndim)
Reshape(...)
SAdd(addend, negate)
Select(dimension, index)
SelectTable(index)
SeqBGRU(inputsize, outputsize, merge)
SeqBLSTM(inputsize, outputsize, merge)
SeqGRU(inputsize, outputsize)
SeqLSTM(inputsize, hiddensize, outputsize)
Sequencer(module)
SequencerCriterion(criterion, sizeAverage)
SmoothL1Criterion(sizeAverage)
SoftMax()
SoftPlus(beta)
SoftShrink(lam)
SparseLinear(inputSize, outputSize, doGradInput)
SpatialAdaptiveAveragePooling(W, H)
SpatialAdaptiveMaxPooling(W, H)
SpatialAutoCropMSECriterion(sizeAverage)
SpatialAveragePooling(kW, kH, dW, dH, padW, padH)
SpatialBatchNormalization(nOutput, eps, momentum, affine)
SpatialClassNLLCriterion(weights, sizeAverage)
SpatialContrastiveNormalization(nInputPlane, kernel, threshold, thresval)
SpatialConvolution(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH)
SpatialConvolutionLocal(nInputPlane, nOutputPlane, iW, iH, kW, kH, dW, dH, padW, padH)
SpatialConvolutionMM(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH)
SpatialConvolutionMap(connTable, kW, kH, dW, dH)
SpatialCrossMapLRN(size, alpha, beta, k)
SpatialDepthWiseConvolution(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH)
SpatialDilatedConvolution(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH, dilationW, \
dilationH)
SpatialDilatedMaxPooling(kW, kH, dW, dH, padW, padH, dilationW, dilationH)
SpatialDivisiveNormalization(nInputPlane, kernel, threshold, thresval)
SpatialDropout(p, stochasticInference)
SpatialFractionalMaxPooling(poolSizeW, poolSizeH, arg1, arg2)
SpatialFullConvolution(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH, adjW, adjH)
SpatialFullConvolutionMap(connTable, kW, kH, dW, dH)
SpatialLPPooling(nInputPlane, pnorm, kW, kH, dW, dH)
SpatialMaxPooling(kW, kH, dW, dH, padW, padH)
SpatialMaxUnpooling(poolingModule)
SpatialReflectionPadding(pad_l, pad_r, pad_t, pad_b)
SpatialReplicationPadding(pad_l, pad_r, pad_t, pad_b)
SpatialSoftMax()
SpatialSubSampling(nInputPlane, kW, kH, dW, dH)
SpatialSubtractiveNormalization(nInputPlane, kernel)
SpatialUpSamplingBilinear(params)
SpatialUpSamplingNearest(scale)
SpatialZeroPadding(pad_l, pad_r, pad_t, pad_b)
SplitTable(dimension, nInputDims)
Sqrt(b)
Squeeze(dim, numInputDims)
StepGRU(inputsize, outputsize)
StepLSTM(inputsize, hiddensize, outputsize)
StochasticGradient(module, criterion)
Sum(dimension, nInputDims, sizeAverage, squeeze)
TemporalConvolution(inputFrameSize, outputFrameSize, kW, dW)
TemporalDynamicKMaxPooling(minK, factor)
TemporalMaxPooling(kW, dW)
TemporalRowConvolution(inputFrameSize, kW, dW, featFirst)
TemporalSubSampling(inputFrameSize, kW, dW)
Threshold(th, v, ip)
Transpose(...)
Unsqueeze(pos, numInputDims)
UpSampling(params, mode)
View(...)
VolumetricAveragePooling(kT, kW, kH, dT, dW, dH)
VolumetricBatchNormalization(nOutput, eps, momentum, affine)
VolumetricConvolution(nInputPlane, nOutputPlane, kT, kW, kH, dT, dW, dH, padT, padW, padH)
VolumetricDilatedConvolution(nInputPlane, nOutputPlane, kT, kW, kH, dT, dW, dH, padT, padW, padH, \
dilationT, dilationW, dilationH)
VolumetricDilatedMaxPooling(kT, kW, kH, dT, dW, dH, padT, padW, padH, dilationT, dilationW, \
dilationH)
VolumetricDropout(p, stochasticInference)
VolumetricFractionalMaxPooling(poolSizeT, poolSizeW, poolSizeH, arg1, arg2, arg3)
VolumetricFullConvolution(nInputPlane, nOutputPlane, kT, kW, kH, dT, dW, dH, padT, padW, padH, \
adjT, adjW, adjH)
VolumetricMaxPooling(kT, kW, kH, dT, dW, dH, padT, padW, padH)
VolumetricMaxUnpooling(poolingModule)
VolumetricReplicationPadding(pleft, pright, ptop, pbottom, pfront, pback)
WeightNorm(module, outputDim)
WeightedEuclidean(inputSize, outputSize)
WeightedMSECriterion(w)
WhiteNoise(mean, std)
gModule(inputs, outputs)
"""

# BigDL's names, of classes that Torch7 lacks, where they are not those of OURS; a dimension is
# called as it is in Torch7.
BIGDL = """
ActivityRegularization(l1, l2)
Attention(hiddenSize, numHeads, attentionDropout)
BiRecurrent(merge, batchNormParams, isSplitInput)
BifurcateSplitTable(dimension)
BinaryThreshold(threshold, inplace)
BinaryTreeLSTM(inputSize, hiddenSize, gateOutput, withGraph)
BoxHead(inChannels, resolution, scales, samplingRatio, scoreThresh, nmsThresh, maxPerImage, \
outputSize, numClasses)
CAveTable(inplace)
ConvLSTMPeephole(inputSize, outputSize, kernelI, kernelC, stride, padding, activation, \
innerActivation, withPeephole)
ConvLSTMPeephole3D(inputSize, outputSize, kernelI, kernelC, stride, padding, withPeephole)
CosineDistanceCriterion(sizeAverage)
Cropping2D(heightCrop, widthCrop, format)
Cropping3D(dim1Crop, dim2Crop, dim3Crop, format)
CrossProduct(numTensor, embeddingSize)
DenseToSparse(propagateBack)
DetectionOutputFrcnn(nmsThresh, nClasses, bboxVote, maxPerImage, thresh)
DetectionOutputSSD(nClasses, shareLocation, bgLabel, nmsThresh, nmsTopk, keepTopK, confThresh, \
varianceEncodedInTarget, confPostProcess)
DiceCoefficientCriterion(sizeAverage, epsilon)
DotProductCriterion(sizeAverage)
Echo(feval, beval)
ExpandSize(targetSizes)
FPN(inChannels, outChannels, topBlocks, inChannelsP6P7, outChannelsP6P7)
FeedForwardNetwork(hiddenSize, filterSize, reluDropout)
GRUCell(inputSize, outputSize, p, activation, innerActivation)
GaussianDropout(rate)
GaussianNoise(stddev)
Highway(size, withBias, activation)
InferReshape(size, batchMode)
KLDCriterion(sizeAverage)
LSTMCell(inputSize, hiddenSize, p, activation, innerActivation)
LSTMPeephole(inputSize, hiddenSize, p)
LocallyConnected1D(nInputFrame, inputFrameSize, outputFrameSize, kernelW, strideW, propagateBack)
LocallyConnected2D(nInputPlane, inputWidth, inputHeight, nOutputPlane, kernelW, kernelH, \
strideW, strideH, padW, padH, propagateBack, withBias, format)
LookupTableSparse(nIndex, nOutput, combiner, maxNorm)
MaskHead(inChannels, resolution, scales, samplingRatio, layers, dilation, numClasses, useGn)
Masking(maskValue)
MultiRNNCell(cells)
Negative(inplace)
NegativeEntropyPenalty(beta)
NormalizeScale(p, eps, scale, size)
PGCriterion(sizeAverage)
Pack(dimension)
PaddingMask(paddingValue)
Pooler(resolution, scales, samplingRatio)
PriorBox(minSizes, maxSizes, aspectRatios, isFlip, isClip, variances, offset, imgH, imgW, \
imgSize, stepH, stepW, step)
Proposal(preNmsTopN, postNmsTopN, ratios, scales, rpnPreNmsTopNTrain, rpnPostNmsTopNTrain)
Recurrent(batchNormParams, maskZero)
RecurrentDecoder(seqLength)
RegionProposal(inChannels, anchorSizes, aspectRatios, anchorStride, preNmsTopNTest, \
postNmsTopNTest, preNmsTopNTrain, postNmsTopNTrain, nmsThread, minSize)
ResizeBilinear(outputHeight, outputWidth, alignCorners, format)
Reverse(dimension, inplace)
RnnCell(inputSize, hiddenSize, activation, isInputWithBias, isHiddenWithBias)
RoiAlign(spatialScale, samplingRatio, pooledH, pooledW, mode, aligned)
RoiPooling(pooledW, pooledH, spatialScale)
SReLU(shape, shareAxes)
Scale(sizes)
SequenceBeamSearch(vocabSize, beamSize, alpha, maxDecodeLength, eosID, paddingValue, \
numHiddenLayers, hiddenSize)
SmoothL1CriterionWithWeights(sigma, num)
SoftmaxWithCriterion(ignoreLabel, normalizeMode)
SparseJoinTable(dimension)
SpatialDropout1D(p)
SpatialDropout2D(p, format)
SpatialDropout3D(p, format)
SpatialSeparableConvolution(nInputChannel, nOutputChannel, depthMultiplier, kW, kH, sW, sH, pW, \
pH, hasBias, format)
SpatialShareConvolution(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH, nGroup, \
propagateBack, withBias, format)
SpatialWithinChannelLRN(size, alpha, beta)
TableOperation(module)
Tile(dim, copies)
TimeDistributed(module, maskZero)
TimeDistributedCriterion(criterion, sizeAverage, dimension)
TimeDistributedMaskCriterion(criterion, paddingValue)
Transformer(vocabSize, hiddenSize, numHeads, filterSize, numHiddenlayers, embeddingDropout, \
attentionDropout, ffnDropout, paddingValue, withShareWeightsLinear, transformerType)
TransformerCriterion(criterion, inputTransformer, targetTransformer)
UpSampling1D(length)
UpSampling2D(size, format)
UpSampling3D(size)
"""

# (class, Torch7's argument): the field that it sets, whose name is the argument's here.
SPELLED_OUT = {
    ("AddConstant", "ip"): "inplace",
    ("CAddTable", "ip"): "inplace",
    ("GradientReversal", "lambda"): "lambda_",
    ("HardShrink", "lam"): "lambda_",
    ("LeakyReLU", "ip"): "inplace",
    ("MulConstant", "ip"): "inplace",
    ("RReLU", "ip"): "inplace",
    ("RReLU", "l"): "lower",
    ("RReLU", "u"): "upper",
    ("ReLU", "p"): "inplace",
    ("Replicate", "nf"): "nfeatures",
    ("SoftShrink", "lam"): "lambda_",
    ("Sqrt", "b"): "eps",
    ("Threshold", "ip"): "inplace",
    ("Threshold", "th"): "threshold",
    ("Threshold", "v"): "val",
    ("WeightedMSECriterion", "w"): "weight",
}

# One name for one idea.
OURS = {
    "align_corners": "whether -1 and 1 are the centres of the outer pixels, not their edges",
    "alpha": "the weight of positive targets in a focal loss, 1 - alpha of negative ones",
    "activation": "a nonlinearity by its name: 'relu'",
    "affine": "whether a normalization has a learned weight and bias",
    "approximate": "how a function is approximated; 'none'",
    "axes": "several axes of an array, from 0",
    "axis": "one axis of an array, from 0",
    "batch_first": "whether the axis of samples comes before the axis of steps",
    "blank": "the class that stands for no label in CTC",
    "bias": "whether there is a learned bias",
    "bidirectional": "whether a second network runs against the sequence",
    "causal": "whether a step may look at no later step",
    "cell": "the equations of a recurrent step, by name",
    "criterion": "the criterion that another one contains",
    "delta": "from which distance a loss grows linearly",
    "dilation": "distance of neighbouring kernel entries",
    "dropout": "the probability of dropping, in a layer that does more than that",
    "embed_dim": "entries of the vector of one token or step",
    "end_dim": "the last of several neighbouring axes, from 0",
    "eps": "a small number that keeps a denominator from 0",
    "feedforward_dim": "entries of the hidden vector of a feed-forward part",
    "full": "whether a likelihood has the terms that do not depend on the prediction",
    "gamma": "the exponent of a focal loss",
    "groups": "into how many groups channels are divided, whose outputs see only their inputs",
    "hidden_features": "entries of a recurrent state",
    "in_channels": "channels of the input",
    "in_features": "entries of the input's last axis",
    "inputs": "the inputs of a graph: a node, or a list of nodes",
    "kernel_size": "entries of a kernel, along every axis or one by one",
    "log_input": "whether the prediction is the logarithm of what is compared",
    "margin": "by how much a distance must be larger than another",
    "mode": "which of a few ways to compute, by its name",
    "module": "the module that another one contains",
    "modules": "modules that a container contains",
    "momentum": "how far running statistics move towards those of a batch",
    "need_weights": "whether an attention returns its weights too",
    "norm_first": "whether a sublayer's input is normalized, instead of its sum with the output",
    "normalized_shape": "the last axes, over which a normalization averages",
    "num_channels": "channels of an input whose output has as many",
    "num_embeddings": "rows of a table of vectors",
    "num_groups": "groups of channels that are normalized together",
    "num_heads": "heads of an attention",
    "num_layers": "recurrent networks, each of which sees the outputs of the one before",
    "out_channels": "channels of the output",
    "out_features": "entries of the output's last axis",
    "output_size": "entries of the output, along every axis or one by one",
    "outputs": "the outputs of a graph: a node, or a list of nodes",
    "p": "a probability, or the order of a norm",
    "padding": "entries added at both ends of an axis",
    "padding_mode": "what stands outside of an array: 'zeros', 'border'",
    "padding_idx": "the row of a table of vectors that is never learned",
    "pos_weight": "the weight of positive targets",
    "reduction": "what a criterion returns of its losses: 'mean', 'sum' or 'none'",
    "start_dim": "the first of several neighbouring axes, from 0",
    "stride": "distance of neighbouring windows",
    "swap": "whether the negative may be compared with the positive, too",
    "weights": "factors of classes or entries in a loss",
    "zero_infinity": "whether a loss of infinity counts as 0",
}

# Arguments of Torch7's variable lists ("..."), and ours beside its own.
OURS_BESIDE = {
    "SoftMax": ("axis",),
    "SpatialSoftMax": ("axis",),
    "VolumetricFullConvolution": ("nGroup",),
    "VolumetricConvolution": ("withBias",),
    "VolumetricAveragePooling": ("padT", "padW", "padH", "countIncludePad", "ceilMode"),
    "SpatialMaxPooling": ("format",),
    "SpatialFullConvolutionMap": ("padW", "padH"),
    "SpatialFullConvolution": ("nGroup",),
    "SpatialCrossMapLRN": ("format",),
    "SpatialConvolutionMap": ("padW", "padH"),
    "SpatialConvolution": ("nGroup", "propagateBack", "withBias", "format"),
    "SpatialBatchNormalization": ("format",),
    "SpatialAveragePooling": ("globalPooling", "ceilMode", "countIncludePad", "divide", "format"),
    "Power": ("scale", "shift"),
    "MarginCriterion": ("squared",),
    "LookupTable": ("shouldScaleGradByFreq", "maskZero"),
    "Concat": ("modules",),
    "DepthConcat": ("modules",),
    "Parallel": ("modules",),
    "CAdd": ("sizes",),
    "CMul": ("sizes",),
    "Reshape": ("sizes", "batchMode"),
    "Transpose": ("permutations",),
    "View": ("sizes",),
    "AbsCriterion": ("reduction",),
    "BCECriterion": ("reduction",),
    "ClassNLLCriterion": ("reduction", "logProbAsInput"),
    "CrossEntropyCriterion": ("ignoreIndex", "label_smoothing", "reduction", "axis"),
    "MSECriterion": ("reduction",),
    "MultiLabelSoftMarginCriterion": ("reduction",),
    "SmoothL1Criterion": ("reduction",),
    "SpatialAutoCropMSECriterion": ("reduction",),
    "SpatialClassNLLCriterion": ("ignoreIndex", "reduction"),
}


def torch7_arguments() -> dict[str, tuple[str, ...]]:
    """The names that each of Torch7's classes gives its constructor's arguments here, in order."""
    return _arguments_of(TORCH7)


def bigdl_arguments() -> dict[str, tuple[str, ...]]:
    """The names that each of BigDL's own classes gives its constructor's arguments here."""
    return _arguments_of(BIGDL)


def _arguments_of(table: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for line in table.split("\n"):
        name, _, arguments = line.strip().removesuffix(")").partition("(")
        if name:
            words = [
                word.strip() for word in arguments.split(",") if word.strip() not in ("", "...")
            ]
            found[name] = tuple(SPELLED_OUT.get((name, word), word) for word in words)
    return found
