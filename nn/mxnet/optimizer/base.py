"""Optimizer: learning rates, weight decay and update counts by parameter; Updater: its states.

Source: mx.optimizer.Optimizer, mx.optimizer.Updater.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, zeros
from tapegrad.nn.mxnet.registry import Registry

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.lr_scheduler import LRScheduler
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import DTypeLike, Key, Keys, PathLike


__all__ = ["Optimizer", "Updater", "create", "get_updater", "names", "register", "state_like"]

_registry: Registry[Any] = Registry("optimizer")


def register(cls: type[Any]) -> type[Any]:
    """Decorator: enter an optimizer under its name in lower case."""
    return _registry.enter(cls, cls.__name__)


def create(name: str, **settings: Any) -> Optimizer:
    """The optimizer of a name.

    Raises ValueError for an unknown name, with the nearest one, TypeError for an unknown setting.
    """
    made: Optimizer = _registry.find(name)(**settings)
    return made


def names() -> list[str]:
    """The names that `create` knows."""
    return _registry.names()


def state_like(weight: NDArray, dtype: DTypeLike | None = None) -> NDArray:
    """Zeros of the shape of a parameter."""
    return zeros(weight.shape, weight.context, dtype or weight.dtype)


class Optimizer:
    """What all optimizers share.  A subclass gives `create_state` and `step`.

    rescale_grad:     a factor on gradients, 1 / batch size in a Module
    wd, clip_gradient: weight decay, and a bound on entries of the scaled gradient
    learning_rate, lr_scheduler: a number, or a function of the number of updates
    sym:              the symbol, whose variables may carry `__lr_mult__` and `__wd_mult__`
    param_idx2name:   index -> name; parameters whose name ends in neither _weight nor _gamma are
                      not decayed
    multi_precision:  keep a float32 copy of float16 parameters
    """

    opt_registry: ClassVar[dict[str, Any]] = _registry.classes  # name -> class
    register = staticmethod(register)
    create_optimizer = staticmethod(create)

    def __init__(
        self,
        rescale_grad: float = 1.0,
        param_idx2name: Mapping[int, str] | None = None,
        wd: float = 0.0,
        clip_gradient: float | None = None,
        learning_rate: float | None = None,
        lr_scheduler: LRScheduler | None = None,
        sym: Symbol | None = None,
        begin_num_update: int = 0,
        multi_precision: bool = False,
        param_dict: Mapping[int, Any] | None = None,
        aggregate_num: int | None = None,
        use_fused_step: bool | None = None,
    ):
        self.rescale_grad, self.wd = rescale_grad, wd
        self.clip_gradient, self.multi_precision = clip_gradient, multi_precision
        self.aggregate_num, self.use_fused_step = aggregate_num or 0, use_fused_step
        self.lr_scheduler = lr_scheduler
        if lr_scheduler is None and learning_rate is None:
            learning_rate = 0.01
        self.lr = learning_rate
        if lr_scheduler is not None and learning_rate is not None:
            if lr_scheduler.base_lr != learning_rate:
                warnings.warn(
                    "learning rate from ``lr_scheduler`` has been overwritten by "
                    "``learning_rate`` in optimizer.",
                    stacklevel=4,
                )
            lr_scheduler.base_lr = learning_rate
        self.begin_num_update = self.num_update = begin_num_update
        self._index_update_count: dict[Any, int] = {}
        self.idx2name: dict[Any, str] = dict(param_idx2name or {})
        self.param_dict = dict(param_dict or {})
        self.sym_info = (sym.attr_dict(), sym.list_arguments()) if sym is not None else ({}, [])
        self.lr_mult: dict[Any, float] = {}
        self.wd_mult: dict[Any, float] = {}
        self.set_lr_mult({})
        self.set_wd_mult({})

    # What a subclass gives

    def create_state(self, index: Key, weight: NDArray) -> Any:
        """The state of a parameter: None, an array, or a tuple of arrays."""
        return None

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """Change w, and the arrays of the state, in place; g is the gradient as it came."""
        raise NotImplementedError

    # Rates

    @property
    def learning_rate(self) -> float:
        """The rate now, by the scheduler if there is one."""
        if self.lr_scheduler is not None:
            return float(self.lr_scheduler(self.num_update))
        return float(self.lr or 0.0)

    def set_learning_rate(self, lr: float) -> None:
        """Set the rate.  Raises UserWarning where a scheduler decides it."""
        if self.lr_scheduler is not None:
            raise UserWarning(
                "LRScheduler of the optimizer has already been defined. Note that set_learning_rate"
                " can mutate the value of the learning rate of the optimizer only when the "
                "LRScheduler of the optimizer is undefined."
            )
        self.lr = lr

    def set_lr_mult(self, args_lr_mult: Mapping[Any, float]) -> None:
        """Factors on the rate by index or name, over those of the symbol's variables."""
        self.lr_mult = {**self._from_symbol("__lr_mult__"), **args_lr_mult}

    def set_wd_mult(self, args_wd_mult: Mapping[Any, float]) -> None:
        """Factors on weight decay by index or name; 0 for what is neither weight nor gamma."""
        found = {
            name: 0.0 for name in self.idx2name.values() if not name.endswith(("_weight", "_gamma"))
        }
        self.wd_mult = {**found, **self._from_symbol("__wd_mult__"), **args_wd_mult}

    def _from_symbol(self, key: str) -> dict[str, float]:
        attrs, names = self.sym_info
        return {n: float(attrs[n][key]) for n in names if key in attrs.get(n, {})}

    def _factor(self, index: Key, of: Mapping[Any, float], attribute: str) -> float:
        if index in self.param_dict:
            return float(getattr(self.param_dict[index], attribute))
        if index in of:
            return of[index]
        return of.get(self.idx2name.get(index), 1.0)

    def _get_lr(self, index: Key) -> float:
        return self._get_lrs([index])[0]

    def _get_lrs(self, indices: list[Any]) -> list[float]:
        rate = self.learning_rate
        return [rate * self._factor(i, self.lr_mult, "lr_mult") for i in indices]

    def _get_wd(self, index: Key) -> float:
        return self._get_wds([index])[0]

    def _get_wds(self, indices: list[Any]) -> list[float]:
        return [self.wd * self._factor(i, self.wd_mult, "wd_mult") for i in indices]

    def _update_count(self, index: Key) -> int:
        """Count an update of a parameter; the count, from 1."""
        count = self._index_update_count.get(index, self.begin_num_update) + 1
        self._index_update_count[index] = count
        self.num_update = max(count, self.num_update)
        return count

    def set_update_count(self, index: Key, count: int) -> None:
        """Go on after so many updates of a parameter, made here or by other workers."""
        self._index_update_count[index] = self.begin_num_update + count

    def _set_current_context(self, device_id: int) -> None:
        """Nothing: counts are by index, and every context has its own."""

    # Steps

    def clipped(self, g: np.ndarray) -> np.ndarray:
        """g within ± clip_gradient; None and numbers below 0 mean no bound, and so does 0."""
        bound = self.clip_gradient
        return devices.namespace(g).clip(g, -bound, bound) if bound is not None and bound > 0 else g

    def scaled(self, g: np.ndarray) -> np.ndarray:
        """rescale_grad · g, clipped."""
        return self.clipped(g * g.dtype.type(self.rescale_grad))

    def create_state_multi_precision(self, index: Key, weight: NDArray) -> Any:
        """As `create_state`; of a float16 parameter (copy, state) if `multi_precision`."""
        if self.multi_precision and weight.dtype == np.float16:
            copy = weight.astype(np.float32)
            return self._paired(copy, self.create_state(index, copy))
        if weight.dtype == np.float16 and not self.multi_precision:
            warnings.warn(
                "Accumulating with float16 in optimizer can lead to poor accuracy or slow "
                "convergence. Consider using multi_precision=True option of the optimizer",
                stacklevel=3,
            )
        return self.create_state(index, weight)

    def _paired(self, copy: NDArray, state: Any) -> tuple[Any, Any]:
        return copy, state

    def _unpaired(self, state: tuple[Any, Any]) -> tuple[Any, Any]:
        return state

    def update(self, index: Keys, weight: Any, grad: Any, state: Any) -> None:
        """One step of a parameter, or of several in lists."""
        if isinstance(index, (list, tuple)):
            for one in zip(index, weight, grad, state, strict=True):
                self.update(*one)
            return
        self.step(index, weight.tensor.data, grad.tensor.data, _bare(state))

    def update_multi_precision(self, index: Keys, weight: Any, grad: Any, state: Any) -> None:
        """As `update`; of a float16 parameter on its float32 copy if `multi_precision`."""
        if isinstance(index, (list, tuple)):
            for one in zip(index, weight, grad, state, strict=True):
                self.update_multi_precision(*one)
            return
        if self.multi_precision and weight.dtype == np.float16:
            copy, inner = self._unpaired(state)
            self.step(index, copy.tensor.data, grad.tensor.data.astype(np.float32), _bare(inner))
            weight[:] = copy
            return
        self.update(index, weight, grad, state)


