"""Names of modules: given, asked for, looked up; and what is done to modules by their names."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from tapegrad.nn.core.part import Part, text_of
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.transient import transient_state_of, transient_value

__all__ = ["Naming"]

NO_NAME = "{name}.setName takes a text, or None to take the name away, not {found}"
NOT_APPLIED = (
    "{name}.apply takes a name, m.apply('conv1'), or a function of modules, m.apply(print); "
    "not {found}"
)
SEVERAL = "{name}: several modules are called {wanted!r}: {paths}. Give them names of their own"
ABSENT = "{name}: no module is called {wanted!r}; there are {known}"
NOT_NAMES = "{name}.{method} takes names of modules, or one list of them, not {found}"


class Naming(Part):
    """Finding modules by the names that `setName` gave, and freezing them by these."""

    def setName(self, name: str | None) -> Self:
        """Call the module `name`, in copies and files too; None takes the name away.

        Returns self.  Raises TypeError for what is no text.
        """
        if name is None:
            self.__dict__.pop("_name", None)
        elif isinstance(name, str):
            self._name = name
        else:
            raise TypeError(NO_NAME.format(name=type(self).__name__, found=type(name).__name__))
        return self

    def getName(self) -> str:
        """The name that `setName` gave, else the class's and a text of this module: "Linear@1f…".

        Copies of a module that was asked have the same text; files keep only given names.
        """
        if self._name is not None:
            return self._name
        return f"{_class_name(self)}@{_postfix(self)}"

    def hasName(self) -> bool:
        """Whether `setName` gave the module a name."""
        return self._name is not None

    def apply(self, what: str | Callable[[Any], Any]) -> Any:
        """A name: the module that has it, or None.  A function: call it on this module and on all
        below, parents first; returns self.

        A module that has the name itself does not look below.
        Raises ValueError for a name that several modules have, and TypeError for anything else, a
        module too.
        """
        if isinstance(what, str):
            return _found(self, what)
        if isinstance(what, Part) or not callable(what):
            name = type(self).__name__
            raise TypeError(NOT_APPLIED.format(name=name, found=type(what).__name__))
        applied: Self = super().apply(what)  # type: ignore[misc]  # of the mixin Torch7
        return applied

    def freeze(self, *names: str | Sequence[str]) -> Self:
        """Make the Parameters of this module and of all below it constants until `unfreeze`; with
        names, one or several or one list of them, those of the modules that have the names.

        `parameters()` leaves them out, and their gradients cost no work; gradients with respect to
        inputs pass as before.  Optimizers leave them as they are, weight decay included, also
        optimizers that were made before.  ``layer.weight.freeze()`` does the same to one Parameter.
        `state_dict` still holds them, and files keep that they are frozen.  Buffers, such as
        running means, are still updated in training mode.  As with `no_grad`, a thread that forward
        code starts does not see the freezing, unless it runs in a copy of the context
        (`contextvars.copy_context`).
        Returns self.  Raises KeyError for a name that no module has, ValueError for one that
        several have, TypeError for what is no text; nothing is frozen then.
        """
        for module in _chosen(self, "freeze", names):
            module._freeze(True)
        return self

    def unfreeze(self, *names: str | Sequence[str]) -> Self:
        """Let this module, all below it and each of their Parameters learn again; with names, the
        modules that have these, as `freeze`.

        Returns self.  Raises as `freeze`.
        """
        for module in _chosen(self, "unfreeze", names):
            module._freeze(False)
        return self

    def unFreeze(self, *names: str | Sequence[str]) -> Self:
        """BigDL's spelling of `unfreeze`; raises as `freeze`."""
        return self.unfreeze(*names)

    def setLine(self, line: str) -> Self:
        """Set what separates lines in `toString` of this module; returns self."""
        transient_state_of(self).line = line
        return self

    def toString(self) -> str:
        """BigDL's text: "Linear[name](2 -> 3)", children counted from 1."""
        return _text(self)


def _class_name(module: Any) -> str:
    """The class's name; of a quantized layer, that of the layer which it was made of."""
    return type(module).__name__.removeprefix("_Quantized")


def _postfix(module: Any) -> str:
    """The text that tells a module without a name from others; made when first asked for."""
    state = transient_state_of(module)
    if state.postfix is None:
        state.postfix = secrets.token_hex(4)  # of no random stream that a seed fixes
    return state.postfix


def _has_name(module: Any, name: str) -> bool:
    """Whether `getName()` is `name`; a module that was never asked has no text of its own yet."""
    if module._name is not None:
        return bool(module._name == name)
    postfix = transient_value(module, "postfix")
    return postfix is not None and f"{_class_name(module)}@{postfix}" == name


def _matches(module: Any, name: str, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(path, module) for the topmost modules that have the name, each once."""
    if id(module) in seen:
        return
    seen.add(id(module))
    if _has_name(module, name):
        yield path, module
        return
    for child in Part.children(module):
        yield from _matches(child, name, path + Part.name_of_child(module, child), seen)


def _found(module: Any, name: str) -> Any:
    found = list(_matches(module, name, type(module).__name__, set()))
    if len(found) > 1:
        paths = ", ".join(path for path, _ in found)
        raise ValueError(SEVERAL.format(name=type(module).__name__, wanted=name, paths=paths))
    return found[0][1] if found else None


def _chosen(module: Any, method: str, names: tuple[Any, ...]) -> list[Any]:
    """The modules of these names; the module itself without names."""
    if len(names) == 1 and isinstance(names[0], (list, tuple)):
        names = tuple(names[0])
        if not names:
            return []
    if not names:
        return [module]
    chosen = []
    for name in names:
        cls = type(module).__name__
        if not isinstance(name, str):
            raise TypeError(NOT_NAMES.format(name=cls, method=method, found=type(name).__name__))
        match = _found(module, name)
        if match is None:
            known = sorted(m._name for m in module.listModules() if m._name is not None)
            shown = ", ".join(known) or "no names yet; setName gives one"
            raise KeyError(ABSENT.format(name=cls, wanted=name, known=shown))
        chosen.append(match)
    return chosen


def _text(module: Any) -> str:
    line = transient_value(module, "line") or "\n"
    label = module._name if module._name is not None else _postfix(module)
    children = Part.children(module)
    if not children:
        plain = text_of(module, 1).replace("\n", line)
        shown = f"quantized.{_class_name(module)}"
        if plain.startswith(shown):
            return f"{shown}[{label}]{plain.removeprefix(shown)}"
        name = torch7_name(module)
        return f"{_class_name(module)}[{label}]{plain.removeprefix(name)}"
    lines = []
    if module.drawn_as == "chain":
        steps = "".join(f"({i}) -> " for i in range(1, len(children) + 1))
        lines.append(f"[input -> {steps}output]")
    lines += [f"({i}): {_text(child)}" for i, child in enumerate(children, 1)]
    inner = "".join(f"{line}  " + each.replace(line, line + "  ") for each in lines)
    return f"{type(module).__name__}[{label}]{{{inner}{line}}}"
