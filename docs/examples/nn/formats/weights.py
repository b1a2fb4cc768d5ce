import numpy as np

from tapegrad import nn
from tapegrad.nn.formats import weights

# %% load save
weights.save(nn.Linear(3, 2), "weights.npz")
{name: array.shape for name, array in weights.load("weights.npz").items()}

# %% from_keras
found = weights.from_keras(
    {"dense/dense/kernel:0": np.ones((3, 2)), "dense/dense/bias:0": np.ones(2)}
)
{name: array.shape for name, array in found.items()}
