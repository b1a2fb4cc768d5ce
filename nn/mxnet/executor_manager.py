"""mx.executor_manager: how a batch is divided among contexts."""

from __future__ import annotations

from collections.abc import Sequence

from tapegrad.nn.mxnet.module.group import sections

__all__ = ["_split_input_slice"]


def _split_input_slice(batch_size: int, work_load_list: Sequence[float]) -> list[slice]:
    """The rows of each context.  Raises ValueError where a context would get none."""
    return sections(batch_size, work_load_list)
