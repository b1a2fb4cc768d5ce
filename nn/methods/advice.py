"""What to write instead: words of PyTorch, Keras, Torch7 and BigDL that modules do not have.

`Module.__getattr__` shows them; it is called for an attribute that does not exist, so it costs
nothing elsewhere.  Some names of classes follow, which `nn.NAME` shows.
"""

from __future__ import annotations

from typing import Any

from tapegrad.autograd.core.absent_name import absent_name

__all__ = ["absent_attribute", "absent_class", "absent_data"]

_TRAIN = "`optim.Trainer(model, criterion, optimizer).fit((x, target), epochs=1)`"
_LIST = (
    "`module.listModules()` and `module.named_modules()` have all modules, `module.children()` "
    "those directly below"
)
_FREEZE = "`module.freeze()` makes the parameters constants, `module.unfreeze()` lets them learn"
_NAMED = "`module.named_trainable()` has them with their names, `module.parameters()[0]` without"

# Code between backticks is run by a test, on a module called module, model or container.
OF_MODULES = {
    "add_module": "`module.name = layer`, in a container `container.add(layer)`",
    "append": "`container.add(layer)` appends, `container.insert(layer, 0)` inserts",
    "bfloat16": "NumPy has no bfloat16; `module.type(np.float16)` converts, `module.half()` too",
    "buffers": "`module.named_buffers()` has them with their names",
    "build": "a module has its parameters from its constructor on",
    "call": "write updateOutput (or forward), and call the module: `module(x)`",
    "compile_model": "`module.compile(criterion, optimizer)` is a training step",
    "count_params": "`module.summary()`, or `sum(p.size for p in module.parameters()[0])`",
    "export": '`nn.save(module, "model.onnx", inputs=x)`; `module.state_dict()` has the arrays',
    "extend": "`for layer in layers: container.add(layer)`",
    "extra_repr": "define describe(self, first) or __repr__",
    "fit": _TRAIN,
    "fit_generator": _TRAIN,
    "get_buffer": "`dict(module.named_buffers()).get(name)`",
    "get_config": "`repr(module)` shows the settings, `vars(module)` has them",
    "get_parameter": '`dict(module.named_parameters())["0.weight"]`',
    "get_submodule": '`dict(module.named_modules())["0"]`',
    "layers": _LIST,
    "load": "`nn.load(path)` makes a module, `module.load_state_dict(state)` fills one",
    "model_summary": "`module.summary(x)`",
    "modules": _LIST,
    "named_children": _LIST,
    "plot": "`nn.picture(module, x)`; of values `nn.plot_filters`, `nn.plot_histograms` and others",
    "plot_model": "`nn.picture(module, x)`",
    "pop": "`container.remove(1)`, or `del container[0]`",
    "register_backward_hook": "`module.register_full_backward_hook(hook)`",
    "register_buffer": "assign a Buffer: `module.name = nn.Buffer(array)`",
    "register_module": "`module.name = layer`",
    "register_parameter": "assign a Parameter: `module.name = nn.Parameter(array)`",
    "register_load_state_dict_post_hook": "what follows `module.load_state_dict(state)`",
    "requires_grad": _FREEZE,
    "share_memory": "parameters are NumPy arrays; threads and forked processes share them",
    "to_empty": '`module.to("cpu")` moves a module, `module.reset()` draws its parameters again',
    "trainable": _FREEZE,
    "trainable_variables": _NAMED,
    "trainable_weights": _NAMED,
    "weights": "`module.named_parameters()` has them with their names",
}

