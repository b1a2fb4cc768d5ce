import numpy as np

from tapegrad import nn
from tapegrad.nn.formats import tensorflow

model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())

# %% load
tensorflow.saveTF(model, [("x", (None, 3))], "model.pb")
tensorflow.load("model.pb")

# %% saveTF loadTF
tensorflow.saveTF(model, [("x", (None, 3))], "model.pb")
again = tensorflow.loadTF("model.pb", inputs=["x"])
x = np.ones((1, 3), np.float32)
np.allclose(again(x), model(x))
