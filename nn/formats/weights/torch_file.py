"""PyTorch's state_dict files (.pt, .pth): the arrays that a ZIP file of torch.save holds.

    name/data.pkl    a pickle: dicts of tensors, each a part of a storage
    name/data/0, …   the storages' bytes
    name/byteorder   "little" or "big"; the files of older versions have none, and are little

The pickle is read as data (common/pickles.py): it may make tensors, parameters, dicts and numbers.
A module of its own classes is code.  Tensors that share a storage share memory here as well.
bfloat16, which NumPy lacks, becomes float32, with equal values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.formats.common.pickles import Built, Name, Outside, read_pickle

if TYPE_CHECKING:
    from tapegrad.nn.formats.weights.archive import Archive

__all__ = ["LEGACY", "is_torch_archive", "read_torch", "refuse_legacy"]

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of a number, its mark
_PICKLE = "data.pkl"
_LONGEST = 512  # characters of a name

DTYPES: dict[str, str] = {
    "Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2",
    "Char": "i1", "Byte": "u1", "Bool": "?", "ComplexFloat": "c8", "ComplexDouble": "c16",
    "BFloat16": "bfloat16",
}  # fmt: skip
# The types of untyped storages, by the names of torch.dtype.
NAMED: dict[str, str] = {
    "float32": "f4", "float64": "f8", "float16": "f2", "int64": "i8", "int32": "i4", "int16": "i2",
    "int8": "i1", "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "?",
    "complex64": "c8", "complex128": "c16", "bfloat16": "bfloat16",
}  # fmt: skip
_DICTS = {Name("collections", "OrderedDict"), Name("builtins", "dict"), Name("__builtin__", "dict")}
_TENSORS = {Name("torch._utils", f"_rebuild_tensor_v{n}") for n in (2, 3)}
_PARAMETERS = {Name("torch._utils", f"_rebuild_parameter{end}") for end in ("", "_with_state")}
_SIZE = Name("torch", "Size")
_PLAIN = (str, bytes, bytearray, int, float, bool, type(None), Name)

CODE = (
    "arrays, numbers and texts: what else torch.save wrote is code; in PyTorch, "
    "torch.save(model.state_dict(), path) writes the arrays alone"
)
OLD = (
    "the ZIP format that PyTorch writes since version 1.6; in PyTorch, "
    "torch.save(torch.load(path, weights_only=True), path) writes it"
)
SCRIPT = (
    "a state_dict: a TorchScript archive holds code; in PyTorch, "
    "torch.save(torch.jit.load(path).state_dict(), other) writes the arrays alone"
)

Arrays = dict[str, np.ndarray]


def is_torch_archive(archive: Archive) -> bool:
    """Whether a ZIP file is one that torch.save or torch.jit.save wrote."""
    return any(name == _PICKLE or name.endswith(f"/{_PICKLE}") for name in archive.members)


def refuse_legacy(first: bytes, place: str | None) -> None:
    """Raise UnsupportedError, with the way round, for a file that begins as older ones do."""
    if first.startswith(LEGACY):
        raise UnsupportedError(OLD, "the format before it", file=place, offset=0)


def read_torch(archive: Archive) -> Arrays:
    """The arrays of a file of torch.save by name; keys of dicts in dicts are joined by dots.

    What is no array, such as the number of an epoch, is left out.
    Raises UnsafeError for anything that is more than data, FormatError or another of its children
    for what is wrong.
    """
    return _File(archive).arrays()


class _File:
    def __init__(self, archive: Archive) -> None:
        self.archive, self.limits = archive, archive.limits
        self.storages: dict[tuple[str, str], np.ndarray] = {}
        self.made: dict[
            int, np.ndarray
        ] = {}  # by the pickle's objects, which all live until the end
        self.expanded = 0
        pickles = [n for n in archive.members if n == _PICKLE or n.endswith(f"/{_PICKLE}")]
        self.folder = min(pickles, key=len).removesuffix(_PICKLE)
        for name in archive.members:
            inner = name.removeprefix(self.folder)
            if inner.startswith("code/") or inner == "constants.pkl":
                raise UnsafeError(SCRIPT, f"{name!r:.80}", file=archive.place)
        self.order = self._byte_order()

    def error(
        self, kind: type[FormatError], expected: str, found: Any = None, path: str | None = None
    ) -> FormatError:
        at = self.archive.members[self.folder + _PICKLE].start
        return kind(expected, found, file=self.archive.place, offset=at, path=path)

    def _byte_order(self) -> str:
        member = self.archive.members.get(f"{self.folder}byteorder")
        if member is None:
            return "<"
        text = self.archive.read(member, 16)
        if text not in (b"little", b"big"):
            raise self.error(FormatError, "little or big", text, "byteorder")
        return "<" if text == b"little" else ">"

    def arrays(self) -> Arrays:
        member = self.archive.members[self.folder + _PICKLE]
        most = self.limits.overhead(len(self.archive.data))
        data = self.archive.read(member, most)
        root = read_pickle(data, self.archive.place, self.limits, outside=True)
        found: Arrays = {}
        left = min(self.limits.max_nodes, 10_000 + len(data))
        stack: list[tuple[str, Any, int]] = [("", root, 0)]
        while stack:
            name, value, depth = stack.pop()
            left -= 1
            # a memo lets one dict stand in many places: names and depth bound what that may cost
            if left < 0 or depth > 64 or len(name) > _LONGEST:
                text = f"names of {_LONGEST} characters, 64 dicts deep, and not too many of them"
                raise self.error(LimitError, text, path=f"{name:.80}")
            if isinstance(value, Built) and value.maker in _DICTS:
                if value.args not in ((), ([],)) or value.items:
                    raise self.error(UnsafeError, CODE, f"a call of {value.maker}", name)
                value = value.pairs
            if isinstance(value, dict):
                below = [(self._joined(name, key), inner) for key, inner in value.items()]
            elif isinstance(value, (list, tuple)):
                below = [(self._joined(name, i), inner) for i, inner in enumerate(value)]
            else:
                array = self._array(value, name)
                if array is not None:
                    if name in found:
                        raise self.error(FormatError, "each name once", path=f"{name:.80}")
                    found[name] = array
                continue
            stack += ((inner, part, depth + 1) for inner, part in reversed(below))
        return found

    def _joined(self, name: str, key: Any) -> str:
        if not isinstance(key, (str, int)):
            raise self.error(UnsupportedError, "texts and whole numbers as keys", type(key), name)
        return f"{name}.{key}" if name else str(key)

    def _array(self, value: Any, name: str) -> np.ndarray | None:
        """A tensor as an array; None for a number, a text or the name of a type."""
        if isinstance(value, _PLAIN):
            return None
        if not isinstance(value, Built):
            raise self.error(UnsafeError, CODE, type(value).__name__, f"{name:.80}")
        built = value
        if built.maker == _SIZE:
            return None
        if built.maker in _PARAMETERS:
            if not built.args or not isinstance(built.args[0], Built):
                raise self.error(FormatError, "a parameter's tensor", path=f"{name:.80}")
            built = built.args[0]
        if built.maker not in _TENSORS:
            raise self.error(UnsafeError, CODE, f"a call of {built.maker}", f"{name:.80}")
        if id(built) not in self.made:
            self.made[id(built)] = self._tensor(built, name)
        return self.made[id(built)]

    def _tensor(self, built: Built, name: str) -> np.ndarray:
        args = built.args
        typed = built.maker.name == "_rebuild_tensor_v2"
        if len(args) < (6 if typed else 7) or not isinstance(args[0], Outside):
            raise self.error(FormatError, "a storage, an offset, a shape and strides", path=name)
        stored, offset, shape, strides = args[:4]
        if isinstance(shape, Built) and shape.maker == _SIZE and len(shape.args) == 1:
            shape = shape.args[0]
        sizes = (shape, strides)
        if not all(isinstance(s, tuple) and all(type(n) is int for n in s) for s in sizes):
            raise self.error(FormatError, "tuples of whole numbers", path=name)
        if len(shape) != len(strides) or type(offset) is not int:
            raise self.error(FormatError, "a stride for each axis, and an offset", path=name)
        if len(shape) > self.limits.max_ndim:
            text = f"at most {self.limits.max_ndim} axes"
            raise self.error(LimitError, text, len(shape), name)
        if min((offset, *shape, *strides)) < 0:
            raise self.error(FormatError, "sizes, strides and an offset from 0", args[1:4], name)
        storage = self._storage(stored.key, None if typed else args[6], name)
        return self._view(storage, offset, shape, strides, name)

    def _view(
        self,
        storage: np.ndarray,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        name: str,
    ) -> np.ndarray:
        if 0 in shape:
            if max(shape) >= 1 << 60:
                raise self.error(LimitError, "a shape that fits into memory", shape, name)
            try:
                return np.empty(shape, storage.dtype)
            except ValueError as error:
                raise self.error(LimitError, f"a shape that fits: {error}", path=name) from error
        count = 1
        for n in shape:
            count *= n
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if last >= storage.size:
            raise self.error(TruncatedError, f"{last + 1} entries in a storage", storage.size, name)
        if count > storage.size - offset:
            self.expanded += count * storage.itemsize
            if self.expanded > self.limits.max_expanded:
                text = f"at most {self.limits.max_expanded} bytes of repeated entries"
                raise self.error(LimitError, text, self.expanded, name)
        # the stride of an axis of one entry is never used, and may be any number
        steps = [
            step * storage.itemsize if n > 1 else 0 for n, step in zip(shape, strides, strict=True)
        ]
        return np.ndarray(shape, storage.dtype, storage, offset * storage.itemsize, tuple(steps))

    def _storage(self, key: Any, dtype: Any, name: str) -> np.ndarray:
        """The entries of a storage; those that tensors share are the same array."""
        if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
            raise self.error(FormatError, "the key of a storage", f"{key!r:.80}", name)
        _, kind, number, _, count = key[:5]
        if not isinstance(kind, Name) or not isinstance(number, str) or type(count) is not int:
            raise self.error(FormatError, "a storage's type, number and size", path=name)
        text = self._dtype(kind, dtype, name)
        if (number, text) in self.storages:
            return self.storages[number, text]
        member = self.archive.members.get(f"{self.folder}data/{number}")
        if member is None:
            raise self.error(FormatError, f"a member data/{number:.40}", path=name)
        if member.deflated:
            raise self.error(UnsupportedError, "storages that are not deflated", path=name)
        width = 2 if text == "bfloat16" else np.dtype(text).itemsize
        size = count if dtype is not None else count * width
        if size != member.size or size % width:
            kind_of = TruncatedError if size > member.size else FormatError
            raise self.error(kind_of, f"{size} bytes in data/{number:.40}", member.size, name)
        raw = self.archive.data[member.start : member.start + member.size]
        found = np.frombuffer(raw, f"{self.order}u2" if text == "bfloat16" else self.order + text)
        if text == "bfloat16":
            found = found.astype(np.uint32)
            found <<= 16
            found = found.view(np.float32)
        elif text == "?" and found.view(np.uint8).max(initial=0) > 1:
            raise self.error(FormatError, "booleans, 0 or 1", "another byte", name)
        elif not found.dtype.isnative or not found.flags.aligned:
            found = found.astype(found.dtype.newbyteorder("="))
        self.storages[number, text] = found
        return found

    def _dtype(self, kind: Name, dtype: Any, name: str) -> str:
        if dtype is not None:
            known = NAMED.get(dtype.name) if isinstance(dtype, Name) else None
            named = f"{dtype!s:.80}"
        else:
            known = (
                DTYPES.get(kind.name.removesuffix("Storage")) if kind.module == "torch" else None
            )
            named = f"{kind!s:.80}"
        if known is None:
            raise self.error(UnsupportedError, "a type that NumPy has", named, f"{name:.80}")
        return known
