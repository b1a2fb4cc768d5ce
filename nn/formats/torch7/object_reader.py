"""Reads objects by tag, without recursion and without trust, whichever way numbers are written.

A file is a stream (torch7's File.lua): each object is a tag and what belongs to it; tables and
class instances carry an index, and an index met before stands for the object met then, which is
how cycles and sharing are written.  The reader registers an object before it reads its body, keeps
its own stack, so that depth is a number in Limits and not Python's, and reads array data straight
into arrays, so that a file needs its own size in memory and no more (numbers in ASCII files take up
to four times the text, "0 " becoming 8 bytes).
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from typing import Any, BinaryIO

import numpy as np

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.formats.torch7.objects import (
    SKIPPED,
    STORAGE_TYPES,
    Storage,
    Table,
    TorchObject,
)

__all__ = ["BOOLEAN", "NIL", "NUMBER", "STRING", "TABLE", "TORCH", "ObjectReader", "objects_of"]

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN = range(6)
FUNCTIONS = (6, 7, 8)
_INDEXED = (7, 8)  # a function of the first kind, of the oldest files, has no index

# The function fields that an nn.Copy of one type has; what they do is known.
COPY = "nn.Copy"
COPY_FUNCTIONS = ("updateOutput", "updateGradInput")


def objects_of(name: str, version: int) -> int:
    """How many objects an instance of this class consists of in a file: one, its fields, for most.

    nn.GPU has its type and device in front of them, nn.DataParallelTable, since its second version,
    its devices; a timer has nothing.
    """
    if name == "torch.Timer":
        return 0
    return 2 if name == "nn.GPU" or (name == "nn.DataParallelTable" and version >= 2) else 1


CODE = "data (functions are Lua bytecode; a file that holds code is refused)"
MORE = "{what} within the file's end, {left} bytes away"
RAISE_LIMIT = "; if the file is trusted, pass limits=Limits({name}=…)"

# What an object costs in memory beside array data: rough, from above (measured in the tests).
_COST_NUMBER, _COST_STRING, _COST_TABLE, _COST_ENTRY, _COST_TORCH = 32, 80, 500, 150, 900

_VERSION = re.compile(r"V ([0-9]{1,6})\Z")
_CLASS = re.compile(r"[A-Za-z_][\w.\-]{0,199}\Z", re.ASCII)
_TENSOR = re.compile(r"torch\.(\w+?)(Tensor|Storage)\Z")
_LARGEST = 1 << 40


class _Frame:
    """An object whose body is being read: a table with `left` entries, or an instance's fields."""

    __slots__ = ("has_key", "key", "left", "target")

    def __init__(self, target: Table | TorchObject, left: int) -> None:
        self.target = target
        self.left = left
        self.key: Any = None
        self.has_key = False

    def step(self) -> str:
        """The part of a path that this frame stands for."""
        if not isinstance(self.target, Table):
            return ""
        if not self.has_key:
            return "<key>"
        if isinstance(self.key, str) and self.key.isidentifier():
            return f".{self.key[:60]}"
        return f"[{self.key!r:.60}]" if isinstance(self.key, (str, int, float)) else "[…]"


