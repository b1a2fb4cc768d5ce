"""The optimizer of a Module, from a name and settings or as it is given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapegrad.nn.mxnet import optimizer as opt

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import OptimizerLike, OptimizerSettings


__all__ = ["made_optimizer", "numbered"]


def numbered(names: Sequence[str], contexts: int) -> dict[int, str]:
    """Index -> name of a parameter; each context has an index of its own."""
    return {i * contexts + k: name for i, name in enumerate(names) for k in range(contexts)}


def made_optimizer(
    optimizer: OptimizerLike,
    settings: OptimizerSettings,
    symbol: Symbol,
    rescale: float,
    names: dict[int, str],
) -> opt.Optimizer:
    """The optimizer of a name, whose rescale_grad is `rescale` unless it is among the settings.

    An Optimizer is taken as it is, with a warning if it has another rescale_grad.  Raises
    AssertionError for anything else, ValueError for an unknown name, TypeError for a setting.
    """
    if isinstance(optimizer, str):
        given = {"rescale_grad": rescale, **dict(settings)}
        return opt.create(optimizer, sym=symbol, param_idx2name=names, **given)
    if not isinstance(optimizer, opt.Optimizer):
        raise AssertionError("optimizer is a name or an mx.optimizer.Optimizer")  # noqa: TRY004  # MXNet's type
    if optimizer.rescale_grad != rescale:
        warnings.warn(
            "Optimizer created manually outside Module but rescale_grad is not normalized to "
            f"1.0/batch_size/num_workers ({optimizer.rescale_grad} vs. {rescale}). Is this "
            "intended?",
            stacklevel=3,
        )
    if not optimizer.idx2name:
        optimizer.idx2name = names
    return optimizer
