"""tapegrad.nn.mxnet.io: `mx.io`, iterators of batches."""

from tapegrad.nn.mxnet.io.description import DataBatch, DataDesc, DataIter

__all__ = ["DataBatch", "DataDesc", "DataIter"]
