"""An optimizer whose state is shared out: each rank keeps that of its part of the parameters.

S. Rajbhandari and others, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
2020, stage 1.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import no_grad, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.devices import collectives
from tapegrad.optim.core.clipping import clip_grad_norm as clip_norm
from tapegrad.optim.core.clipping import clip_grad_value as clip_value
from tapegrad.optim.core.groups import named_parameters_of

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter, Tensor
    from tapegrad.devices.collectives import RankGroup
    from tapegrad.optim.core.optimizer import Optimizer

__all__ = ["ShardedOptimizer"]


class ShardedOptimizer:
    """``ShardedOptimizer(optim.Adam, model, lr=1e-3)``: an Adam with 1/n of its state on each rank.

    kind:    an optimizer's class;  parameters: as it takes them;  options: those of the class
    group:   the ranks, ``devices.collectives.current()`` when omitted
    accumulate, clip_grad_norm, clip_grad_value: as in the class; the norm is that of all gradients
    Each rank updates its own part of the parameters, whole ones, and sends them to the others.  The
    gradients must be equal on all ranks, as `DataParallel` makes them.  `state_dict`, which all
    ranks call together, has the state of all: a run goes on with another number of ranks, or with
    the plain optimizer.
    Raises ValueError and TypeError as the class does.
    """

    def __init__(
        self,
        kind: type[Optimizer],
        parameters: Any,
        *,
        group: RankGroup | None = None,
        accumulate: int = 1,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **options: Any,
    ) -> None:
        self.group = collectives.current() if group is None else group
        self.named: dict[str, Parameter] = named_parameters_of(parameters)
        # an optimizer of all checks the options, and says what is wrong with them
        checked = kind(
            self.named, accumulate=accumulate, clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value, **options,
        )  # fmt: skip
        self.accumulate, self.accumulated = accumulate, 0
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        self.owners = _shared_out(self.named, self.group.size)
        own = {n: p for n, p in self.named.items() if self.owners[n] == self.group.rank}
        self.inner: Optimizer | None = kind(own, **options) if own else None
        # of a rank without parameters, one that only counts
        self._local: Optimizer = checked if self.inner is None else self.inner

    def __repr__(self) -> str:
        return f"ShardedOptimizer({self._local!r}, {self.group!r})"

    def zero_grad(self) -> None:
        """Set all gradients to zero, except between steps whose gradients are accumulated."""
        if self.accumulated:
            return
        with no_grad():
            for g in self.gradients():
                ops.assign(g, 0)

    def gradients(self) -> list[Tensor]:
        """Return all gradients; a parameter without one is given zeros."""
        for p in self.named.values():
            if p.grad is None:
                p.grad = devices.namespace(array_of(p)).zeros_like(array_of(p))
        return [p.grad.detach() for p in self.named.values() if p.grad is not None]

    def step(self) -> bool:
        """Update the parameters of all ranks; False if gradients were only accumulated."""
        if self.accumulate > 1:
            self.accumulated += 1
            if self.accumulated < self.accumulate:
                return False
        return self._update()

    def flush(self) -> bool:
        """Update from the gradients accumulated so far; False if there are none."""
        return self._update() if self.accumulated else False

    def _update(self) -> bool:
        gradients = self.gradients()
        with no_grad():
            if self.accumulate > 1:
                for g in gradients:
                    ops.assign(g, g / self.accumulated)
                self.accumulated = 0
            if self.clip_grad_value is not None:
                clip_value(gradients, self.clip_grad_value)
            if self.clip_grad_norm is not None:
                clip_norm(gradients, self.clip_grad_norm)
        if self.inner is None:
            self._count_alone()
        else:
            self.inner.step()
        self._exchange()
        return True

    def _count_alone(self) -> None:
        """Count an update on a rank without parameters, for the schedules that ask."""
        state = self._local.state_dict()
        self._local.load_state_dict({**state, "updates": state["updates"] + 1})

    def _exchange(self) -> None:
        """Send every rank's parameters to the others, those of one dtype and device at once."""
        if self.group.size == 1:
            return
        groups: dict[Any, list[Parameter]] = {}
        for name, p in self.named.items():
            home = str(devices.device_of(array_of(p)))
            groups.setdefault((self.owners[name], str(p.dtype), home), []).append(p)
        for (owner, _, _), members in groups.items():
            arrays = [array_of(p) for p in members]
            xp = devices.namespace(arrays[0])
            flat = xp.concatenate([array.reshape(-1) for array in arrays])
            self.group.broadcast(flat, owner)
            start = 0
            for array in arrays:
                array[...] = flat[start : start + array.size].reshape(array.shape)
                start += array.size

    # Figures and saving ---------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The learning rate at the next step; set, it is that of every rank that sets it."""
        return self._local.lr

    @lr.setter
    def lr(self, value: Any) -> None:
        self._local.lr = value

    @property
    def steps(self) -> int:
        """How many updates have been made."""
        return self._local.steps

    @property
    def learning(self) -> list[str]:
        """The names of the Parameters that the next step updates."""
        return [name for name, p in self.named.items() if not p.frozen]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all ranks, as the plain optimizer's; all ranks call it together."""
        own = self._local.state_dict()
        mine = own["state"] if self.inner is not None else {}
        state: dict[str, Any] = {}
        for part in self.group.all_gather_bytes(_packed(mine)):
            state.update(_unpacked(part))
        ordered = {name: state[name] for name in self.named if name in state}
        return {**own, "state": ordered, "accumulated": self.accumulated}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`, also the plain optimizer's or another number of ranks'.

        Raises KeyError or ValueError, changing nothing, if it does not fit.
        """
        if self.inner is None:
            own: dict[str, Any] = {name: {} for name in self.named}
        else:
            names = self.inner.named
            own = {name: state for name, state in saved["state"].items() if name in names}
        self._local.load_state_dict({**saved, "state": own, "accumulated": 0})
        self.accumulated = saved["accumulated"]


def _shared_out(named: Mapping[str, Parameter], size: int) -> dict[str, int]:
    """The rank of each parameter: neighbours together, about as many entries on each rank."""
    total = sum(p.size for p in named.values()) or 1
    owners, before = {}, 0
    for name, p in named.items():
        owners[name] = min((before + p.size // 2) * size // total, size - 1)
        before += p.size
    return owners


def _packed(state: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Arrays by name and slot as bytes."""
    keys = [(name, slot) for name, slots in state.items() for slot in slots]
    empty = [name for name, slots in state.items() if not slots]
    arrays = {str(i): state[name][slot] for i, (name, slot) in enumerate(keys)}
    out = io.BytesIO()
    text = json.dumps({"keys": keys, "empty": empty}).encode()
    np.savez(out, about=np.frombuffer(text, np.uint8), **arrays)
    return out.getvalue()


def _unpacked(content: bytes) -> dict[str, dict[str, Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        state: dict[str, dict[str, Any]] = {name: {} for name in about["empty"]}
        for i, (name, slot) in enumerate(about["keys"]):
            state.setdefault(name, {})[slot] = arrays[str(i)]
    return state
