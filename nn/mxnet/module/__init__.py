"""tapegrad.nn.mxnet.module: `mx.mod`, the machines."""

from tapegrad.nn.mxnet.module.base import BaseModule, BatchEndParam
from tapegrad.nn.mxnet.module.group import sections
from tapegrad.nn.mxnet.module.module import Module

__all__ = ["BaseModule", "BatchEndParam", "Module", "sections"]
