import numpy as np

import tapegrad as tg
from tapegrad.scipy import linalg

a = np.array([[2.0, 1.0], [1.0, 3.0]])

# %% cholesky det norm svdvals eigvalsh logm sqrtm cosm sinm coshm sinhm
linalg.cholesky(a)
tg.grad(lambda a: np.sum(linalg.cholesky(a)))(a)

# %% eigh svd qr
linalg.eigh(a)

# %% block_diag
linalg.block_diag(a, np.array([[7.0]]))

# %% circulant toeplitz hankel
linalg.circulant(np.array([1.0, 2.0, 3.0]))

# %% expm_frechet
value, along = linalg.expm_frechet(np.zeros((2, 2)), a)
value, along

# %% lstsq
x, residues, rank, singular = linalg.lstsq(
    np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.arange(3.0)
)
x, rank

# %% lu_factor lu_solve
lu = linalg.lu_factor(a)
linalg.lu_solve(lu, np.array([1.0, 2.0]))

# %% solve_continuous_lyapunov solve_discrete_lyapunov
linalg.solve_continuous_lyapunov(a, np.eye(2))

# %% solve_sylvester
linalg.solve_sylvester(a, np.eye(2), np.eye(2))
