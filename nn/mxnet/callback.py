"""Callbacks for the ends of batches and epochs.  Source: mx.callback."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.checkpoint import save_checkpoint

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.module.base import BatchEndParam
    from tapegrad.nn.mxnet.module.bucketing import BucketingModule
    from tapegrad.nn.mxnet.module.module import Module


__all__ = [
    "LogValidationMetricsCallback",
    "ProgressBar",
    "Speedometer",
    "do_checkpoint",
    "log_train_metric",
    "module_checkpoint",
]

_LOG = logging.getLogger()  # MXNet's callbacks write to the root logger, which scripts set up


def module_checkpoint(
    mod: Module | BucketingModule, prefix: str, period: int = 1, save_optimizer_states: bool = False
) -> Callable[..., None]:
    """Save a module's checkpoint every `period` epochs; a callback of epochs."""
    period = max(1, int(period))

    def callback(iter_no: int, *_: Any) -> None:
        if (iter_no + 1) % period == 0:
            mod.save_checkpoint(prefix, iter_no + 1, save_optimizer_states)

    return callback


def do_checkpoint(prefix: str, period: int = 1) -> Callable[..., None]:
    """Save symbol and parameters every `period` epochs; a callback of epochs."""
    period = max(1, int(period))

    def callback(iter_no: int, sym: Any, arg: Any, aux: Any) -> None:
        if (iter_no + 1) % period == 0:
            save_checkpoint(prefix, iter_no + 1, sym, arg, aux)

    return callback


def log_train_metric(period: int, auto_reset: bool = False) -> Callable[[Any], None]:
    """Log the metric every `period` batches; a callback of batches."""

    def callback(param: Any) -> None:
        if param.nbatch % period == 0 and param.eval_metric is not None:
            for name, value in param.eval_metric.get_name_value():
                _LOG.info("Iter[%d] Batch[%d] Train-%s=%f", param.epoch, param.nbatch, name, value)
            if auto_reset:
                param.eval_metric.reset_local()

    return callback


class Speedometer:
    """Log samples per second and the metric every `frequent` batches; a callback of batches.

    auto_reset: whether the metric's local sums begin anew behind each line
    """

    def __init__(self, batch_size: int, frequent: int = 50, auto_reset: bool = True):
        self.batch_size, self.frequent, self.auto_reset = batch_size, frequent, auto_reset
        self.init = False
        self.tic = 0.0
        self.last_count = 0

    def __call__(self, param: BatchEndParam) -> None:
        """Count a batch; the first one only starts the clock."""
        count = param.nbatch
        if self.last_count > count:
            self.init = False
        self.last_count = count
        if not self.init:
            self.init = True
            self.tic = time.time()
            return
        if count % self.frequent:
            return
        passed = time.time() - self.tic
        speed = self.frequent * self.batch_size / passed if passed else math.inf
        if param.eval_metric is None:
            _LOG.info("Iter[%d] Batch [%d]\tSpeed: %.2f samples/sec", param.epoch, count, speed)
        else:
            pairs = param.eval_metric.get_name_value()
            begin = count - self.frequent if self.auto_reset else 0
            text = "Epoch[%d] Batch [%d-%d]\tSpeed: %.2f samples/sec" + "\t%s=%f" * len(pairs)
            if self.auto_reset:
                param.eval_metric.reset_local()
            flat = [part for pair in pairs for part in pair]
            _LOG.info(text, param.epoch, begin, count, speed, *flat)
        self.tic = time.time()


class ProgressBar:
    """A bar that grows with the batches; a callback of batches."""

    def __init__(self, total: int, length: int = 80):
        self.bar_len, self.total = length, total

    def __call__(self, param: BatchEndParam) -> None:
        """Write the bar."""
        filled = round(self.bar_len * param.nbatch / float(self.total))
        percents = math.ceil(100.0 * param.nbatch / float(self.total))
        bar = "=" * filled + "-" * (self.bar_len - filled)
        sys.stdout.write(f"[{bar}] {percents}%\r")


class LogValidationMetricsCallback:
    """Log the metric at the end of an evaluation."""

    def __call__(self, param: BatchEndParam) -> None:
        """Write the values."""
        if not param.eval_metric:
            return
        for name, value in param.eval_metric.get_name_value():
            _LOG.info("Epoch[%d] Validation-%s=%f", param.epoch, name, value)
