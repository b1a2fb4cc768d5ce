import numpy as np
import scipy.sparse as ss

import tapegrad as tg
from tapegrad.scipy import sparse

a = ss.csr_array(np.array([[2.0, 0.0], [1.0, 4.0]]))

# %% SparseTensor with_data
x = sparse.with_data(a, np.array([1.0, 2.0, 3.0]))
isinstance(x, sparse.SparseTensor), x.toarray()
tg.grad(lambda data: np.sum(sparse.with_data(a, data) @ np.array([1.0, 10.0])))(np.ones(3))

# %% matmul
sparse.matmul(a, np.array([1.0, 10.0]))

# %% spsolve
solve = lambda b: sparse.spsolve(a, b)
solve(np.array([2.0, 5.0])), tg.jacobian(solve)(np.array([2.0, 5.0]))
