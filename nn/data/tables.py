"""Columns of pandas frames, Arrow tables and what converts itself to one, read slice by slice.

Neither library is imported: what comes is known by its methods, and only the rows of a batch become
arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["TableColumns", "as_columns", "is_table"]

NO_COLUMN = "there is no column {name!r}; there are {names}"
NOT_NUMBERS = (
    "column {name!r} holds {found}: numbers, or lists of numbers of one length, are needed"
)


def is_table(data: Any) -> bool:
    """Tell a pandas frame or series, an Arrow table or record batch, or a polars frame."""
    if isinstance(data, (np.ndarray, TableColumns)):
        return False
    return hasattr(data, "iloc") or _is_arrow(data) or callable(getattr(data, "to_arrow", None))


def _is_arrow(data: Any) -> bool:
    return hasattr(data, "column_names") and hasattr(data, "slice") and hasattr(data, "num_rows")


class TableColumns:
    """Some columns of a table as one array (N, columns), or (N, …) for one column of lists.

    table: a pandas frame or series, or an Arrow table
    names: the columns, all where it is None; of one name that is no list the array is (N,)
    A slice of it is an array with the rows of the slice only.
    Raises KeyError for a column that is not there, TypeError where a column holds no numbers.
    """

    def __init__(
        self, table: Any, names: Sequence[str] | str | None = None, rows: range | None = None
    ) -> None:
        self.table, self.single = table, isinstance(names, str)
        if isinstance(names, str):
            names = [names]
        if hasattr(table, "iloc"):
            known = list(table.columns) if hasattr(table, "columns") else None
        else:
            known = list(table.column_names)
        if names is not None:
            for name in names:
                if known is None or name not in known:
                    raise KeyError(NO_COLUMN.format(name=name, names=known))
        self.names = known if names is None else list(names)
        self.rows = range(_rows_of(table)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ndim(self) -> int:
        """At least 1: the samples stand along the first axis."""
        return 1

    @property
    def shape(self) -> tuple[int]:
        """The number of samples; the other axes are known when rows are read."""
        return (len(self.rows),)

    def __getitem__(self, rows: slice) -> Any:
        names = self.names[0] if self.single and self.names else self.names
        return TableColumns(self.table, names, self.rows[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self._read(self.rows.start, self.rows.stop)
        return found if dtype is None else found.astype(dtype)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The array of some rows, in any order."""
        at = self.rows.start + np.asarray(indices)
        chosen = self.table.iloc[at] if hasattr(self.table, "iloc") else self.table.take(at)
        names = self.names[0] if self.single and self.names else self.names
        return np.asarray(TableColumns(chosen, names))

    def _read(self, start: int, stop: int) -> np.ndarray:
        if hasattr(self.table, "iloc"):
            rows = self.table.iloc[start:stop]
            if self.names is None:
                return _column_array("values", rows.to_numpy())
            columns = [_column_array(name, rows[name].to_numpy()) for name in self.names]
        else:
            part = self.table.slice(start, stop - start)
            columns = [
                _column_array(name, part.column(name).to_numpy(**_copying(part)))
                for name in self.names or ()
            ]
        if len(columns) == 1 and (self.single or columns[0].ndim > 1):
            return columns[0]
        return np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)


def _copying(part: Any) -> dict[str, bool]:
    """The argument that a record batch's columns need and a table's do not take."""
    return {} if hasattr(part, "to_batches") else {"zero_copy_only": False}


def _rows_of(table: Any) -> int:
    return len(table) if hasattr(table, "iloc") else int(table.num_rows)


def _column_array(name: Any, values: np.ndarray) -> np.ndarray:
    """The column's numbers; lists of one length become further axes."""
    if values.dtype != object:
        if values.dtype.kind not in "fiubc":
            raise TypeError(NOT_NUMBERS.format(name=name, found=values.dtype))
        return values
    try:
        stacked = np.array([np.asarray(value) for value in values])
    except ValueError as error:
        raise TypeError(NOT_NUMBERS.format(name=name, found="lists of several lengths")) from error
    if stacked.dtype.kind not in "fiubc":
        found = type(values[0]).__name__ if len(values) else "nothing"
        raise TypeError(NOT_NUMBERS.format(name=name, found=found))
    return stacked


def as_columns(data: Any, names: Sequence[str] | str | None = None) -> TableColumns:
    """The columns of a table as something that slices to arrays.

    Raises KeyError for a column that is not there.
    """
    if not hasattr(data, "iloc") and not _is_arrow(data):
        data = data.to_arrow()
    return TableColumns(data, names)
