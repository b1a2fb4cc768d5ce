"""What quantized layers have in common: int8 weights, and inputs rounded to 255 steps.

A weight w becomes round(w/s) in int8, s = max|w|/127 of its output row.  An input x becomes
round(x/s)·s, s = max|x|/127: of its row or sample, or once for all, where the largest |x| has been
observed beforehand.  A layer then runs its own forward code.

Source: BigDL's nn.quantized; B. Jacob et al., "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", CVPR 2018, with symmetric ranges.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.by_hand import without_gradient
from tapegrad.nn.core.own import qualified_name

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest
    from tapegrad.nn.module import Module

__all__ = ["Int8", "observing", "quantize_input", "quantize_weight"]

LARGEST = 127

NO_GRADIENT = (
    "{name} has int8 weights, which have no gradient: train the model that it was made of, and "
    "quantize that again"
)

_observing: ContextVar[bool] = ContextVar("observing", default=False)


@contextmanager
def observing() -> Iterator[None]:
    """Let quantized layers note the largest |x| of their inputs, in a with statement."""
    token = _observing.set(True)
    try:
        yield
    finally:
        _observing.reset(token)


def quantize_weight(w: Tensor, *axes: int) -> tuple[Buffer, Buffer]:
    """Return a weight as int8, and its scales: one for each index of `axes`, those of output rows.

    w ≈ int8 · scale; the scale has w's axes, of length 1 but for `axes`.  Rows of zeros have scale
    1.  Raises ValueError where a weight is not finite.
    """
    array = np.asarray(devices.to_numpy(array_of(w.detach())), np.float64)
    if not np.isfinite(array).all():
        raise ValueError("quantize: a weight is not finite, and has no place among 255 steps")
    rows = {axis % array.ndim for axis in axes}
    others = tuple(i for i in range(array.ndim) if i not in rows)
    largest = np.abs(array).max(axis=others, keepdims=True, initial=0.0)
    scale = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    rounded = np.clip(np.round(array / scale), -LARGEST, LARGEST).astype(np.int8)
    device = w.device
    return Buffer(devices.to_device(rounded, device)), Buffer(devices.to_device(scale, device))


def quantize_input(x: Tensor, largest: Tensor | None, axes: int) -> tuple[Tensor, Tensor]:
    """Return round(x/s), limited to ±127, and s, which is NaN where x has a NaN.

    largest: what |x| is at most, 0-d; where None, the largest |x| along the last `axes` axes, which
             has to be finite, or s is NaN
    """
    last = tuple(range(max(x.ndim - axes, 0), x.ndim))
    own = ops.max(ops.absolute(x), axis=last, keepdims=True)
    if largest is None:
        largest = ops.where(ops.isfinite(own), own, np.nan)
    else:
        largest = ops.where(ops.isnan(own), np.nan, largest)
    scale = ops.where(ops.equal(largest, 0), 1.0, largest / LARGEST)
    scale = ops.cast(scale, dtype=x.dtype)
    steps = ops.round(x / scale)
    return ops.fmax(ops.fmin(steps, LARGEST), -LARGEST), scale  # int8 has no NaN; s has it


class Int8:
    """Mixin in front of a layer's class: its weights are int8, and it has no gradient.

    replaces: the class of layers that become this one
    rows:     weight -> its axis of output rows; several where each position has rows of its own
    rounds:   how many entries of the input are rounded; 0 for indices
    """

    keeps: ClassVar[Any] = ("int8", "scales", "observed")
    replaces: ClassVar[type[Module]]
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": 0}
    rounds: ClassVar[int] = 1
    int8: dict[str, Buffer]
    scales: dict[str, Buffer]
    observed: Buffer | None = None  # the largest |x| of the inputs, while they were observed

    @classmethod
    def of(cls, layer: Any, memo: dict[int, Any]) -> Self:
        """Return the quantized layer of a layer, which stays as it is.

        memo: of `copy.deepcopy`: what has been copied already, and takes its original's place
        """
        new = cls.__new__(cls)
        weights = cls.weights_of(layer)
        state = {k: v for k, v in layer.__getstate__().items() if k not in cls.hidden()}
        new.__dict__.update({k: cls._kept(v) for k, v in copy.deepcopy(state, memo).items()})
        pairs = {
            name: quantize_weight(w, *(axes if isinstance(axes, tuple) else (axes,)))
            for name, (w, axes) in weights.items()
        }
        new.int8 = {name: pair[0] for name, pair in pairs.items()}
        new.scales = {name: pair[1] for name, pair in pairs.items()}
        return new

    def observe(self, begin: bool) -> None:
        """Begin to note the largest |x|, or end; what was never run has a scale for each row."""
        if begin:
            like = next(iter(self.scales.values()))
            self.observed = Buffer(devices.to_device(np.zeros((), np.float32), like.device))
        elif self.observed is not None and not float(self.observed):
            self.observed = None

    @classmethod
    def hidden(cls) -> frozenset[str]:
        """The attributes of the layer that the quantized one has as properties."""
        return frozenset(cls.rows)

    @classmethod
    def weights_of(cls, layer: Any) -> dict[str, tuple[Tensor, int | tuple[int, ...]]]:
        """The weights of a layer that become int8, each with its axis of output rows, or axes."""
        found = {name: (getattr(layer, name), axis) for name, axis in cls.rows.items()}
        return {name: pair for name, pair in found.items() if pair[0] is not None}

    @staticmethod
    def _kept(value: Any) -> Any:
        """A Parameter, such as a bias, as a Buffer: nobody is to train it."""
        is_parameter = isinstance(value, Parameter)
        return Buffer(array_of(value.detach())) if is_parameter else value

    def weight_of(self, name: str) -> Any:
        """Return a weight as float32, None where the layer has none of the name."""
        if name not in self.int8:
            return None
        return ops.cast(self.int8[name], dtype=np.float32) * self.scales[name]

    def span(self) -> int:
        """How many of an input's last axes have a scale together: those of a row, or a sample."""
        return 1

    def rounded(self, x: Tensor) -> Tensor:
        """Return x rounded to 255 steps."""
        q, scale = self.steps_of(x)
        return q * scale

    def steps_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x as whole numbers from -127 to 127, and their scale; noted while observing."""
        if _observing.get() and self.observed is not None:
            if x.size:
                self.observed.assign(ops.maximum(self.observed, ops.max(ops.absolute(x))))
            return quantize_input(x, None, self.span())
        return quantize_input(x, self.observed, self.span())

    # What the layer's own class has besides is the layer's to type checkers.
    updateOutput: Any
    if not TYPE_CHECKING:

        def updateOutput(self, inputs: Nest, *more: Any, **named: Any) -> Any:
            """Run the layer's own forward code on rounded inputs."""
            parent: Any = super()
            rounded: Any = inputs
            if self.rounds and isinstance(inputs, (list, tuple)):
                parts = [self.rounded(x) for x in inputs[: self.rounds]]
                rounded = [*parts, *inputs[self.rounds :]]
            elif self.rounds:
                rounded = self.rounded(inputs)
            y = parent.updateOutput(rounded, *more, **named)
            return without_gradient(y, inputs, NO_GRADIENT.format(name=class_text(self)))

    def reset(self, stdv: float | None = None) -> None:
        """Raise NotImplementedError: the weights come from a trained layer."""
        raise NotImplementedError(NO_GRADIENT.format(name=class_text(self)))

    def __repr__(self) -> str:
        name = qualified_name(type(self))
        return super().__repr__().replace(name, class_text(self), 1)


def class_text(layer: object) -> str:
    """The class's name as BigDL prints it, "quantized.Linear"."""
    return type(layer).__name__.replace("_Quantized", "quantized.", 1)
