import numpy as np

import tapegrad as tg
from tapegrad.scipy import integrate

t = np.linspace(0.0, 1.0, 5)

# %% trapezoid simpson cumulative_trapezoid
integrate.trapezoid(t**2, t)
tg.grad(lambda y: np.sum(integrate.trapezoid(y, t)))(t**2)

# %% fixed_quad
integrate.fixed_quad(lambda t: t**3, 0.0, 1.0)[0]
tg.grad(lambda b: integrate.fixed_quad(lambda t: t**3, 0.0, b)[0])(2.0)

# %% quad_vec
value = lambda k: integrate.quad_vec(
    lambda t, k: np.stack([k * t, k * t * t]), 0.0, 1.0, args=(k,)
)[0]
value(3.0), tg.jacobian(value)(3.0)


# %% solve_ivp
def end(k):
    """y(1) of y' = -k y, y(0) = 1."""
    found = integrate.solve_ivp(lambda t, y, k: -k * y, (0, 1), np.ones(1), args=(k,), rtol=1e-8)
    return found.y[0, -1]


end(2.0), tg.grad(end)(2.0)
