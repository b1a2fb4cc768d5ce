import numpy as np

from tapegrad.nn import mxnet as mx

# %% CSRNDArray csr_matrix BaseSparseNDArray
x = mx.nd.sparse.csr_matrix(np.array([[0, 2, 0], [1, 0, 0]]))
x.data.asnumpy(), x.indices.asnumpy(), x.indptr.asnumpy()
x
isinstance(x, mx.nd.sparse.BaseSparseNDArray)

# %% RowSparseNDArray row_sparse_array
x = mx.nd.sparse.row_sparse_array(([[1, 2], [3, 4]], [0, 3]), shape=(5, 2))
x.indices.asnumpy(), x.data.asnumpy()
x

# %% zeros
mx.nd.sparse.zeros("csr", (2, 3))