# Only names with another class here: what exists needs no advice, and is not shown.
OF_CLASSES = {
    "Activation": "ReLU, Tanh, Sigmoid and their kind: layers of their own",
    "AdaptiveAvgPool2d": "SpatialAdaptiveAveragePooling(W, H)",
    "AdaptiveMaxPool2d": "SpatialAdaptiveMaxPooling(W, H)",
    "Average": "CAveTable",
    "AveragePooling1D": "SpatialAveragePooling, on an image of one row",
    "AveragePooling2D": "SpatialAveragePooling",
    "AveragePooling3D": "VolumetricAveragePooling",
    "AvgPool1d": "SpatialAveragePooling, on an image of one row",
    "AvgPool2d": "SpatialAveragePooling",
    "AvgPool3d": "VolumetricAveragePooling",
    "BatchNorm1d": "BatchNormalization",
    "BatchNorm2d": "SpatialBatchNormalization",
    "BatchNorm3d": "VolumetricBatchNormalization",
    "BCELoss": "BCECriterion",
    "BCEWithLogitsLoss": "BCEWithLogitsCriterion",
    "Bidirectional": "BiSequencer, SeqBLSTM, or RNNLayer with bidirectional=True",
    "CELU": "ELU, or forward code of your own",
    "Concatenate": "JoinTable",
    "Conv1D": "Conv1d(in_channels, out_channels, kernel_size), of (N, C, T)",
    "Conv2D": "Conv2d(in_channels, out_channels, kernel_size), of (N, C, H, W)",
    "Conv2DTranspose": "SpatialFullConvolution",
    "Conv3D": "Conv3d(in_channels, out_channels, kernel_size), of (N, C, D, H, W)",
    "ConstantPad1d": "Padding",
    "ConstantPad2d": "SpatialZeroPadding, or np.pad in forward code",
    "ConvTranspose1d": "SpatialFullConvolution, on an image of one row",
    "ConvTranspose2d": "SpatialFullConvolution",
    "ConvTranspose3d": "VolumetricFullConvolution",
    "CosineEmbeddingLoss": "CosineEmbeddingCriterion",
    "CosineSimilarity": "CosineDistance",
    "CrossEntropyLoss": "CrossEntropyCriterion",
    "CTCLoss": "CTCCriterion",
    "DataParallel": "optim.DataParallel(model), or optim.Trainer under tapegrad run -n 4",
    "Dense": "Linear(n_in, n_out)",
    "DepthwiseConv2D": "Conv2d(channels, channels, kernel_size, groups=channels)",
    "Dot": "DotProduct",
    "Dropout1d": "SpatialDropout",
    "Dropout2d": "SpatialDropout",
    "Dropout3d": "VolumetricDropout",
    "FractionalMaxPool2d": "SpatialFractionalMaxPooling",
    "FractionalMaxPool3d": "VolumetricFractionalMaxPooling",
    "GaussianNLLLoss": "GaussianNLLCriterion",
    "GLU": "GatedLinearUnit",
    "GlobalAveragePooling1D": "Mean",
    "GlobalAveragePooling2D": "SpatialAdaptiveAveragePooling(1, 1)",
    "GlobalMaxPooling1D": "Max",
    "GlobalMaxPooling2D": "SpatialAdaptiveMaxPooling(1, 1)",
    "Hardshrink": "HardShrink",
    "Hardsigmoid": "Clamp, or np.clip(x / 6 + 0.5, 0, 1) in forward code",
    "Hardtanh": "HardTanh",
    "Hardswish": "x * np.clip(x / 6 + 0.5, 0, 1) in forward code",
    "HingeEmbeddingLoss": "HingeEmbeddingCriterion",
    "HuberLoss": "HuberCriterion",
    "InputLayer": "no layer for it: layers need no input shape",
    "InstanceNorm1d": "InstanceNorm",
    "InstanceNorm2d": "InstanceNorm",
    "InstanceNorm3d": "InstanceNorm",
    "KLDivLoss": "DistKLDivCriterion",
    "L1Loss": "AbsCriterion",
    "LPPool2d": "SpatialLPPooling",
    "Lambda": "a Module with forward code of a line",
    "LazyLinear": "Linear, with both sizes",
    "LocalResponseNorm": "SpatialCrossMapLRN",
    "LogSoftmax": "LogSoftMax",
    "MarginRankingLoss": "MarginRankingCriterion",
    "MaxPool1d": "TemporalMaxPooling",
    "MaxPool2d": "SpatialMaxPooling",
    "MaxPool3d": "VolumetricMaxPooling",
    "MaxPooling1D": "TemporalMaxPooling",
    "MaxPooling2D": "SpatialMaxPooling",
    "MaxPooling3D": "VolumetricMaxPooling",
    "Maximum": "CMaxTable",
    "Minimum": "CMinTable",
    "MultiheadAttention": "MultiHeadAttention",
    "Multiply": "CMulTable",
    "MaxUnpool2d": "SpatialMaxUnpooling",
    "MaxUnpool3d": "VolumetricMaxUnpooling",
    "ModuleDict": "a dict of modules in an attribute, which is found as it is",
    "ModuleList": "a list of modules in an attribute, which is found as it is",
    "MSELoss": "MSECriterion",
    "MultiLabelMarginLoss": "MultiLabelMarginCriterion",
    "MultiLabelSoftMarginLoss": "MultiLabelSoftMarginCriterion",
    "MultiMarginLoss": "MultiMarginCriterion",
    "NLLLoss": "ClassNLLCriterion",
    "NLLLoss2d": "SpatialClassNLLCriterion",
    "ParameterDict": "a dict with each Parameter, in an attribute: it is found as it is",
    "ParameterList": "a list with each Parameter, in an attribute: it is found as it is",
    "Permute": "Transpose, or x.transpose(…) in forward code",
    "PixelUnshuffle": "Reshape and Transpose",
    "PoissonNLLLoss": "PoissonNLLCriterion",
    "ReflectionPad2d": "SpatialReflectionPadding",
    "RepeatVector": "Replicate",
    "ReplicationPad2d": "SpatialReplicationPadding",
    "ReplicationPad3d": "VolumetricReplicationPadding",
    "RNN": "RNNLayer(cell, …)",
    "RNNCell": "RNNLayer, or a Module of one step in a Sequencer",
    "SeparableConv2D": "SpatialSeparableConvolution",
    "SimpleRNN": "RNNLayer(cell, …)",
    "Softshrink": "SoftShrink",
    "Subtract": "CSubTable",
    "SELU": "1.0507 * ELU(1.6733)(x) in forward code",
    "SmoothL1Loss": "SmoothL1Criterion",
    "SoftMarginLoss": "SoftMarginCriterion",
    "Softmax": "SoftMax",
    "Softmax2d": "SpatialSoftMax",
    "Softmin": "SoftMin",
    "Softplus": "SoftPlus",
    "Softsign": "SoftSign",
    "SyncBatchNorm": "SpatialBatchNormalization, on one device",
    "Tanhshrink": "TanhShrink",
    "TransformerDecoder": "TransformerDecoderLayer, in a loop",
    "TransformerEncoder": "TransformerEncoderLayer, in a Sequential",
    "TripletMarginLoss": "TripletMarginCriterion",
    "Unflatten": "View(…) or Reshape(…)",
    "Upsample": "SpatialUpSamplingNearest or SpatialUpSamplingBilinear",
    "UpsamplingBilinear2d": "SpatialUpSamplingBilinear",
    "UpsamplingNearest2d": "SpatialUpSamplingNearest",
    "ZeroPadding2D": "SpatialZeroPadding",
    "ZeroPad2d": "SpatialZeroPadding",
    "functional": "the functions of tapegrad.ops",
    "utils": "optim.clip_grad_norm, the WeightNorm and SpectralNorm layers, or getParameters()",
}


