"""tapegrad.nn.mxnet.io: `mx.io`, iterators of batches."""

from tapegrad.nn.mxnet.io.arrays import NDArrayIter
from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter
from tapegrad.nn.mxnet.io.pictures import ImageRecordIter, ImageRecordUInt8Iter
from tapegrad.nn.mxnet.io.rounding import MXDataIter
from tapegrad.nn.mxnet.io.tables import CSVIter, LibSVMIter, MNISTIter
from tapegrad.nn.mxnet.io.wrapping import PrefetchingIter, ResizeIter

__all__ = [
    "CSVIter",
    "DataBatch",
    "DataDesc",
    "DataIter",
    "ImageRecordIter",
    "ImageRecordUInt8Iter",
    "LibSVMIter",
    "MNISTIter",
    "MXDataIter",
    "NDArrayIter",
    "PrefetchingIter",
    "ResizeIter",
]
