from pathlib import Path

from tapegrad import nn
from tapegrad.nn.formats import bigdl

# %% save
bigdl.save(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), "model.bigdl")
bigdl.load("model.bigdl")

# %% save_definition
bigdl.save_definition(nn.Linear(3, 2), "model.txt")
print(Path("model.txt").read_text()[:200])
