"""install: from now on ``import mxnet`` finds this package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["OUT_OF_SCOPE", "install"]

HERE = "tapegrad.nn.mxnet"
OTHER = (
    "install: mxnet is imported already, from {place}; call tapegrad.nn.mxnet.install() before "
    "anything imports it"
)
OUT_OF_SCOPE = {
    "gluon": "Gluon is out of scope; its .params files are read by mx.nd.load",
    "autograd": "mx.autograd is out of scope: tapegrad.autograd differentiates",
    "np": "mx.np is out of scope: NumPy's functions work on tapegrad's Tensors",
    "npx": "mx.npx is out of scope: NumPy's functions work on tapegrad's Tensors",
}


def install() -> None:
    """Let ``import mxnet``, ``from mxnet import nd`` and ``import mxnet.io`` find this package.

    Raises ImportError where another mxnet is imported already; nothing has changed then.
    """
    own = sys.modules[HERE]
    found = sys.modules.get("mxnet")
    if found is own:
        return
    if found is not None:
        place = getattr(found, "__file__", None) or "an unknown place"
        raise ImportError(OTHER.format(place=place), name="mxnet")
    sys.modules["mxnet"] = own
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds mxnet.io, mxnet.nd, … where ``mx.io``, ``mx.nd`` are."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a part of mxnet.  Raises ImportError for one that is not here."""
        if not fullname.startswith("mxnet."):
            return None
        found: Any = sys.modules[HERE]
        for step in fullname.split(".")[1:]:
            inner = getattr(found, step, None)
            if inner is None and isinstance(found, ModuleType):
                inner = _imported(f"{found.__name__}.{step}")
            if inner is None:
                reason = OUT_OF_SCOPE.get(step, f"{HERE} has no {step!r}")
                raise ImportError(f"{fullname}: {reason}", name=fullname)
            found = inner
        return ModuleSpec(fullname, _Known(found))


def _imported(name: str) -> ModuleType | None:
    """A part that nobody has imported yet; None where there is none."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise


class _Known(Loader):
    """Gives the module that is there, and leaves its own spec alone."""

    def __init__(self, module: Any):
        self.module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """None: `exec_module` puts the module in place."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is there in place of the new one."""
        sys.modules[module.__name__] = self.module
