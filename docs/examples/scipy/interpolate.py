import numpy as np

import tapegrad as tg
from tapegrad.scipy import interpolate

# %% interp1d
f = interpolate.interp1d([0.0, 1.0, 2.0], [0.0, 1.0, 4.0])
f(np.array([0.5, 1.5])), tg.grad(f)(1.5)

# %% RegularGridInterpolator
values = np.array([[0.0, 1.0], [2.0, 3.0]])
f = interpolate.RegularGridInterpolator(([0.0, 1.0], [0.0, 1.0]), values)
f(np.array([[0.5, 0.25]])), tg.grad(lambda p: np.sum(f(p)))(np.array([[0.5, 0.25]]))
