from tapegrad import nn
from tapegrad.nn.formats import native

# %% FORMAT_VERSION
native.save(nn.Linear(3, 2), "model.tg")
described, arrays = native.architecture("model.tg")
described["version"] == native.FORMAT_VERSION

# %% architecture
native.save(nn.Linear(3, 2), "model.tg")
described, arrays = native.architecture("model.tg")
sorted(described), {name: array.shape for name, array in arrays.items()}

# %% load save
native.save(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), "model.tg")
native.load("model.tg")
