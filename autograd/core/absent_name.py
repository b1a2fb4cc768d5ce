"""The error for a name that a module of the package does not have: what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

__all__ = ["absent_name"]


def absent_name(
    module: str, name: str, instead: Mapping[str, str], known: Iterable[str]
) -> AttributeError:
    """Return the error for ``module.name``, with the advice of `instead`, or the nearest name.

    instead: advice by name, which follows "use"
    known:   the names that the module has
    """
    text = f"module {module!r} has no attribute {name!r}"
    if name in instead:
        return AttributeError(f"{text}: use {instead[name]}", name=name)
    if name[:1] == "_":  # somebody asks what there is: such names are none of ours
        return AttributeError(text, name=name)
    # Of a class and a function of one name, SGD and sgd, the class comes last and stays.
    lower = {each.lower(): each for each in sorted(known, reverse=True) if each[0] != "_"}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.8)
    if near:
        text += f": is it {module.removeprefix('tapegrad.')}.{lower[near[0]]}?"
    return AttributeError(text, name=name)
