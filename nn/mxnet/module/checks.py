"""What a Module refuses: names, shapes and values that do not fit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.fitting import must_fit
from tapegrad.nn.mxnet.io.description import DataDesc, described

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import BatchLike, DataShapes

__all__ = ["check_given", "check_names", "other_shapes", "parse_shapes"]


def check_names(symbol: Symbol, names: Sequence[str], what: str, required: bool) -> None:
    """Raise ValueError, or warn unless `required`, for names that are none of the symbol's."""
    arguments = symbol.list_arguments()
    for name in names:
        if name in arguments:
            continue
        candidates = [
            a for a in arguments if not a.endswith(("_weight", "_bias", "_gamma", "_beta"))
        ]
        near = get_close_matches(name, candidates, 3, 0.3) or candidates
        text = (
            f"You created Module with Module(..., {what}_names={list(names)}) but input with name "
            f"'{name}' is not found in symbol.list_arguments(). Did you mean one of:\n\t"
            + "\n\t".join(near)
        )
        if required:
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)


def parse_shapes(
    data_names: Sequence[str],
    label_names: Sequence[str],
    data_shapes: DataShapes,
    label_shapes: DataShapes | None,
) -> tuple[list[DataDesc], list[DataDesc] | None]:
    """The descriptions of data and labels.

    Raises ValueError for other data than `data_names`; warns of other labels.
    """
    data = described(data_shapes) or []
    found = [d.name for d in data]
    if sorted(found) != sorted(data_names):
        raise ValueError(
            "Data provided by data_shapes don't match names specified by data_names "
            f"({data_shapes} vs. {list(data_names)})"
        )
    label = described(label_shapes)
    names = [d.name for d in label or ()]
    if sorted(names) != sorted(label_names):
        warnings.warn(
            "Data provided by label_shapes don't match names specified by label_names "
            f"({label_shapes} vs. {list(label_names)})",
            stacklevel=4,
        )
    return data, label or None


def other_shapes(
    batch: BatchLike, data: Sequence[DataDesc], labels: Sequence[DataDesc] | None
) -> tuple[Any, Any] | None:
    """What to reshape to for a batch; None where it has the bound shapes."""
    bound = [d.shape for d in data]
    if [tuple(x.shape) for x in batch.data[: len(bound)]] == bound:
        return None
    given = getattr(batch, "provide_data", None)
    of_labels = getattr(batch, "provide_label", None)
    arrays = getattr(batch, "label", None)
    if not of_labels and arrays and labels:
        of_labels = _like(labels, arrays)
    return given or _like(data, batch.data), of_labels or None


def _like(old: Sequence[DataDesc], arrays: Sequence[Any]) -> list[DataDesc]:
    return [
        DataDesc(d.name, tuple(x.shape), d.dtype, d.layout)
        for d, x in zip(old, arrays, strict=False)
    ]


def check_given(
    given: Mapping[str, Any] | None,
    own: Mapping[str, NDArray],
    where: str,
    allow_missing: bool,
    allow_extra: bool,
) -> None:
    """Raise RuntimeError, ValueError or MXNetError for values that do not fit, before a write."""
    if given is None:
        return
    for name in sorted(own):
        if name not in given and not allow_missing:
            raise RuntimeError(f"{name} is not presented")
    must_fit(given, own, where, allow_extra)
