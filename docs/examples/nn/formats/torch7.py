import numpy as np

from tapegrad.nn.formats import torch7

# %% Table
table = torch7.Table([("epoch", 3), (1, "first"), (True, "yes")])
torch7.save(table, "table.t7")
found = torch7.load("table.t7")
found["epoch"], found[1], found[True]

# %% TorchObject
torch7.save(torch7.TorchObject("my.Doubling", torch7.Table({"factor": 2})), "object.t7")
found = torch7.load("object.t7")
found.class_name, found["factor"]

# %% Storage
torch7.save(torch7.Storage(np.array([2, 3])), "sizes.t7")
found = torch7.load("sizes.t7")
type(found).__name__, found.array

# %% load_all
from pathlib import Path

torch7.save(3.5, "a.t7")
torch7.save("text", "b.t7")
_ = Path("both.t7").write_bytes(Path("a.t7").read_bytes() + Path("b.t7").read_bytes())
torch7.load_all("both.t7")
