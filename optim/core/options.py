"""The options of an optimizer: names, defaults, limits, and what the object form calls them.

An option of a rule is declared in one place, as the default of a keyword argument: `nesterov: bool
= False`, or `beta: float = option(0.9, at_least=0, below=1)` where not every number fits.  All else
is read from there: the checks, the class's options (`optimizer.py`), the examples of the laws.

Only plain numbers are compared with limits: a schedule, a Tensor or an array is let through, since
its values are not known before the step.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Tensor
from tapegrad.optim.core.advice import option_hint

if TYPE_CHECKING:
    from tapegrad.autograd.check import Draws, Setting

__all__ = ["OWN_NAME", "Option", "Options", "draw_example", "option", "unknown_option"]

UNKNOWN = "{name}: there is no option {option!r}{near}; the options are {known}"

# The value of `keyword` for an option that has one name in both forms.
OWN_NAME = ""


@dataclass(frozen=True, slots=True)
class Option:
    """One option, as `option` declares it."""

    default: Any
    at_least: float | None = None
    below: float | None = None
    keyword: str | None = OWN_NAME
    examples: tuple[Any, ...] = ()

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, which begins with the option's `name`, for a number that does not fit.

        NaN does not fit where there is a limit.
        """
        if not isinstance(value, (int, float)) or self._fits(value):
            return
        low, high = self.at_least, self.below
        if high is None:
            limits = f"be at least {low}"
        elif low is None:
            limits = f"be below {high}"
        else:
            limits = f"lie in [{low}, {high})"
        raise ValueError(f"{name} must {limits}, not {value}")

    def _fits(self, value: float) -> bool:
        low, high = self.at_least, self.below
        return (low is None or value >= low) and (high is None or value < high)

    def is_number(self) -> bool:
        """Whether the option holds a number, for which a schedule may stand."""
        return isinstance(self.default, (int, float)) and not isinstance(self.default, bool)

    def values_to_try(self) -> tuple[Any, ...]:
        """The `examples`; where there are none, the default and another value that fits."""
        if self.examples:
            return self.examples
        if isinstance(self.default, bool):
            return (self.default, not self.default)
        if not self.is_number():
            return (self.default,)
        if isinstance(self.default, int):
            other: float = self.default + 1
        elif self.default:
            other = self.default / 2
        else:
            other = 0.01 if self.below is None else self.below / 2
        return (self.default, other) if self._fits(other) else (self.default,)


def option(
    default: Any,
    *,
    at_least: float | None = None,
    below: float | None = None,
    keyword: str | None = OWN_NAME,
    examples: Iterable[Any] = (),
) -> Any:
    """Declare an option, as the default of a rule's keyword argument.

    at_least, below: the limits: a number v fits if at_least ≤ v < below
    keyword:  the name in the object form, such as "lr"; "betas[0]" for an entry of a tuple; None if
              the object form has no such option.  The option's own name if omitted
    examples: values that the laws try, in place of the default and another that fits
    """
    return Option(default, at_least, below, keyword, tuple(examples))


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
            key: value if isinstance(value, Option) else Option(value)
            for key, value in declared.items()
        }
        self.defaults = {key: value.default for key, value in self.declared.items()}
        self.state = frozenset(state)

    def check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Check the options in `config` and return them; state that stands there is left out.

        Raises TypeError for a name that does not exist, ValueError for a number that does not fit.
        """
        checked = {}
        for key, value in config.items():
            declared = self.declared.get(key)
            # Rprop has an option and a state array of one name, `stepsize`: the array is a Tensor.
            if key in self.state and (declared is None or isinstance(value, Tensor)):
                continue
            if declared is None:
                raise unknown_option(self.name, key, self.declared)
            declared.check(f"{self.name}: {key}", value)
            checked[key] = value
        return checked

    def complete(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Check `config` and return all options, with the defaults of those that it lacks."""
        return {**self.defaults, **self.check(config)}


def unknown_option(name: str, option: object, known: Iterable[str]) -> TypeError:
    """Make the error about an option that the optimizer `name` does not have.

    The message names the option that is spelled most nearly alike.
    """
    known = list(known)
    near = difflib.get_close_matches(str(option), known, n=1)
    note = f" (did you mean {near[0]!r}?)" if near else ""
    note = option_hint(str(option), known) or note
    return TypeError(
        UNKNOWN.format(
            name=name,
            option=option,
            near=note,
            known=", ".join(known),
        )
    )


def draw_example(
    options: Options, check: Callable[[Mapping[str, Any]], None] | None, draws: Draws
) -> Setting:
    """Draw an example for the laws: each option has its default, or a value that it may try.

    Where `check` refuses the values together, all but the declared `examples` are left out.
    """
    from tapegrad.autograd.check import Setting

    config = {}
    for name, option in options.declared.items():
        value = draws.choice(option.values_to_try())
        if option.examples or value != option.default:
            config[name] = value
    try:
        if check is not None:
            check({**options.defaults, **config})
    except ValueError:
        config = {k: v for k, v in config.items() if options.declared[k].examples}
    return Setting(config, draws.integer(1, 6))
