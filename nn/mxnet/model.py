"""mx.model: checkpoints, FeedForward, and what callbacks are given.  Source: mx.model."""

from tapegrad.nn.mxnet.checkpoint import load_checkpoint, load_params, save_checkpoint
from tapegrad.nn.mxnet.module.base import BatchEndParam
from tapegrad.nn.mxnet.module.feedforward import FeedForward

__all__ = ["BatchEndParam", "FeedForward", "load_checkpoint", "load_params", "save_checkpoint"]
