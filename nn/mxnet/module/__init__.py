"""tapegrad.nn.mxnet.module: `mx.mod`, the machines."""

from tapegrad.nn.mxnet.module.base import BaseModule, BatchEndParam
from tapegrad.nn.mxnet.module.bucketing import BucketingModule
from tapegrad.nn.mxnet.module.function_symbol import symbol_of
from tapegrad.nn.mxnet.module.group import sections
from tapegrad.nn.mxnet.module.module import Module
from tapegrad.nn.mxnet.module.python import PythonLossModule, PythonModule
from tapegrad.nn.mxnet.module.sequential import SequentialModule

__all__ = [
    "BaseModule",
    "BatchEndParam",
    "BucketingModule",
    "Module",
    "PythonLossModule",
    "PythonModule",
    "SequentialModule",
    "sections",
    "symbol_of",
]
