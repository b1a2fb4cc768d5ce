"""How a model travels to other processes: once, as bytes, and is loaded once in each.

A back end sends the bytes in its own way, a broadcast for instance, and every partition's function
finds the model that its process has loaded already.
"""

from __future__ import annotations

import hashlib
import pickle
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tapegrad.nn.core import files

__all__ = ["FrameColumns", "ShippedFunction", "model_bytes", "without_model"]

_KEPT = 4  # models in a process
_loaded: OrderedDict[str, Any] = OrderedDict()
_loading = threading.Lock()
_AS_FILE, _AS_PICKLE = b"F", b"P"


@dataclass(frozen=True)
class FrameColumns:
    """Columns of a frame that lies on other machines; `DataSet.frame` makes it.

    features: names of the columns that make the input, all but the labels where it is None
    labels:   names of those that make the target
    """

    frame: Any
    features: Sequence[str] | str | None
    labels: Sequence[str] | str | None

    def input_names(self) -> Sequence[str] | str:
        """The names of the columns that make the input."""
        if self.features is not None:
            return self.features
        labels = [self.labels] if isinstance(self.labels, str) else list(self.labels or ())
        return [name for name in self.frame.columns if name not in labels]


def model_bytes(model: Any) -> bytes:
    """Return a model as the bytes of a file of the native format, or pickled where none holds it.

    A file holds every module of nn; a class of the user's travels as Python sends objects between
    processes of one program.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        try:
            files.save(model, path)
            content = path.read_bytes()
            files.load(content)  # a class of the user's is found to be missing here, not there
        except (ValueError, TypeError, LookupError):
            return _AS_PICKLE + pickle.dumps(model)
    return _AS_FILE + content


def _model(key: str, content: Callable[[], bytes]) -> Any:
    with _loading:
        if key not in _loaded:
            data = content()
            if data[:1] == _AS_FILE:
                _loaded[key] = files.load(data[1:])
            else:
                _loaded[key] = pickle.loads(data[1:])  # noqa: S301  # the program's own, from its driver
            while len(_loaded) > _KEPT:
                _loaded.popitem(last=False)
        _loaded.move_to_end(key)
        return _loaded[key]


def without_model(function: Any) -> tuple[Any, Any]:
    """Return (the partition function without its model, the model).

    A progress bar stays behind: it would be drawn where nobody looks.
    """
    function = getattr(function, "function", function)
    return replace(function, model=None), function.model


@dataclass(frozen=True)
class ShippedFunction:
    """A partition function whose model is loaded where it runs.

    key: of the model's bytes;  content: returns these bytes, where the model is not loaded yet
    """

    function: Any
    key: str
    content: Callable[[], bytes]

    def __call__(self, samples: Iterable[Any]) -> Iterator[Any]:
        model = _model(self.key, self.content)
        found: Iterator[Any] = replace(self.function, model=model)(samples)
        return found

    @staticmethod
    def key_of(content: bytes) -> str:
        """Return what tells models apart: a hash of the bytes."""
        return hashlib.sha256(content).hexdigest()
