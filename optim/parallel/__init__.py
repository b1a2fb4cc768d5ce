"""Training in step on several ranks: each has the whole model and a share of every batch."""

from tapegrad.optim.parallel.data_parallel import DataParallel, RanksDifferError
from tapegrad.optim.parallel.sharded import ShardedOptimizer

__all__ = ["DataParallel", "RanksDifferError", "ShardedOptimizer"]
