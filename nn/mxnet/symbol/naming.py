"""NameManager, Prefix and AttrScope: names and attributes by the place where a symbol is made."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any, Self

__all__ = ["AttrScope", "NameManager", "Prefix", "current_attributes", "current_names"]


class NameManager:
    """A block in which automatic names count from 0: "fullyconnected0", "fullyconnected1", …

    with NameManager(): …  Source: mx.name.NameManager.
    """

    def __init__(self) -> None:
        self._counter: dict[str, int] = {}
        self._tokens: list[Token[NameManager]] = []

    def get(self, name: str | None, hint: str) -> str:
        """`name`, or the next automatic one of `hint`."""
        if name:
            return name
        count = self._counter.get(hint, 0)
        self._counter[hint] = count + 1
        return f"{hint}{count}"

    def __enter__(self) -> Self:
        self._tokens.append(_names.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _names.reset(self._tokens.pop())


class Prefix(NameManager):
    """A block in which every name, given or automatic, begins with `prefix`.

    Source: mx.name.Prefix.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        """The prefix and what `NameManager.get` gives."""
        return self._prefix + super().get(name, hint)


class AttrScope:
    """A block in which every symbol gets these attributes: ``with AttrScope(lr_mult="2"): …``

    Values are texts.  An inner block adds to the outer one.  Raises ValueError for a value that is
    no text.  Source: mx.attribute.AttrScope.
    """

    def __init__(self, **attributes: str) -> None:
        for key, value in attributes.items():
            if not isinstance(value, str):
                raise ValueError(  # noqa: TRY004  # MXNet's type
                    f"AttrScope: {key} is {value!r}; attributes are texts"
                )
        self.attributes = attributes
        self._tokens: list[Token[AttrScope]] = []

    def get(self, attributes: dict[str, str] | None) -> dict[str, str]:
        """The block's attributes with `attributes` over them."""
        return {**self.attributes, **(attributes or {})}

    def __enter__(self) -> Self:
        inner = AttrScope(**{**_attributes.get().attributes, **self.attributes})
        self._tokens.append(_attributes.set(inner))
        return self

    def __exit__(self, *_: object) -> None:
        _attributes.reset(self._tokens.pop())


_names: ContextVar[NameManager] = ContextVar("mxnet_names", default=NameManager())  # noqa: B039  # one counter for all code outside of blocks, as MXNet has
_attributes: ContextVar[AttrScope] = ContextVar("mxnet_attributes", default=AttrScope())  # noqa: B039  # it is empty and nobody changes it


def current_names() -> NameManager:
    """The names of the innermost block."""
    return _names.get()


def current_attributes(attributes: dict[str, Any] | None = None) -> dict[str, str]:
    """The attributes of the innermost block with `attributes` over them."""
    return _attributes.get().get(attributes)
