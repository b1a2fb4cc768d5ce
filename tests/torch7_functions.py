"""Torch7 files with functions in them, which our own writer does not write."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from tapegrad.nn.formats.torch7 import Table, TorchObject
from tapegrad.nn.formats.torch7.writer import WritePlan

__all__ = ["MARK", "bytes_of", "copy_of_one_type", "with_functions"]

MARK = "\x01a function\x01"


def with_functions(root: Any, mode: str = "binary", code: bytes = b"\x1bLua\n") -> bytes:
    """A file in which the strings MARK are functions without variables, one index each."""
    data, count = bytes_of(root, mode), 0
    if mode == "binary":
        numbers = [8, 0, len(code)]
        mark = (2).to_bytes(4, "little") + len(MARK).to_bytes(4, "little") + MARK.encode()
    else:
        mark = b"2\n%d\n%s\n" % (len(MARK), MARK.encode())
    while mark in data:
        count += 1
        first, table = 10_000 + 2 * count, 10_001 + 2 * count
        if mode == "binary":
            numbers = [8, first, len(code)]
            new = b"".join(n.to_bytes(4, "little") for n in numbers) + code
            new += b"".join(n.to_bytes(4, "little") for n in (3, table, 0))
        else:
            new = b"8\n%d\n%d\n%s\n3\n%d\n0\n" % (first, len(code), code, table)
        data = data.replace(mark, new, 1)
    return data


def copy_of_one_type() -> TorchObject:
    """nn.Copy of one type as Torch7 writes it, with MARK for its functions."""
    empty = np.empty(0)
    fields = {"_type": "torch.DoubleTensor", "output": empty, "gradInput": empty}
    return TorchObject("nn.Copy", Table(fields | {"updateOutput": MARK, "updateGradInput": MARK}))


def bytes_of(root: Any, mode: Any = "binary") -> bytes:
    data = io.BytesIO()
    WritePlan(root).write(data, mode)
    return data.getvalue()
