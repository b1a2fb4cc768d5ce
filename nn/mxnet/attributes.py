"""Attributes of operators: MXNet keeps every one as text, and each kind says how to read it.

In symbol.json and in `Symbol.attr` an attribute is the text that Python's `str` gave: "(3, 3)",
"True", "1e-05", "None".  A declaration of an operator names its attributes with a kind and a
default; `Attributes` reads the texts of one node once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from tapegrad.nn.mxnet.errors import MXNetError

__all__ = [
    "REQUIRED",
    "Attribute",
    "Attributes",
    "Bool",
    "Choice",
    "DType",
    "Float",
    "Floats",
    "Int",
    "Shape",
    "Text",
    "attributes_of_inputs",
    "input_of",
    "is_hidden",
    "renamed",
    "text_of",
    "texts_of",
    "with_bare_names",
]


class _Required:
    """The default of an attribute that every call must give."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()
_TRUE, _FALSE = {"true", "1"}, {"false", "0"}
# Names that variables and operators carry for the user, not for the operator.
_HIDDEN = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage", "profiler_scope")
_OF_INPUT = re.compile(rf"(?:__)?(\w+?)_({'|'.join(_HIDDEN)})(?:__)?$")


@dataclass(frozen=True)
class Attribute:
    """A kind of attribute with its default; `none` says that the text "None" is allowed."""

    default: Any = REQUIRED
    none: bool = False

    def read(self, text: str) -> Any:
        """The value of a text.  Raises ValueError for a text of another kind."""
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        """As `read`, with "None" where it is allowed."""
        return None if self.none and text.strip() == "None" else self.read(text.strip())


class Int(Attribute):
    """A whole number: "3"."""

    def read(self, text: str) -> int:
        return int(text)


class Float(Attribute):
    """A number: "1e-05"."""

    def read(self, text: str) -> float:
        return float(text)


class Bool(Attribute):
    """A truth: "True", "true", "1" or "False", "false", "0"."""

    def read(self, text: str) -> bool:
        word = text.lower()
        if word not in _TRUE | _FALSE:
            raise ValueError("it is neither True nor False")
        return word in _TRUE


