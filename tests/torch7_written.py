"""What Torch7 itself writes, held against what is written here: field by field.

`written.tar.xz` has, of the module or criterion of record CLASS/N of tests/data/torch7,
`fresh/CLASS.N-d.t7` and `-f.t7` as Torch7's constructors make it, in double and single precision,
and `after_run/CLASS.N-d.t7` after a forward and a backward there.  Set TAPEGRAD_TORCH7_WRITTEN to
read another directory or archive of the same layout.
"""

from __future__ import annotations

import functools
import os
import tarfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tapegrad.nn.formats.torch7 import Storage, Table, TorchObject

__all__ = ["Comparison", "Departure", "Difference", "files", "kind_of", "tensors_of_another_type"]

OWN = Path(__file__).parent / "data" / "torch7" / "written.tar.xz"
ROOT = Path(os.environ.get("TAPEGRAD_TORCH7_WRITTEN") or OWN)


@functools.cache
def files(folder: str) -> dict[str, bytes]:
    """The files of "fresh" or "after_run" by name, without the ending: "nn.Abs.0-d"."""
    if ROOT.is_dir():
        return {p.stem: p.read_bytes() for p in sorted((ROOT / folder).glob("*.t7"))}
    with tarfile.open(ROOT) as archive:
        members = (m for m in archive.getmembers() if m.name.startswith(f"{folder}/"))
        return {Path(m.name).stem: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]


class Difference(NamedTuple):
    """One field that is not the same in both.

    cls, field: the class of the innermost object, and the field below it: "gradInput.1"
    kind:       "missing" here, "extra" here, "type" (of tensor, storage, number, table, object, and
                an object's version), "shape", "value", or "sharing" (of memory with other fields)
    """

    cls: str
    field: str
    kind: str
    found: str
    wanted: str


class Departure(NamedTuple):
    """Differences by design: patterns of classes, fields and kinds, and the reason."""

    cls: str
    field: str
    kind: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        """Whether this is the reason of a difference."""
        return all(self._matching(difference))

    def words(self, difference: Difference) -> list[str]:
        """The patterns that a difference needs."""
        return [word for words in self._matching(difference) for word in words]

    def all_words(self) -> list[str]:
        """Every pattern of classes, fields and kinds."""
        return [word for patterns in self[:3] for word in patterns.split()]

    def _matching(self, difference: Difference) -> list[list[str]]:
        pairs = zip(self[:3], difference[:3], strict=True)
        return [[word for word in p.split() if fnmatchcase(name, word)] for p, name in pairs]


def kind_of(value: Any) -> str:
    """The type of a thing in a file, with its entries' type, its class and version."""
    if isinstance(value, np.ndarray):
        return f"tensor of {value.dtype}"
    if isinstance(value, Storage):
        return str(value.name)
    if isinstance(value, TorchObject):
        return f"{value.class_name}, version {value.version}"
    if isinstance(value, bool):
        return "boolean"
    return {int: "number", float: "number", Table: "table"}.get(type(value), type(value).__name__)


class Comparison:
    """Every field of what Torch7 wrote, looked up in what was written here.

    count:       how many fields were compared
    differences: those that are not the same
    """

    def __init__(self, found: Any, wanted: Any) -> None:
        self.count = 0
        self.differences: list[Difference] = []
        self._seen: set[tuple[int, int]] = set()
        self._owners: dict[int, int] = {}
        self._compare(found, wanted, "", "")

    def _differ(self, cls: str, field: str, kind: str, found: Any, wanted: Any) -> None:
        self.differences.append(Difference(cls, field, kind, f"{found!s:.80}", f"{wanted!s:.80}"))

    def _compare(self, found: Any, wanted: Any, cls: str, field: str) -> None:
        if isinstance(wanted, (Table, TorchObject)):
            if (id(found), id(wanted)) in self._seen:
                return
            self._seen.add((id(found), id(wanted)))
        self.count += 1
        if kind_of(found) != kind_of(wanted):
            self._differ(cls, field, "type", kind_of(found), kind_of(wanted))
        elif isinstance(wanted, TorchObject):
            self._compare(found.fields, wanted.fields, wanted.class_name, "")
        elif isinstance(wanted, Table):
            self._tables(found, wanted, cls, field)
        elif isinstance(wanted, Storage):
            self._arrays(found.array, wanted.array, cls, field)
        elif isinstance(wanted, np.ndarray):
            self._arrays(found, wanted, cls, field)
        elif found != wanted:
            self._differ(cls, field, "value", repr(found), repr(wanted))

    def _tables(self, found: Table, wanted: Table, cls: str, field: str) -> None:
        ours, theirs = _named(found), _named(wanted)
        for key in {**theirs, **ours}:
            inner = f"{field}.{key}".removeprefix(".")
            if key not in ours:
                self._differ(cls, inner, "missing", "nothing", kind_of(theirs[key]))
            elif key not in theirs:
                self._differ(cls, inner, "extra", kind_of(ours[key]), "nothing")
            else:
                self._compare(ours[key], theirs[key], cls, inner)

    def _arrays(self, found: Any, wanted: Any, cls: str, field: str) -> None:
        if found.shape != wanted.shape:
            self._differ(cls, field, "shape", found.shape, wanted.shape)
        elif not np.allclose(
            found, wanted, rtol=1e-12 if wanted.itemsize == 8 else 1e-6, atol=0, equal_nan=True
        ):
            self._differ(cls, field, "value", found.tolist(), wanted.tolist())
        if wanted.size and found.size:
            owner, known = id(_owner(found)), self._owners.get(id(_owner(wanted)))
            if known is not None and known != owner:
                self._differ(cls, field, "sharing", "memory of its own", "memory seen before")
            self._owners.setdefault(id(_owner(wanted)), owner)


def _close(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    precise = wanted.dtype == np.float64
    return np.allclose(found, wanted, rtol=1e-12 if precise else 1e-6, atol=0, equal_nan=True)


def _named(table: Table) -> dict[Any, Any]:
    """The entries without those that have an object for a key, as nngraph's nodes do."""
    return {k: v for k, v in table.items() if not isinstance(k, (Table, TorchObject))}


def _owner(array: np.ndarray[Any, Any]) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def tensors_of_another_type(root: Any) -> set[str]:
    """ "CLASS.field" of floating point tensors that have not the type of the object they are in."""
    found: set[str] = set()
    stack: list[tuple[Any, str, Any, str]] = [(root, "", None, "")]
    seen: set[int] = set()
    while stack:
        item, cls, kind, field = stack.pop()
        if isinstance(item, (Table, TorchObject)):
            if id(item) in seen:
                continue
            seen.add(id(item))
        if isinstance(item, TorchObject):
            fields, cls, kind = item.fields, item.class_name, _type_of(item.fields)
            stack += [(value, cls, kind, str(key)) for key, value in _named(fields).items()]
        elif isinstance(item, Table):
            stack += [(value, cls, kind, field) for value in _named(item).values()]
        elif isinstance(item, np.ndarray) and item.dtype.kind == "f" and kind != item.dtype:
            found.add(f"{cls}.{field}")
    return found


def _type_of(fields: Table) -> Any:
    """The type of an object; a criterion's is that of its gradInput."""
    if "_type" in fields:
        return {"torch.DoubleTensor": np.float64, "torch.FloatTensor": np.float32}[fields["_type"]]
    gradient = fields.get("gradInput")
    while isinstance(gradient, Table) and len(gradient):
        gradient = gradient[1]
    return gradient.dtype if isinstance(gradient, np.ndarray) else None
