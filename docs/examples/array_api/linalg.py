from tapegrad import array_api as xp

a = xp.asarray([[2.0, 1.0], [1.0, 3.0]])

# %% cholesky det eig eigh eigvals eigvalsh inv matrix_norm matrix_rank pinv qr slogdet svd svdvals
# %% trace diagonal vector_norm
xp.linalg.cholesky(a)

# %% cross
xp.linalg.cross(xp.asarray([1.0, 0.0, 0.0]), xp.asarray([0.0, 1.0, 0.0]))

# %% matrix_power
xp.linalg.matrix_power(a, 3)

# %% outer
xp.linalg.outer(xp.asarray([1.0, 2.0]), xp.asarray([3.0, 4.0]))

# %% solve
xp.linalg.solve(a, xp.asarray([1.0, 2.0]))
