"""What a class of optimizers takes from its rule: the names, defaults and limits of its options."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from tapegrad.optim.core.options import unknown_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tapegrad.optim.core.optimizer import Optimizer
    from tapegrad.optim.core.rule import UpdateRule

__all__ = [
    "default_of",
    "refuse_names_beside",
    "refuse_options",
    "signature_of",
    "translate",
    "translation_of",
    "words_beside",
]

NOT_OF_THE_RULE = "{name}.{table} names {option!r}; the rule {rule} has {known}"


def translation_of(cls: type[Optimizer]) -> dict[str, str | tuple[str, ...]]:
    """Read off the rule, and off what the class says otherwise, what the options mean.

    Raises TypeError for two options of one name, and for entries of a tuple out of order.
    """
    declared = cls.rule.declared.declared
    refuse_names_beside(cls.keywords, declared, cls, "keywords")
    refuse_names_beside(cls.fixed, declared, cls, "fixed")
    translation: dict[str, str | tuple[str, ...]] = {}
    for name, option in declared.items():
        keyword = cls.keywords.get(name, option.keyword)
        if keyword is None or name in cls.fixed:
            continue
        keyword = keyword or name
        if entry := re.fullmatch(r"(\w+)\[(\d+)\]", keyword):
            keyword = entry[1]
            before = translation.get(keyword, ())
            if isinstance(before, str) or len(before) != int(entry[2]):
                raise TypeError(f"{cls.__name__}: the entries of {keyword!r} are not in order")
            translation[keyword] = (*before, name)
        elif keyword in translation:
            raise TypeError(f"{cls.__name__}: two options of the rule are called {keyword!r}")
        else:
            translation[keyword] = name
    return translation


def refuse_names_beside(
    names: Iterable[str], known: Iterable[str], cls: type[Optimizer], table: str
) -> None:
    """Raise TypeError for a name in the class's `table` that is not among the `known` ones."""
    for option in names:
        if option not in known:
            raise TypeError(
                NOT_OF_THE_RULE.format(
                    name=cls.__name__, table=table, option=option, rule=cls.rule.__name__,
                    known=", ".join(known),
                )
            )  # fmt: skip


def default_of(rule: UpdateRule, names: str | tuple[str, ...]) -> Any:
    """The rule's default of an option, which may stand for several of the rule's."""
    return rule.options[names] if isinstance(names, str) else tuple(rule.options[n] for n in names)


def signature_of(function: Callable[..., None], defaults: Mapping[str, Any]) -> inspect.Signature:
    """Make the constructor's signature with all options, for `help` and completion."""
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    options = [inspect.Parameter(n, keyword_only, default=value) for n, value in defaults.items()]
    shown = [p for p in own if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}]
    return inspect.Signature(shown + options)


def translate(cls: type[Optimizer], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a class by the rule's names."""
    result: dict[str, Any] = {}
    for option, value in options.items():
        target = cls.translation.get(option, option)
        if isinstance(target, tuple):
            result.update(zip(target, value, strict=True))
        else:
            result[target] = value
    return result


def words_beside(cls: type[Optimizer]) -> list[str]:
    """The constructor's keywords that are no options: groups, clip_grad_norm, …"""
    of_constructor = inspect.signature(cls.__init__).parameters.values()
    return [p.name for p in of_constructor if p.kind is p.KEYWORD_ONLY]


def refuse_options(
    cls: type[Optimizer], options: Mapping[str, Any], beside: Iterable[str] = ()
) -> None:
    """Raise TypeError for an option that the class does not have under this name, and ValueError
    for a value out of its limits, by the name that the user wrote.

    beside: what can be written beside the options, and so may have been meant
    """
    for option in options:
        if option not in cls.defaults:
            raise unknown_option(cls.__name__, option, [*cls.defaults, *beside])
    declared = cls.rule.declared.declared
    for option, value in options.items():
        target = cls.translation[option]
        label = f"{cls.__name__}: {option}"
        if isinstance(target, str):
            declared[target].check(label, value)
        elif isinstance(value, (tuple, list)) and len(value) == len(target):
            for i, (name, entry) in enumerate(zip(target, value, strict=True)):
                declared[name].check(f"{label}[{i}]", entry)
