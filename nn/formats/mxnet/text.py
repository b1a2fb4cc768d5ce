"""Tables in text files: numbers with commas, and LibSVM's lines "label index:value …"."""

from __future__ import annotations

import math
import os

import numpy as np

from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits
from tapegrad.nn.formats.mxnet.arrays import read_file

__all__ = ["read_csv", "read_libsvm"]


@register_service("mxnet.read_csv")  # CSVIter, which stands below
def read_csv(path: str | os.PathLike[str], dtype: str = "float32") -> np.ndarray:
    """(lines, columns): the numbers of a file with commas; empty lines are left out.

    Raises FormatError for what is no number, and lines of several lengths; OSError.
    """
    place = os.fspath(path)
    rows: list[np.ndarray] = []
    for number, line in enumerate(read_file(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = np.array([x.strip() for x in line.decode("ascii").split(",")]).astype(dtype)
        except (ValueError, OverflowError) as error:
            raise FormatError(
                f"numbers of type {dtype}", f"{line[:80]!r}", file=place, path=f"line {number}"
            ) from error
        if rows and len(row) != len(rows[0]):
            raise FormatError(
                f"{len(rows[0])} numbers", len(row), file=place, path=f"line {number}"
            )
        rows.append(row)
    return np.array(rows, dtype) if rows else np.zeros((0, 0), dtype)


@register_service("mxnet.read_libsvm")  # LibSVMIter, which stands below
def read_libsvm(
    path: str | os.PathLike[str], columns: int, limits: Limits | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(rows (lines, columns), first number of each line) of a file in LibSVM's form, float32.

    Indices begin at 0, as MXNet wants them.  A line without a label has the label 0.
    Raises FormatError for another line or an index out of range, LimitError for a table that is too
    large, OSError.
    """
    place, limits = os.fspath(path), limits or Limits()
    data = read_file(path)
    lines = [(i, line.split()) for i, line in enumerate(data.splitlines(), 1) if line.strip()]
    size = 4 * len(lines) * columns
    if size > max(limits.max_expanded, 100 * len(data)):
        raise LimitError(f"at most {limits.max_expanded} bytes of rows", size, file=place)
    rows = np.zeros((len(lines), columns), np.float32)
    labels = np.zeros(len(lines), np.float32)
    for row, (number, words) in enumerate(lines):
        where = f"line {number}"
        for at, word in enumerate(words):
            if word.startswith(b"#"):
                break
            index, colon, value = word.partition(b":")
            try:
                if not colon and at == 0:
                    labels[row] = _number(index)
                    continue
                # a word without a colon has no number behind it either
                rows[row, _column(index, columns)] = _number(value)
            except ValueError:
                expected = f"a label, or an index from 0 to {columns - 1}, a colon and a number"
                raise FormatError(expected, f"{word[:80]!r}", file=place, path=where) from None
    return rows, labels


def _column(text: bytes, columns: int) -> int:
    column = int(text)
    if not 0 <= column < columns:
        raise ValueError
    return column


def _number(text: bytes) -> float:
    value = float(text)
    return value if abs(value) < 3.5e38 else math.copysign(math.inf, value)