class Text(Attribute):
    """Any text."""

    def read(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Choice(Attribute):
    """One of a few words."""

    words: tuple[str, ...] = ()

    def read(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(f"expected one of {', '.join(self.words)}")
        return text


class Shape(Attribute):
    """Whole numbers, "(3, 3)", "[3,3]" or "3"; an entry "None" where `slice` allows it."""

    def read(self, text: str) -> tuple[Any, ...]:
        return tuple(None if n is None else int(n) for n in _sequence(text))


class Floats(Attribute):
    """Numbers: "(0.1, 0.2)"."""

    def read(self, text: str) -> tuple[float, ...]:
        return tuple(float(n) for n in _sequence(text))


class DType(Attribute):
    """A type of entries, as "float32"."""

    def read(self, text: str) -> np.dtype[Any]:
        if text == "bfloat16":
            raise ValueError("NumPy has no bfloat16: use float32")
        # np.dtype reads whole records from texts: only plain names get there
        if not re.fullmatch(r"[a-z]{1,10}[0-9]{0,3}", text):
            raise ValueError("it is no type")
        try:
            found = np.dtype(text)
        except TypeError as error:
            raise ValueError(str(error)) from error
        if found.kind not in "biuf":
            raise ValueError("it is no type of numbers")
        return found


def _sequence(text: str) -> tuple[Any, ...]:
    """The numbers of "(3, 3)", "[3,3]", "3"; Python 2 wrote long integers as 3L."""
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("()", "[]"):
        inner = inner[1:-1].strip().removesuffix(",")
        if not inner:
            return ()
    return tuple(_entry(word.strip()) for word in inner.split(","))


def _entry(word: str) -> float | None:
    if word == "None":
        return None
    word = word.removesuffix("L")
    return int(word) if word.lstrip("+-").isdigit() and len(word) < 30 else float(word)


def text_of(value: object) -> str:
    """The text that MXNet's Python front end makes of an attribute's value."""
    if isinstance(value, str):
        return value
    if isinstance(value, (type, np.dtype)):
        return np.dtype(value).name
    if isinstance(value, (tuple, list)):
        value = type(value)(_bare_number(one) for one in value)
    return str(value)


def _bare_number(value: Any) -> Any:
    """A number of NumPy as Python's: the text of a tuple would name its type, np.float64(0.1)."""
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    return float(str(value)) if isinstance(value, np.floating) else value


def texts_of(kinds: Mapping[str, Attribute], settings: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a call's attributes; None is "None" where the kind allows it, else not given."""
    return {
        key: text_of(value)
        for key, value in settings.items()
        if value is not None or (key in kinds and _takes_none(kinds[key]))
    }


def _takes_none(kind: Attribute) -> bool:
    return kind.none and not isinstance(kind, DType)


def is_hidden(key: str) -> bool:
    """Is it an attribute for the user, as `__lr_mult__`, which no operator reads?"""
    return (key.startswith("__") and key.endswith("__")) or bool(
        key in _HIDDEN or _OF_INPUT.match(key)
    )


def renamed(attrs: Mapping[str, str]) -> dict[str, str]:
    """lr_mult -> __lr_mult__: names that files of before 1.0 wrote bare."""
    return {f"__{k}__" if k in _HIDDEN else k: v for k, v in attrs.items()}


def with_bare_names(attrs: Mapping[str, str]) -> dict[str, str]:
    """The attributes with lr_mult beside __lr_mult__, as MXNet lists them."""
    bare = {k: attrs[f"__{k}__"] for k in _HIDDEN if f"__{k}__" in attrs}
    return {**attrs, **bare}


def input_of(key: str) -> tuple[str, str] | None:
    """("weight", "__lr_mult__") for weight_lr_mult, an operator's attribute meant for an input."""
    match = None if key.strip("_") in _HIDDEN else _OF_INPUT.match(key)
    return (match[1], f"__{match[2]}__") if match else None


def attributes_of_inputs(attrs: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """(attributes of the node itself, those that `input_of` says are meant for its inputs)."""
    own: dict[str, str] = {}
    others: dict[str, str] = {}
    for key, value in renamed(attrs).items():
        (own if input_of(key) is None else others)[key] = value
    return own, others


class Attributes:
    """The attributes of one node, read: `a.kernel` is (3, 3).

    further: whether other names are taken, too, with their texts
    Raises MXNetError for an unknown name (with the nearest known one), for a text that cannot be
    read, and for a required attribute that is absent.
    """

    def __init__(
        self,
        owner: str,
        kinds: Mapping[str, Attribute],
        texts: Mapping[str, str],
        further: bool = False,
    ):
        values = self.__dict__
        for key, text in texts.items():
            if is_hidden(key):
                continue
            if key not in kinds and further:
                values[key] = text
                continue
            if key not in kinds:
                near = get_close_matches(key, kinds, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                known = ", ".join(kinds) or "none"
                raise MXNetError(f"{owner}: unknown attribute {key!r}{hint} (it has: {known})")
            try:
                values[key] = kinds[key].parse(text)
            except (ValueError, SyntaxError, TypeError) as error:
                kind = type(kinds[key]).__name__
                raise MXNetError(
                    f"{owner}: attribute {key}={text!r} is no {kind}: {error}"
                ) from error
        for key, declared in kinds.items():
            if key not in values:
                if declared.default is REQUIRED:
                    raise MXNetError(f"{owner}: the required attribute {key!r} is missing")
                values[key] = declared.default

    def __getattr__(self, name: str) -> Any:  # for type checkers; every value is in __dict__
        raise AttributeError(f"no attribute {name!r}; it has {', '.join(self.__dict__)}")

    def __repr__(self) -> str:
        return f"Attributes({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"
