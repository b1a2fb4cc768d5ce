import numpy as np

import tapegrad as tg
from tapegrad import ops
from tapegrad.autograd.ops import batch_rules

x = np.ones((5, 2, 3))  # a batch of 5 samples (2, 3)

# %% align_samples
batch_rules.align_samples(x, 4).shape

# %% axes_rule
batch_rules.axes_rule(ops.sum, [x], {"axis": (0, 1)}).shape
batch_rules.axes_rule(ops.sum, [x], {"axis": None}).shape

# %% axis_rule
batch_rules.axis_rule(ops.cumsum, [x], {"axis": 0})[0]

# %% axis_in_batch
batch_rules.axis_in_batch(0, 2), batch_rules.axis_in_batch(-1, 2)
batch_rules.axis_in_batch(None, 2)


# %% leading_axes_rule
@tg.primitive
def reversed_rows(xp, x):
    """The last axis the other way round."""
    return x[..., ::-1]


reversed_rows.vjp(x=lambda g: reversed_rows(g))
_ = reversed_rows.batch(batch_rules.leading_axes_rule)
tg.vmap(reversed_rows)(np.array([[1, 2, 3], [4, 5, 6]]))

# %% merge_samples split_samples
merged = batch_rules.merge_samples(np.ones((5, 2, 3)))  # 5 samples, each a batch of 2
merged.shape
batch_rules.split_samples(merged, samples=5, size=2).shape

# %% ndim_of
batch_rules.ndim_of(x), batch_rules.ndim_of(x, batched=True)