def _bare(state: Any) -> Any:
    """The memory of a state's arrays."""
    if isinstance(state, NDArray):
        return state.tensor.data
    if isinstance(state, (tuple, list)):
        return tuple(_bare(part) for part in state)
    return state


class Updater:
    """An optimizer with the states of the parameters that it has updated."""

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.states: dict[Any, Any] = {}
        self.states_synced: dict[Any, bool] = {}
        self.aggregate_updates = optimizer.aggregate_num > 0

    def __call__(self, index: Keys, grad: Any, weight: Any) -> None:
        """One step of a parameter (or of several in lists); its state is made at the first one."""
        if isinstance(index, (list, tuple)):
            for one in zip(index, grad, weight, strict=True):
                self(*one)
            return
        if index not in self.states:
            self.states[index] = self.optimizer.create_state_multi_precision(index, weight)
            self.states_synced[index] = True
        self.optimizer.update_multi_precision(index, weight, grad, self.states[index])

    def get_states(self, dump_optimizer: bool = False) -> bytes:
        """The states as bytes of a .states file.

        Raises ValueError for `dump_optimizer`: an optimizer in a file is code.
        """
        if dump_optimizer:
            raise ValueError("dump_optimizer=True would write code: save its settings yourself")
        found: bytes = service("mxnet.dump_states")(self.states)
        return found

    def set_states(self, states: bytes, place: str | None = None) -> None:
        """Take the states of a .states file's bytes.

        place: the file's name, for errors
        Raises FormatError for other bytes; nothing has changed then.
        """
        self.states = dict(service("mxnet.load_states")(states, place))
        self.states_synced = dict.fromkeys(self.states, False)

    def save_states(self, fname: PathLike) -> None:
        """Write a .states file."""
        service("mxnet.write_file")(fname, self.get_states())

    def load_states(self, fname: PathLike) -> None:
        """Read a .states file.  Raises FormatError, OSError; nothing has changed then."""
        self.set_states(service("mxnet.read_file")(fname), str(fname))


def get_updater(optimizer: Optimizer) -> Updater:
    """The Updater of an optimizer."""
    return Updater(optimizer)
