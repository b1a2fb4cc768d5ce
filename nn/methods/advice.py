"""What to write instead: words of PyTorch, Keras and Torch7 that modules do not have.

`Module.__getattr__` shows them; it is called for an attribute that does not exist, so it costs
nothing elsewhere.  Some names of classes follow, which `nn.NAME` shows.
"""

from __future__ import annotations

import difflib
from typing import Any

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
    "compile": "tapegrad.replay(step) records a step and replays it; " + _TRAIN,
    "count_params": "summary() counts them; sum(p.size for p in module.parameters()[0])",
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
    "requires_grad": "freeze() makes the parameters constants, unfreeze() lets them learn again",
    "to_empty": "to(device) moves a module, reset() draws its parameters again",
    "trainable": "freeze() makes the parameters constants, unfreeze() lets them learn again",
    "trainable_variables": "parameters()[0] lists them, named_trainable() has their names",
    "trainable_weights": "parameters()[0] lists them, named_trainable() has their names",
    "weights": "parameters()[0] lists them, named_parameters() has their names",
}

# Only names with another class here: what exists needs no advice, and is not shown.
OF_CLASSES = {
    "AvgPool1d": "SpatialAveragePooling, on an image of one row",
    "AvgPool2d": "SpatialAveragePooling",
    "BatchNorm1d": "BatchNormalization",
    "BatchNorm2d": "SpatialBatchNormalization",
    "BatchNorm3d": "VolumetricBatchNormalization",
    "BCELoss": "BCECriterion",
    "BCEWithLogitsLoss": "BCECriterion after a Sigmoid",
    "ConvTranspose2d": "SpatialFullConvolution",
    "CosineEmbeddingLoss": "CosineEmbeddingCriterion",
    "CrossEntropyLoss": "CrossEntropyCriterion",
    "Dense": "Linear(n_in, n_out)",
    "Dropout2d": "SpatialDropout",
    "Flatten": "Reshape(size) or View(size)",
    "HingeEmbeddingLoss": "HingeEmbeddingCriterion",
    "KLDivLoss": "DistKLDivCriterion",
    "L1Loss": "AbsCriterion",
    "MaxPool2d": "SpatialMaxPooling",
    "MaxPool3d": "VolumetricMaxPooling",
    "ModuleDict": "a dict of modules in an attribute, which is found as it is",
    "ModuleList": "a list of modules in an attribute, which is found as it is",
    "MSELoss": "MSECriterion",
    "MultiMarginLoss": "MultiMarginCriterion",
    "NLLLoss": "ClassNLLCriterion",
    "ParameterList": "a list with each Parameter, in an attribute: it is found as it is",
    "SmoothL1Loss": "SmoothL1Criterion",
    "SoftMarginLoss": "SoftMarginCriterion",
    "Softmax": "SoftMax",
    "LogSoftmax": "LogSoftMax",
    "Softmin": "SoftMin",
    "Softplus": "SoftPlus",
    "Softsign": "SoftSign",
    "Upsample": "SpatialUpSamplingNearest or SpatialUpSamplingBilinear",
    "UpsamplingNearest2d": "SpatialUpSamplingNearest",
    "ZeroPad2d": "SpatialZeroPadding",
    "functional": "the functions of tapegrad.ops",
}


def absent_attribute(module: Any, name: str) -> AttributeError:
    """The error for an attribute that a module does not have, with what to write instead."""
    text = f"{type(module).__name__!r} object has no attribute {name!r}"
    if name in OF_MODULES:
        text += f": {OF_MODULES[name]}"
    return AttributeError(text, name=name, obj=module)


def absent_class(name: str, known: list[str]) -> AttributeError:
    """The error for a name that nn does not have, with that of the class which does the same."""
    text = f"module 'tapegrad.nn' has no attribute {name!r}"
    if name in OF_CLASSES:
        return AttributeError(f"{text}: use {OF_CLASSES[name]}", name=name)
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.8)
    return AttributeError(f"{text}{f': is it nn.{lower[near[0]]}?' if near else ''}", name=name)
