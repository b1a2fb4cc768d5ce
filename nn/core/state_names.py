"""What becomes of each name when a state is loaded into a module: renaming, and the report.

    rename = {"features.*.**": "body.*.**", "**.num_batches_tracked": None}

In a pattern, `*` stands for one part of a name, without dots, `**` for any number of characters;
in the new name they stand for what they matched, in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

__all__ = ["LoadReport", "Rename", "names_after"]

Rename = Mapping[Any, str | None] | Callable[[str], str | None]
Shapes = tuple[tuple[int, ...], tuple[int, ...]]

NO_RENAME = (
    "rename is a dict from patterns to names, {{'features.*.**': 'body.*.**'}}, or a function of a "
    "name, not {found}"
)
STARS = "rename: the stars of {new!r} must be among those of {pattern!r}, in their order"
NOT_A_NAME = "rename: a new name is a text, or None to leave the entry out, not {found!r}"
TWICE = "rename: {first} and {second} would both be called {name}"
_STAR = re.compile(r"\*\*|\*")


class LoadReport(tuple[list[str], list[str]]):  # noqa: SLOT001  # a tuple's subclass has none
    """What `load_state_dict` did: the pair (missing, left), and more by name.

    missing:   names of the module that the state lacks
    left:      names of the state, after renaming, that the module lacks
    matched:   {name in the module: name in the state} of what was copied
    different: {name in the module: (its shape, the state's)} of what was not, for its shape
    omitted:   names of the state that `rename` leaves out
    """

    matched: dict[str, str]
    different: dict[str, Shapes]
    omitted: list[str]

    def __new__(
        cls,
        missing: list[str],
        left: list[str],
        matched: Mapping[str, str],
        different: Mapping[str, Shapes],
        omitted: Iterable[str],
    ) -> Self:
        """Make the pair (missing, left) with the rest as attributes."""
        self = super().__new__(cls, (missing, left))
        self.matched, self.different = dict(matched), dict(different)
        self.omitted = list(omitted)
        return self

    @property
    def missing(self) -> list[str]:
        """Names of the module that the state lacks; PyTorch's `missing_keys`."""
        return self[0]

    @property
    def left(self) -> list[str]:
        """Names of the state that the module lacks; PyTorch's `unexpected_keys`."""
        return self[1]

    missing_keys = missing
    unexpected_keys = left

    def __str__(self) -> str:
        lines = [f"{len(self.matched)} matched"]
        lines += [
            f"  {name} <- {source}" for name, source in self.matched.items() if name != source
        ]
        for title, names in (
            ("missing in the state", self.missing),
            ("not in the module", self.left),
            ("left out by rename", self.omitted),
        ):
            if names:
                lines += [f"{len(names)} {title}", *(f"  {name}" for name in names)]
        if self.different:
            lines.append(f"{len(self.different)} of another shape")
            lines += [
                f"  {n} is {was}, the state has {has}" for n, (was, has) in self.different.items()
            ]
        return "\n".join(lines)


def names_after(names: Iterable[str], rename: Rename | None) -> tuple[dict[str, str], list[str]]:
    r"""({new name: old name}, old names that are left out) after `rename`.

    rename: None; a function from a name to the new one, or None to leave it out; or a dict, whose
            keys are patterns with stars or compiled regular expressions (which must match the whole
            name, and whose new name may have \1 or \g<name>), and whose first match counts.  A
            name that nothing matches stays
    Raises TypeError for another rename, ValueError for two names that would become one.
    """
    change = _change(rename)
    found: dict[str, str] = {}
    omitted: list[str] = []
    for name in names:
        new = change(name)
        if new is None:
            omitted.append(name)
        elif not isinstance(new, str):
            raise TypeError(NOT_A_NAME.format(found=new))
        elif new in found:
            raise ValueError(TWICE.format(first=found[new], second=name, name=new))
        else:
            found[new] = name
    return found, omitted


def _change(rename: Rename | None) -> Callable[[str], str | None]:
    if rename is None:
        return lambda name: name
    if isinstance(rename, Mapping):
        rules = [_rule(pattern, new) for pattern, new in rename.items()]

        def first_match(name: str) -> str | None:
            for pattern, new in rules:
                if match := pattern.fullmatch(name):
                    return None if new is None else match.expand(new)
            return name

        return first_match
    if callable(rename):
        return rename
    raise TypeError(NO_RENAME.format(found=type(rename).__name__))


def _rule(pattern: Any, new: Any) -> tuple[re.Pattern[str], str | None]:
    """A regular expression, and the template of the new name."""
    if new is not None and not isinstance(new, str):
        raise TypeError(NOT_A_NAME.format(found=new))
    if isinstance(pattern, re.Pattern):
        return pattern, new
    if not isinstance(pattern, str):
        raise TypeError(NO_RENAME.format(found=f"a dict with {pattern!r:.40}"))
    stars = _STAR.findall(pattern)
    text = re.escape(pattern).replace(r"\*\*", "(.*)").replace(r"\*", r"([^.]*)")
    if new is None:
        return re.compile(text, re.DOTALL), None
    template, at = [], 0
    for part in re.split(r"(\*\*|\*)", new):
        if not _STAR.fullmatch(part):
            template.append(part.replace("\\", r"\\"))
            continue
        if part not in stars[at:]:
            raise ValueError(STARS.format(pattern=pattern, new=new))
        at = stars.index(part, at) + 1
        template.append(rf"\g<{at}>")
    return re.compile(text, re.DOTALL), "".join(template)
