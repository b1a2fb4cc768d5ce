"""What Torch7's constructors leave in a module for its methods to work with.

A file is read there without calling constructors: what a method needs and does not make by itself
must be in the file.  Here are the fields that this package has no use for, by class; what a method
makes when it is missing (most of Torch7's working memory) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapegrad.nn.formats.torch7.objects import Storage, Table

__all__ = ["gradients", "is_state", "outputs", "state", "tensor"]

DType = np.dtype[Any]
Maker = Callable[[DType], Any]


def tensor(dtype: DType) -> Any:
    """A tensor of no entries, in the type of the module."""
    return np.empty(0, dtype)


def _one(dtype: DType) -> Any:
    return np.ones(1, dtype)


def _longs(size: int) -> Maker:
    return lambda _: Storage(np.zeros(size, np.int64), "torch.LongStorage")


def _integers(_: DType) -> Any:
    return np.empty(0, np.int64)


def _bytes(_: DType) -> Any:
    return np.empty(0, np.uint8)


def _table(_: DType) -> Any:
    return Table()


def _running(_: DType) -> Any:
    """Where IndexLinear gathers keys and gradients."""
    kept = {"cumSumSizes": Table(), "keys": Table(), "gradWeight": Table(), "counter": 1}
    return Table(kept)


_PAST = dict.fromkeys(("outputs", "gradOutputs", "_gradOutputs", "gradInputs"), _table)
_RECURRENT = _PAST | {"step": 1, "seqlen": 99_999, "rho": 99_999, "rmInSharedClones": True}
_CELLS = dict.fromkeys(("cells", "gradCells"), _table)
_ZEROS = dict.fromkeys(("zeroOutput", "zeroCell"), tensor)
_SEQUENCE = dict.fromkeys(("gates", "buffer1", "buffer2", "buffer3", "grad_a_buffer", "h0"), tensor)
_RECURRENCE = _RECURRENT | {"typeTensor": tensor, "zeroTensor": tensor}
_UNFOLDED = {"finput": tensor, "fgradInput": tensor}
_SCALED = {"inputSize": _longs(4), "outputSize": _longs(4)}

_LOOKUP = {
    "shouldScaleGradByFreq": False,
    "copiedInput": False,
    "paddingValue": 0,
    "_count": lambda _: np.empty(0, np.int32),
    "_input": _integers,
}

# Values, and functions that make them for a dtype.  A class has those of its bases too.
STATE: dict[str, dict[str, Any]] = {
    "Add": {"_ones": _one},
    "CMaxTable": dict.fromkeys(("maxIdx", "mask", "maxVals", "gradMaxVals"), tensor),
    "CMinTable": dict.fromkeys(("minIdx", "mask", "minVals", "gradMaxVals"), tensor),
    "ClassNLLCriterion": {
        "output_tensor": lambda dtype: np.zeros(1, dtype),
        "total_weight_tensor": _one,
        "target": lambda _: np.zeros(1, np.int64),
    },
    "ClassSimplexCriterion": {"_target": tensor},
    "Concat": {"outputSize": _longs(0)},
    "Convert": {"modules": _table},
    "Dropout": {"noise": tensor},
    "Euclidean": {"fastBackward": True},
    "FastLSTM": _RECURRENT | _CELLS | {"zeroTensor": tensor},
    "FlattenTable": {"input_map": _table},
    "GRU": _RECURRENT | _CELLS | {"zeroTensor": tensor},
    "IndexLinear": {
        **dict.fromkeys(("gradWeightBuffer", "valuesBuffer", "normalizedValues"), tensor),
        "normalize": 0,
        "weightDecay": 0,
        "running": _running,
        "sizesCache": _table,
        "cumSumSizesCache": _table,
    },
    "JoinTable": {"size": _longs(0)},
    "LSTM": _RECURRENT | _CELLS | {"zeroTensor": tensor},
    "LinearRNN": _RECURRENCE | {"nInputDim": 1},
    "LinearWeightNorm": {"weight": tensor, "norm": tensor, "scale": tensor, "dirty": True},
    "LookupRNN": _RECURRENCE | {"nInputDim": 0},
    "LookupTable": _LOOKUP,
    "LookupTableMaskZero": _LOOKUP,
    "MapTable": {"sharedparams": lambda _: ["weight", "bias", "gradWeight", "gradBias"]},
    "MaskedSelect": {
        "_maskIndices": _integers,
        "_maskIndexBuffer": _integers,
        "_gradMask": _bytes,
        "_maskIndexBufferCPU": lambda _: np.empty(0, np.float32),
        "_gradBuffer": tensor,
    },
    "MixtureTable": {
        **dict.fromkeys(("_gaterView", "_expert", "_expertView", "_sum", "_expertView2"), tensor),
        "size": _longs(0),
        "size2": _longs(0),
        "batchSize": 0,
        "backwardSetup": False,
    },
    "PReLU": {"gradWeightBuf": tensor, "gradWeightBuf2": tensor},
    "PairwiseDistance": {"diff": tensor},
    "Profile": dict.fromkeys(("numFwds", "numBwds", "summedFwdTime", "summedBwdTime"), 0),
    "RReLU": {"noise": tensor},
    "ReLU": {"threshold": 0, "val": 0},
    "RecGRU": _RECURRENT | _ZEROS,
    "RecLSTM": _RECURRENT | _CELLS | _ZEROS,
    "Recursor": _RECURRENT,
    "Repeater": {"_remember": "neither"},
    "SeqGRU": _SEQUENCE,
    "SeqLSTM": _SEQUENCE | {"cell": tensor, "c0": tensor},
    "Sequencer": dict.fromkeys(("tableoutput", "tablegradInput", "_output"), _table),
    "SoftPlus": {"threshold": 20},
    "SparseLinear": {"weightDecay": 0, "sparseUpdate": 0},
    "SpatialConvolutionLocal": _UNFOLDED,
    "SpatialDropout": {"noise": tensor},
    "SpatialFractionalMaxPooling": {"indices": _integers},
    "SpatialFullConvolution": {"ones": tensor},
    "SpatialUpSamplingBilinear": _SCALED,
    "SpatialUpSamplingNearest": _SCALED,
    "StepGRU": {"gates": tensor},
    "StepLSTM": {"gates": tensor},
    "UpSampling": {"inputSize": _longs(5), "outputSize": _longs(5)},
    "VolumetricDropout": {"noise": tensor},
    "VolumetricFractionalMaxPooling": {"indices": _integers},
    "VolumetricFullConvolution": _UNFOLDED,
    "WeightNorm": {"_norm": tensor, "_scale": tensor},
    "WeightedEuclidean": {"fastBackward": True},
    "WeightedMSECriterion": {"buffer": tensor},
    "WhiteNoise": {"noise": tensor},
}

# Modules whose input is a table fill the entries of a gradInput that must be there as a table: of
# this many tensors.
_GRADIENTS = {
    **dict.fromkeys(("Bilinear", "CosineDistance", "CosineEmbeddingCriterion", "DotProduct"), 2),
    **dict.fromkeys(("Index", "L1HingeEmbeddingCriterion", "MM", "MV", "PairwiseDistance"), 2),
    "MarginRankingCriterion": 2,
    "DistanceRatioCriterion": 2,
    "StepGRU": 2,
    "StepLSTM": 3,
    **dict.fromkeys(("CAddTable", "CAddTensorTable", "CDivTable", "CMaxTable", "CMinTable"), 0),
    **dict.fromkeys(("CMulTable", "CSubTable", "CriterionTable", "FlattenTable", "JoinTable"), 0),
    **dict.fromkeys(("MapTable", "NarrowTable", "ParallelCriterion", "ParallelTable"), 0),
    **dict.fromkeys(("SelectTable", "ZipTable", "ZipTableOneToMany"), 0),
    **dict.fromkeys(("SeqGRU", "SeqLSTM"), -1),  # a tensor, other than their bases here
}
_OUTPUTS = {
    **dict.fromkeys(("CAddTensorTable", "ConcatTable", "FlattenTable", "MapTable"), 0),
    **dict.fromkeys(("NarrowTable", "ParallelTable", "Repeater", "ZipTable"), 0),
    "Sequencer": 0,
    "StepLSTM": 2,
    "SeqLSTM": -1,
    "ZipTableOneToMany": 0,
}


def state(cls: type, dtype: DType) -> Iterator[tuple[str, Any]]:
    """(name, value) of the fields that a module of this class must have."""
    for base in cls.__mro__:
        for name, value in STATE.get(base.__name__, {}).items():
            yield name, value(dtype) if callable(value) else value


def is_state(cls: type, name: str) -> bool:
    """Whether a field of this name is such a one."""
    return any(name in STATE.get(base.__name__, ()) for base in cls.__mro__)


def outputs(cls: type, dtype: DType) -> Any:
    """The `output` of a new module."""
    return _new(_OUTPUTS, cls, dtype)


def gradients(cls: type, dtype: DType) -> Any:
    """The `gradInput` of a new module."""
    if any(base.__name__ == "MixtureTable" for base in cls.__mro__):
        return [tensor(dtype), Table()]
    return _new(_GRADIENTS, cls, dtype)


def _new(counts: dict[str, int], cls: type, dtype: DType) -> Any:
    count = next((counts[b.__name__] for b in cls.__mro__ if b.__name__ in counts), -1)
    if count < 0:
        return tensor(dtype)
    size = 1 if cls.__name__ == "MarginRankingCriterion" else 0
    return [np.zeros(size, dtype) for _ in range(count)] if count else Table()
