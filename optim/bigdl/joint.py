"""Several optimizers in one step, each for a part of a model, with gradients clipped together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import no_grad, ops
from tapegrad.optim.core.clipping import clip_grad_norm

if TYPE_CHECKING:
    from tapegrad.optim.core.optimizer import Optimizer

__all__ = ["JointOptimizer"]

SEVERAL = "JointOptimizer: {first!r} and {second!r} both update {names}: give each Parameter to one"


class JointOptimizer:
    """Optimizers by name, which make their steps together, as one that a Trainer takes.

    clip_value: (least, largest) of each entry of the gradients, or None
    clip_norm:  the largest Euclidean norm of all gradients together, or None
    Raises ValueError where two optimizers update one Parameter.
    """

    accumulated = 0

    def __init__(
        self,
        optimizers: Mapping[str, Optimizer],
        clip_value: tuple[float, float] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        self.optimizers = dict(optimizers)
        self.clip_value, self.clip_norm = clip_value, clip_norm
        owners: dict[int, str] = {}
        for name, optimizer in self.optimizers.items():
            for p in optimizer.named.values():
                first = owners.setdefault(id(p), name)
                if first != name:
                    known = {id(q): n for n, q in self.optimizers[first].named.items()}
                    text = SEVERAL.format(first=first, second=name, names=known[id(p)])
                    raise ValueError(text)

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def step(self) -> bool:
        """Clip the gradients, and update all parameters."""
        gradients = [g for o in self.optimizers.values() for g in o.gradients()]
        if gradients and self.clip_value is not None:
            with no_grad():
                for g in gradients:
                    ops.assign(g, ops.clip(g, *self.clip_value))
        if gradients and self.clip_norm is not None:
            clip_grad_norm(gradients, self.clip_norm)
        for optimizer in self.optimizers.values():
            optimizer.step()
        return True

    def flush(self) -> bool:
        """Return False: no gradients wait for a step."""
        return False

    @property
    def learning(self) -> list[str]:
        """The names of the Parameters that the next step updates: those that are not frozen."""
        return [name for optimizer in self.optimizers.values() for name in optimizer.learning]

    @property
    def lr(self) -> float:
        """The learning rate of the first optimizer."""
        return next(iter(self.optimizers.values())).lr

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each optimizer, by name."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.  Raises KeyError where it lacks an optimizer."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(saved[name])
