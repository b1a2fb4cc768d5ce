import numpy as np

import tapegrad as tg
from tapegrad import nn

# %% checkpoint_sequential
layers = [nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh()]
y = tg.checkpoint_sequential(layers, np.ones((2, 4), np.float32), segments=2)
np.sum(y).backward()
layers[0].weight.grad.shape

# %% default_dtype
tg.default_dtype(), nn.Linear(2, 1).weight.dtype

# %% enable_grad is_recording
with tg.no_grad():
    print(tg.is_recording())
    with tg.enable_grad():
        print(tg.is_recording())

# %% stop_gradient
tg.grad(lambda x: np.sum(x * tg.stop_gradient(x)))(np.array([2.0, 3.0]))


# %% Primitive
@tg.primitive
def cube(xp, x):
    """x³, elementwise."""
    return x * x * x


cube.vjp(x=lambda g, x: 3 * g * x * x)
isinstance(cube.primitive, tg.Primitive), list(cube.primitive.rules)

# %% register_einops
import einops

tg.register_einops()
einops.rearrange(tg.Tensor(np.arange(6.0)), "(a b) -> b a", a=2)

# %% device
tg.device("cpu"), tg.Tensor(np.ones(2)).device
