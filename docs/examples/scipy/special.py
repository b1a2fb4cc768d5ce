import numpy as np

import tapegrad as tg
from tapegrad.scipy import special

x = np.array([0.5, 1.0, 2.0])

# %% comb perm
special.comb(5.0, np.array([1.0, 2.0])), tg.grad(lambda k: special.comb(5.0, k))(1.0)

# %% factorial
special.factorial(np.array([3.0, 4.5])), tg.grad(special.factorial)(3.0)

# %% lambertw
special.lambertw(x).real, tg.grad(lambda x: special.lambertw(x).real)(1.0)

# %% softmax log_softmax
special.softmax(x)

# %% multigammaln
special.multigammaln(3.0, 2), tg.grad(lambda a: special.multigammaln(a, 2))(3.0)

# %% spherical_jn spherical_yn spherical_in spherical_kn
special.spherical_jn(1, x), tg.grad(lambda z: special.spherical_jn(1, z))(1.0)

# %% zeta
special.zeta(np.array([2.0, 4.0])), special.zeta(2.0, 3.0)