class ObjectReader(ABC):
    """The reader of objects; its subclasses read the numbers of binary and of ASCII files."""

    has_longs = False
    shortest = 1

    def __init__(self, stream: BinaryIO, size: int, name: str | None, limits: Limits) -> None:
        self.stream, self.size, self.name, self.limits = stream, size, name, limits
        self.stack: list[_Frame] = []
        self.objects: dict[int, Any] = {}
        self.nodes = 0
        self.overhead = limits.overhead(size)
        self.expanded = 0

    # How a number is written ------------------------------------------------------------------

    @abstractmethod
    def integer(self) -> int:
        """A 32-bit int."""

    @abstractmethod
    def longs(self, count: int) -> list[int]:
        """`count` longs."""

    @abstractmethod
    def double(self) -> float:
        """A double."""

    @abstractmethod
    def raw(self, count: int) -> bytes:
        """`count` chars, the bytes of a string."""

    @abstractmethod
    def skip(self, count: int) -> None:
        """Pass over `count` chars."""

    @abstractmethod
    def entries(self, count: int, dtype: np.dtype[Any], kind: str) -> np.ndarray[Any, Any]:
        """The data of a storage."""

    # Where we are -----------------------------------------------------------------------------

    def left(self) -> int:
        """How many bytes follow."""
        return max(self.size - self.stream.tell(), 0)

    def path(self) -> str:
        """The object being read, in the file's own keys; a deep one is shortened in the middle."""
        frames = self.stack
        if len(frames) > 60:
            inner = "".join(frame.step() for frame in frames[-30:])
            return f"root{''.join(frame.step() for frame in frames[:30])} … {inner}"
        return "root" + "".join(frame.step() for frame in frames)

    def error(self, kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        """An error of this kind, with the byte and the path that reading has come to."""
        found = None if found is None else f"{found!r:.80}" if not isinstance(found, str) else found
        return kind(expected, found, file=self.name, offset=self.stream.tell(), path=self.path())

    def charge(self, cost: int) -> None:
        """Account for `cost` bytes of Python objects."""
        self.overhead -= cost
        if self.overhead < 0:
            expected = f"at most {self.limits.overhead(self.size)} bytes of Python objects"
            raise self.error(LimitError, expected + RAISE_LIMIT.format(name="max_overhead"))

    def fitting(self, count: int, width: int, what: str) -> int:
        """`count`, if that many times `width` bytes are left."""
        if not 0 <= count * width <= self.left():
            expected = MORE.format(what=what, left=self.left())
            raise self.error(TruncatedError if count > 0 else FormatError, expected, f"{count}")
        return count

    # Objects ----------------------------------------------------------------------------------

    def read_object(self) -> Any:
        """The next object with all below it."""
        self.stack.clear()
        root = self.begin()
        while self.stack:
            frame = self.stack[-1]
            if not frame.left:
                self.stack.pop()
            elif isinstance(frame.target, TorchObject):
                frame.left -= 1
                frame.target.fields = self.begin()
            elif frame.has_key and frame.left > 0:
                self.value_of(frame, frame.target)
            else:
                frame.left = abs(frame.left)
                frame.has_key = False
                key = self.begin()
                self.check_key(key, frame.target)
                frame.key, frame.has_key = key, True
        return root

    def value_of(self, frame: _Frame, table: Table) -> None:
        """Read the value for the frame's key; the key stays, for the paths in error messages."""
        frame.left -= 1
        value = self.begin()
        if value is not None:  # in Lua an entry that is nil is no entry
            table[frame.key] = value
        frame.left = -frame.left  # the next thing to be read is a key

    def check_key(self, key: Any, table: Table) -> None:
        """Refuse what can't be a key, and a key that the table has already."""
        if key is None or (isinstance(key, float) and math.isnan(key)):
            raise self.error(FormatError, "a key", "nil" if key is None else "nan")
        if key in table:
            raise self.error(FormatError, "each key once", key)

    def begin(self) -> Any:
        """The next object; if it has a body, its frame is pushed."""
        self.nodes += 1
        if self.nodes > self.limits.max_nodes:
            expected = f"at most {self.limits.max_nodes} objects"
            raise self.error(LimitError, expected + RAISE_LIMIT.format(name="max_nodes"))
        tag = self.integer()
        if tag == NUMBER:
            self.charge(_COST_NUMBER)
            return _lua_number(self.double())
        if tag == STRING:
            return self.string()
        if tag in {TABLE, TORCH}:
            index = self.integer()
            if index in self.objects:
                found = self.objects[index]
                if isinstance(found, Table) != (tag == TABLE) or found is SKIPPED:
                    raise self.error(FormatError, "an index of the same kind", found)
                return found
            return self.table(index) if tag == TABLE else self.instance(index)
        if tag == BOOLEAN:
            value = self.integer()
            if value not in {0, 1}:
                raise self.error(FormatError, "a boolean, 0 or 1", value)
            return value == 1
        if tag == NIL:
            return None
        if tag in FUNCTIONS:
            return self.function(tag)
        raise self.error(FormatError, "a tag from 0 to 8", tag)

    def function(self, tag: int) -> Any:
        """Pass over a function of an nn.Copy; refuse any other.

        Its bytes are not read.  The variables that it refers to are an object like any, which is
        read after it and given to nobody.
        """
        key = self.stack[-1].key if len(self.stack) >= 2 else None
        owner = self.stack[-2].target if isinstance(key, str) and key in COPY_FUNCTIONS else None
        if not isinstance(owner, TorchObject) or owner.class_name != COPY or tag not in _INDEXED:
            raise self.error(UnsafeError, CODE, f"a function (tag {tag})")
        index = self.integer()
        if index in self.objects:
            if self.objects[index] is not SKIPPED:
                raise self.error(FormatError, "an index of the same kind", self.objects[index])
            return SKIPPED
        self.charge(_COST_TORCH)
        self.objects[index] = SKIPPED
        self.skip(self.fitting(self.integer(), 1, "a function"))
        self.begin()
        return SKIPPED

    def push(self, target: Table | TorchObject, left: int) -> None:
        """Read the body of `target` next."""
        if len(self.stack) >= self.limits.max_depth:
            expected = f"at most {self.limits.max_depth} objects inside one another"
            raise self.error(LimitError, expected + RAISE_LIMIT.format(name="max_depth"))
        self.stack.append(_Frame(target, left))

    def string(self) -> str:
        """A string.  Bytes that are no UTF-8 are kept as Python keeps them in file names."""
        count = self.fitting(self.integer(), 1, "a string")
        self.charge(_COST_STRING + count)
        data = self.raw(count)
        if data.isascii():
            return data.decode("ascii")
        self.charge(5 * count)  # up to four bytes a character, and Python's work on the way there
        return data.decode("utf-8", "surrogateescape")

    def table(self, index: int) -> Table:
        """A table, registered and empty; its entries come next."""
        count = self.fitting(self.integer(), 2 * self.shortest, "a table's entries")
        self.charge(_COST_TABLE + _COST_ENTRY * count)
        result = self.objects[index] = Table()
        if count:
            self.push(result, count)
        return result

    def instance(self, index: int) -> Any:
        """A tensor, a storage, or an instance of another class, whose fields come next."""
        self.charge(_COST_TORCH)
        start = self.stream.tell()
        name, version = self.class_header()
        match = _TENSOR.match(name)
        if match and match[1] in STORAGE_TYPES:
            if match[2] == "Tensor":
                value: Any = self.tensor(match[1])
                if index in self.objects:  # its storage came with the same one
                    raise self.error(FormatError, "an index of its own", index)
            else:
                value = self.storage(match[1])
            self.objects[index] = value
            return value
        if name.startswith("tds."):
            raise self.error(UnsupportedError, "a class whose layout is known", name)
        result = self.objects[index] = TorchObject(name, version=version, offset=start)
        if count := objects_of(name, version):
            self.push(result, count)
        return result

    def class_header(self) -> tuple[str, int]:
        """Class and version.  Files older than versions begin with the class."""
        first = self.string()
        match = _VERSION.match(first)
        name = self.string() if match else first
        if not _CLASS.match(name):
            raise self.error(FormatError, "the name of a class", name)
        return name, int(match[1]) if match else 0

    def storage(self, kind: str) -> Storage:
        """The body of a storage: a length, and the data."""
        dtype = STORAGE_TYPES[kind]
        (count,) = self.longs(1)
        return Storage(self.entries(count, dtype, kind), f"torch.{kind}Storage")

    def tensor(self, kind: str) -> np.ndarray[Any, Any]:
        """The body of a tensor: sizes, strides, the first entry's place, and a storage or nil."""
        dtype = STORAGE_TYPES[kind]
        ndim = self.integer()
        if not 0 <= ndim <= self.limits.max_ndim:
            kind_of_error = FormatError if ndim < 0 else LimitError
            raise self.error(kind_of_error, f"0 to {self.limits.max_ndim} axes", ndim)
        sizes, strides = self.longs(ndim), self.longs(ndim)
        (first,) = self.longs(1)
        entries = self.tensor_storage(kind, dtype)
        if not ndim:
            return np.empty(0, dtype)
        if min(sizes) < 0 or min(strides) < 0 or first < 1:
            found = f"{sizes}, {strides}, {first}"
            raise self.error(FormatError, "sizes and strides from 0, offset from 1", found)
        count = math.prod(sizes)
        if not count:
            return np.empty(0, dtype)
        last = first + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        if last > entries.size:
            found = f"an entry at {last}"
            raise self.error(FormatError, f"a view of the {entries.size} entries stored", found)
        if count > entries.size:  # entries seen more than once, as nn.Replicate makes them
            self.expanded += count * dtype.itemsize
            if self.expanded > self.limits.max_expanded:
                expected = f"at most {self.limits.max_expanded} bytes of repeated entries"
                raise self.error(LimitError, expected, count * dtype.itemsize)
        width = dtype.itemsize
        # Along an axis of length 1 the stride means nothing, and may be too large to be multiplied.
        usable = [n > 1 or step < _LARGEST for n, step in zip(sizes, strides, strict=True)]
        steps = [(step if ok else 1) * width for step, ok in zip(strides, usable, strict=True)]
        return np.ndarray(sizes, dtype, entries, (first - 1) * width, steps)

    def tensor_storage(self, kind: str, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        tag = self.integer()
        if tag == NIL:
            return np.empty(0, dtype)
        if tag != TORCH:
            raise self.error(FormatError, "a storage or nil", f"tag {tag}")
        index = self.integer()
        wanted = f"torch.{kind}Storage"
        if index not in self.objects:
            self.nodes += 1
            name, _ = self.class_header()
            if name != wanted:
                raise self.error(FormatError, wanted, name)
            self.objects[index] = self.storage(kind)
        found = self.objects[index]
        if not isinstance(found, Storage) or found.array.dtype != dtype:
            raise self.error(FormatError, wanted, found)
        return found.array


def _lua_number(value: float) -> int | float:
    """Lua has only doubles; those that are whole become ints, but for -0.0 and inexact ones."""
    whole = value.is_integer() and abs(value) < 2**53 and (value or math.copysign(1, value) > 0)
    return int(value) if whole else value
