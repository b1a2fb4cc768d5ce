"""The table of TensorFlow's operators: how each is read, and which layers are written as it."""

from __future__ import annotations

from tapegrad.nn.formats.common.operators import Operator, Operators
from tapegrad.nn.formats.tensorflow import arithmetic, images, joining, shapes
from tapegrad.nn.formats.tensorflow.layers import WRITERS

__all__ = ["CALLS", "IMAGES", "TABLE"]

# Operators whose images are N, H, W, C unless data_format says otherwise.
IMAGES = frozenset(images.READERS.keys() - {"Pad", "MirrorPad"}) | {
    "FusedBatchNormV2",
    "FusedBatchNormV3",
}

_ALIASES: dict[str, tuple[str, ...]] = {
    "Add": ("AddV2",),
    "RealDiv": ("Div",),
    "Reciprocal": ("Inv",),
    "Identity": (
        "StopGradient", "CheckNumerics", "PreventGradient", "Snapshot", "PlaceholderWithDefault",
    ),
    "MatMul": ("BatchMatMul", "BatchMatMulV2"),
    "FusedBatchNorm": ("FusedBatchNormV2", "FusedBatchNormV3"),
    "Pad": ("PadV2",),
    "ConcatV2": ("Concat",),
    "GatherV2": ("Gather",),
}  # fmt: skip

_NOTES = {
    "Add": "of two results of one shape, or a result and a constant, which is added to the bias of "
    "the layer before it",
    "Mul": "as Add; a constant is multiplied into the weights of a layer before it",
    "FusedBatchNorm": "with is_training false",
    "GatherV2": "of constants and of lengths",
    "Cast": "of constants, and from a type to itself",
    "ResizeBilinear": "half_pixel_centers false",
    "ResizeNearestNeighbor": "to a multiple of the size, half_pixel_centers false",
    "MirrorPad": "of height and width, mode REFLECT",
    "Reshape": "BigDL's, which lack the axis of the batch, are read as if they had it",
    "Switch": "where a constant says which branch is taken",
    "StridedSlice": "of results: steps of 1",
    "Identity": "and what is it when a graph is run: StopGradient, CheckNumerics, …",
    "Shape": "of what is known, and as the argument of Reshape and the like",
}

_OUTSIDE = "it runs code, or reads and writes what is outside the graph"
_UNSAFE = """
    PyFunc PyFuncStateless EagerPyFunc ReadFile WriteFile MatchingFiles Save SaveSlices SaveV2
    Restore RestoreSlice RestoreV2 MergeV2Checkpoints ShardedFilename WholeFileReader
    WholeFileReaderV2 TFRecordReader TFRecordReaderV2 FixedLengthRecordReader
    FixedLengthRecordReaderV2 TextLineReader TextLineReaderV2 LMDBReader LMDBDataset ReaderRead
    ReaderReadV2 ReaderReadUpTo TextLineDataset TFRecordDataset TFRecordDatasetV2
    FixedLengthRecordDataset SqlDataset LoadDataset SaveDataset InitializeTableFromTextFile
    InitializeTableFromTextFileV2 Print PrintV2 DebugIdentity DebugIdentityV2 DebugIdentityV3
    DebugNanCount DebugNumericSummary RemoteCall RemoteFusedGraphExecute Rpc TryRpc _Send _Recv
    _HostSend _HostRecv Send Recv CollectiveGather CollectiveReduce CollectiveBcastSend
    CollectiveBcastRecv CreateSummaryFileWriter WriteSummary WriteGraphSummary ImportEvent
    FileSystemSetConfiguration LoadAndRemapMatrix GenerateVocabRemapping AudioSummary
    ImageSummary ScalarSummary HistogramSummary MergeSummary XlaLaunch ExperimentalCSVDataset
    CSVDataset GcsConfigureCredentials BigQueryReader
"""

_LIBRARY = "a graph without functions: freeze the model, and inline what its library holds"
_VARIABLES = "a frozen graph, whose variables are constants: freeze the model first"
_LOOPS = "a graph without loops and conditions that depend on the input"
# What is refused with a sentence of its own.
CALLS = {
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall", "SymbolicGradient"), _LIBRARY),
    **dict.fromkeys(
        ("Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "AutoReloadVariable"),
        _VARIABLES,
    ),
    **dict.fromkeys(
        ("Enter", "Exit", "NextIteration", "LoopCond", "While", "StatelessWhile"), _LOOPS
    ),
    **dict.fromkeys(("If", "StatelessIf", "Case", "RefSwitch", "RefMerge"), _LOOPS),
}

READERS = {**arithmetic.READERS, **images.READERS, **shapes.READERS, **joining.READERS}

TABLE = Operators(
    "TensorFlow",
    [
        Operator(
            name, READERS[name], WRITERS.get(name, {}), _ALIASES.get(name, ()), _NOTES.get(name, "")
        )
        for name in READERS
    ],
    unsafe=dict.fromkeys(_UNSAFE.split(), _OUTSIDE),
)