# Of PyTorch's utils.data and torchvision, looked for in nn.data.
OF_DATA = {
    "BatchSampler": "optim.Batches(x, y, batch_size=32)",
    "DataLoader": "optim.Batches(x, y, batch_size=32), or a function that makes batches: "
    "optim.Trainer takes both",
    "Dataset": "arrays, or a function that makes batches: optim.Trainer takes both",
    "TensorDataset": "optim.Batches(x, y)",
    "random_split": "optim.random_split(x, y, fractions=(0.8, 0.2))",
    "transforms": "the transformers of images in nn.data, such as Resize and CenterCrop",
}


def absent_attribute(module: Any, name: str) -> AttributeError:
    """The error for an attribute that a module does not have, with what to write instead."""
    text = f"{type(module).__name__!r} object has no attribute {name!r}"
    if name in OF_MODULES:
        text += f": {OF_MODULES[name]}"
    return AttributeError(text, name=name, obj=module)


def absent_class(name: str, known: list[str]) -> AttributeError:
    """The error for a name that nn does not have, with that of the class which does the same."""
    return absent_name("tapegrad.nn", name, OF_CLASSES, known)


def absent_data(name: str, known: list[str]) -> AttributeError:
    """The error for a name that nn.data does not have, with that of what does the same."""
    return absent_name("tapegrad.nn.data", name, OF_DATA, known)
