import numpy as np

import tapegrad as tg
from tapegrad.scipy import optimize

# %% bisect brenth ridder
root = lambda a: optimize.bisect(lambda x, a: x**2 - a, 0.0, 5.0, args=(a,))
root(2.0), tg.grad(root)(2.0)  # √2, and 1 / 2√2

# %% newton
root = lambda a: optimize.newton(lambda x, a: x**2 - a, 1.0, args=(a,))
root(2.0), tg.grad(root)(2.0)

# %% root_scalar
found = optimize.root_scalar(lambda x, a: x**2 - a, args=(2.0,), bracket=(0.0, 5.0))
found.root, found.converged

# %% fixed_point
point = lambda a: optimize.fixed_point(lambda x, a: np.cos(a * x), 0.5, args=(a,))
point(1.0), tg.grad(point)(1.0)

# %% fsolve
solve = lambda b: optimize.fsolve(lambda x, b: x + x**3 - b, np.ones(2), args=(b,))
b = np.array([2.0, 10.0])
solve(b), tg.jacobian(solve)(b)

# %% root
b = np.array([2.0, 10.0])
found = optimize.root(lambda x, b: x + x**3 - b, np.ones(2), args=(b,))
found.x, found.success

# %% least_squares
t = np.arange(4.0)
fit = lambda y: optimize.least_squares(lambda w, y: w[0] + w[1] * t - y, np.zeros(2), args=(y,)).x
y = np.array([1.0, 3.0, 5.0, 7.0])
fit(y), tg.jacobian(fit)(y)

# %% minimize_scalar
least = lambda a: optimize.minimize_scalar(lambda x, a: (x - a) ** 2 + x**4, args=(a,)).x
least(1.0), tg.grad(least)(1.0)
