"""The options of an optimizer: what each one is called, its default, and which numbers fit it.

An option is declared once, at its rule, and its limits stand beside its default.  Only plain
numbers are compared with the limits: a schedule, a Tensor or an array is let through, since its
values are not known before the step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tapegrad.autograd import Tensor

__all__ = ["Option", "Options", "unknown_option"]

UNKNOWN = "{name}: there is no option {option!r}{near}; the options are {known}"


@dataclass(frozen=True, slots=True)
class Option:
    """The default of an option, and its limits: a number v fits if at_least ≤ v < below."""

    default: Any
    at_least: float | None = None
    below: float | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, which begins with the option's `name`, for a number that does not fit.

        NaN does not fit where there is a limit.
        """
        if not isinstance(value, (int, float)):
            return
        low, high = self.at_least, self.below
        if (low is None or value >= low) and (high is None or value < high):
            return
        if high is None:
            limits = f"be at least {low}"
        elif low is None:
            limits = f"be below {high}"
        else:
            limits = f"lie in [{low}, {high})"
        raise ValueError(f"{name} must {limits}, not {value}")


class Options:
    """All options of the optimizer `name`.

    declared: an `Option` for each, or a bare default where every value fits
    state:    names of state arrays, which may stand among the options (Torch7 keeps them there)
    """

    def __init__(
        self, name: str, declared: Mapping[str, Any], *, state: Iterable[str] = ()
    ) -> None:
        self.name = name
        self.declared = {
            option: given if isinstance(given, Option) else Option(given)
            for option, given in declared.items()
        }
        self.defaults = {option: given.default for option, given in self.declared.items()}
        self.state = frozenset(state)

    def given(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The options among `config`, each of them checked; state that stands there is left out.

        Raises TypeError for a name that does not exist, ValueError for a number that does not fit.
        """
        found = {}
        for option, value in config.items():
            declared = self.declared.get(option)
            # Rprop has an option and a state array of one name, `stepsize`: the array is a Tensor.
            if option in self.state and (declared is None or isinstance(value, Tensor)):
                continue
            if declared is None:
                raise unknown_option(self.name, option, self.declared)
            declared.check(f"{self.name}: {option}", value)
            found[option] = value
        return found

    def chosen(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """All options: those that `config` gives, and the defaults of the others."""
        return {**self.defaults, **self.given(config)}


def unknown_option(name: str, option: Any, known: Iterable[str]) -> TypeError:
    """The error about an option that the optimizer `name` does not have; it names the nearest."""
    near = difflib.get_close_matches(str(option), known, n=1)
    return TypeError(
        UNKNOWN.format(
            name=name,
            option=option,
            near=f" (did you mean {near[0]!r}?)" if near else "",
            known=", ".join(known),
        )
    )
