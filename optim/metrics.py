"""Nothing: metrics are in `tapegrad.optim`, and what makes one in `tapegrad.optim.training`."""

from tapegrad.autograd.core.former import former_names
from tapegrad.optim.training.metrics import make_metric

__getattr__ = former_names(__name__, metric=make_metric)
