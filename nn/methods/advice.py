"""What to write instead: words of PyTorch, Keras, Torch7 and BigDL that modules do not have.

`Module.__getattr__` shows them; it is called for an attribute that does not exist, so it costs
nothing elsewhere.  Some names of classes follow, which `nn.NAME` shows.
"""

from __future__ import annotations

from typing import Any

from tapegrad.autograd.core.absent_name import absent_name

__all__ = ["absent_attribute", "absent_class"]

_TRAIN = "optim.Trainer(model, criterion, optimizer).fit(…) trains a model"
_LIST = "listModules() and named_modules() have all modules, children() those directly below"

OF_MODULES = {
    "add_module": "assign the module to an attribute; container.add(module) appends one",
    "append": "container.add(module) appends, sequential.insert(module, index) inserts",
    "bfloat16": "NumPy has no bfloat16; type(np.float16) and type(np.float32) convert",
    "buffers": "named_buffers() has them with their names",
    "build": "a module has its parameters from its constructor on",
    "call": "write updateOutput (or forward), and call the module: module(x)",
    "count_params": "summary() counts them; sum(p.size for p in module.parameters()[0])",
    "export": "save(path) writes safetensors or Torch7's format; state_dict() has the arrays",
    "extend": "for module in modules: container.add(module)",
    "extra_repr": "define describe(self, first) or __repr__",
    "fit": _TRAIN,
    "get_buffer": "dict(module.named_buffers())[name]",
    "get_config": "repr(module) shows the settings, vars(module) has them",
    "get_parameter": "dict(module.named_parameters())[name]",
    "get_submodule": "dict(module.named_modules())[name]",
    "layers": _LIST,
    "load": "nn.load(path) makes a module, load_state_dict(…) fills one",
    "modules": _LIST,
    "named_children": _LIST,
    "pop": "sequential.remove(index), or del sequential[index]",
    "register_backward_hook": "register_full_backward_hook(hook)",
    "register_buffer": "assign a Buffer: module.name = nn.Buffer(array)",
    "register_module": "assign the module to an attribute",
    "register_parameter": "assign a Parameter: module.name = nn.Parameter(array)",
    "register_load_state_dict_post_hook": "a method of yours around load_state_dict(…)",
    "requires_grad": "freeze() makes the parameters constants, unfreeze() lets them learn again",
    "share_memory": "parameters are NumPy arrays; threads and forked processes share them",
    "to_empty": "to(device) moves a module, reset() draws its parameters again",
    "trainable": "freeze() makes the parameters constants, unfreeze() lets them learn again",
    "trainable_variables": "parameters()[0] lists them, named_trainable() has their names",
    "trainable_weights": "parameters()[0] lists them, named_trainable() has their names",
    "weights": "parameters()[0] lists them, named_parameters() has their names",
}

# Only names with another class here: what exists needs no advice, and is not shown.
OF_CLASSES = {
    "Activation": "ReLU, Tanh, Sigmoid and their kind: layers of their own",
    "AdaptiveAvgPool2d": "SpatialAdaptiveAveragePooling(W, H)",
    "AdaptiveMaxPool2d": "SpatialAdaptiveMaxPooling(W, H)",
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
    "ConstantPad1d": "Padding",
    "ConstantPad2d": "SpatialZeroPadding, or np.pad in forward code",
    "ConvTranspose1d": "SpatialFullConvolution, on an image of one row",
    "ConvTranspose2d": "SpatialFullConvolution",
    "ConvTranspose3d": "VolumetricFullConvolution",
    "CosineEmbeddingLoss": "CosineEmbeddingCriterion",
    "CosineSimilarity": "CosineDistance",
    "CrossEntropyLoss": "CrossEntropyCriterion",
    "CTCLoss": "CTCCriterion",
    "DataParallel": "one device for each model: there is no data parallelism here",
    "Dense": "Linear(n_in, n_out)",
    "Dropout1d": "SpatialDropout",
    "Dropout2d": "SpatialDropout",
    "Dropout3d": "VolumetricDropout",
    "FractionalMaxPool2d": "SpatialFractionalMaxPooling",
    "FractionalMaxPool3d": "VolumetricFractionalMaxPooling",
    "GaussianNLLLoss": "GaussianNLLCriterion",
    "GLU": "GatedLinearUnit",
    "GlobalAveragePooling1D": "Mean",
    "GlobalAveragePooling2D": "SpatialAdaptiveAveragePooling(1, 1)",
    "Hardsigmoid": "Clamp, or np.clip(x / 6 + 0.5, 0, 1) in forward code",
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
    "SELU": "1.0507 * ELU(1.6733)(x) in forward code",
    "SmoothL1Loss": "SmoothL1Criterion",
    "SoftMarginLoss": "SoftMarginCriterion",
    "Softmax": "SoftMax",
    "Softmax2d": "SpatialSoftMax",
    "Softmin": "SoftMin",
    "Softplus": "SoftPlus",
    "Softsign": "SoftSign",
    "SyncBatchNorm": "SpatialBatchNormalization, on one device",
    "TransformerDecoder": "TransformerDecoderLayer, in a loop",
    "TransformerEncoder": "TransformerEncoderLayer, in a Sequential",
    "TripletMarginLoss": "TripletMarginCriterion",
    "Unflatten": "View(…) or Reshape(…)",
    "Upsample": "SpatialUpSamplingNearest or SpatialUpSamplingBilinear",
    "UpsamplingBilinear2d": "SpatialUpSamplingBilinear",
    "UpsamplingNearest2d": "SpatialUpSamplingNearest",
    "ZeroPad2d": "SpatialZeroPadding",
    "functional": "the functions of tapegrad.ops",
    "utils": "optim.clip_grad_norm, the WeightNorm and SpectralNorm layers, or getParameters()",
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
