"""tapegrad.nn.mxnet.io: `mx.io`, iterators of batches."""

from tapegrad.nn.mxnet.io.arrays import NDArrayIter
from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter
from tapegrad.nn.mxnet.io.wrapping import PrefetchingIter, ResizeIter

__all__ = ["DataBatch", "DataDesc", "DataIter", "NDArrayIter", "PrefetchingIter", "ResizeIter"]
