"""Initializers: first values of parameters, by attribute, by name or by pattern.

An initializer is called with an InitDesc (the name, with the variable's attributes) and an array.
The attribute `__init__` decides first; then the end of the name: weight, bias, gamma, beta, …
Source: mx.initializer.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
from tapegrad.nn.mxnet.random import draw_normal, draw_uniform
from tapegrad.nn.mxnet.registry import Registry
from tapegrad.nn.mxnet.rnn_weights import VectorParts

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import (
        ArrayLike,
        InitializerLike,
        InitializerName,
        ParamsLike,
        PathLike,
    )


__all__ = [
    "Bilinear",
    "Constant",
    "FusedRNN",
    "InitDesc",
    "Initializer",
    "LSTMBias",
    "Load",
    "MSRAPrelu",
    "Mixed",
    "Normal",
    "One",
    "Orthogonal",
    "Uniform",
    "Xavier",
    "Zero",
    "create",
    "names",
    "register",
]

_LOG = logging.getLogger(__name__)

UNKNOWN = (
    "Unknown initialization pattern for {name}. Default initialization is now limited to "
    '"weight", "bias", "gamma" (1.0), and "beta" (0.0). Please use '
    "mx.sym.Variable(init=mx.init.*) to set initialization pattern"
)


class InitDesc(str):
    """A parameter's name, with the attributes of its variable and the initializer of all."""

    __slots__ = ("attrs", "global_init")
    attrs: dict[str, str]
    global_init: Any

    def __new__(
        cls,
        name: str,
        attrs: Mapping[str, str] | None = None,
        global_init: Initializer | None = None,
    ) -> Self:
        """The name with its attributes."""
        made = super().__new__(cls, name)
        made.attrs = dict(attrs or {})
        made.global_init = global_init
        return made


class Initializer:
    """First values by the end of a name: weights by the subclass, biases 0, gammas 1, betas 0.

    Raises ValueError for another end of the name, TypeError for what is no name.
    """

    def __init__(self, **kwargs: Any):
        self._kwargs = kwargs
        self._verbose = False
        self._print_func: Callable[[NDArray], str] | None = None

    def set_verbosity(
        self, verbose: bool = False, print_func: Callable[[NDArray], str] | None = None
    ) -> Self:
        """Log a number of each array that is initialized: its norm over √size by default."""
        self._verbose = verbose
        self._print_func = print_func or _size
        return self

    def dumps(self) -> str:
        """The text that the attribute `__init__` holds."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = object.__hash__

    def __call__(self, desc: str, arr: NDArray) -> None:
        """Write first values into `arr`."""
        if not isinstance(desc, str):
            raise TypeError(
                f"an initializer takes a name or an InitDesc, not {type(desc).__name__}"
            )
        if isinstance(desc, InitDesc) and desc.global_init is None:
            desc.global_init = self
        attrs = getattr(desc, "attrs", {})
        own = attrs.get("__init__", "")
        if own:
            create(own).fill(desc, arr)
        elif isinstance(desc, InitDesc):
            self._by_name(desc, arr)
        else:
            self._legacy(desc, arr)
        if self._verbose and self._print_func is not None:
            _LOG.info("Initialized %s as %s: %s", desc, own or self, self._print_func(arr))

    def fill(self, name: str, arr: NDArray) -> None:
        """Write the first values of a weight, whatever the name's end is."""
        self._init_weight(name, arr)

    def _by_name(self, name: str, arr: NDArray) -> None:
        ends: dict[str, Callable[[str, NDArray], None]] = {
            "weight": self._init_weight,
            "bias": self._init_bias,
            "gamma": self._init_gamma,
            "beta": self._init_beta,
            "min": self._init_zero,
            "max": self._init_one,
            "weight_quantize": self._init_quantized_weight,
            "bias_quantize": self._init_quantized_bias,
        }
        for end, fill in ends.items():
            if name.endswith(end):
                fill(name, arr)
                return
        self._init_default(name, arr)

    def _legacy(self, name: str, arr: NDArray) -> None:
        """A plain text knows a few names more."""
        if name.startswith("upsampling"):
            self._init_bilinear(name, arr)
        elif name.startswith("stn_loc") and name.endswith("weight"):
            self._init_zero(name, arr)
        elif name.startswith("stn_loc") and name.endswith("bias"):
            arr[:] = np.array([1.0, 0, 0, 0, 1.0, 0])
        elif name.endswith(("moving_mean", "moving_inv_var", "moving_avg")):
            self._init_zero(name, arr)
        elif name.endswith("moving_var"):
            self._init_one(name, arr)
        else:
            self._by_name(name, arr)

    def _init_zero(self, _: str, arr: NDArray) -> None:
        arr[:] = 0.0

    def _init_one(self, _: str, arr: NDArray) -> None:
        arr[:] = 1.0

    def _init_bias(self, _: str, arr: NDArray) -> None:
        arr[:] = 0.0

    def _init_gamma(self, _: str, arr: NDArray) -> None:
        arr[:] = 1.0

    def _init_beta(self, _: str, arr: NDArray) -> None:
        arr[:] = 0.0

    def _init_quantized_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = np.round(draw_uniform(-127, 127, arr.shape, arr.context))

    def _init_quantized_bias(self, _: str, arr: NDArray) -> None:
        arr[:] = 0

    def _init_bilinear(self, _: str, arr: NDArray) -> None:
        arr[:] = bilinear(arr.shape)

    def _init_weight(self, name: str, arr: NDArray) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _init_weight (for {name})")

    def _init_default(self, name: str, _: NDArray) -> None:
        raise ValueError(UNKNOWN.format(name=name))


def _size(x: NDArray) -> str:
    return str((np.linalg.norm(x.asnumpy().reshape(-1)) / math.sqrt(x.size),))


def bilinear(shape: Sequence[int]) -> np.ndarray:
    """The weights of a Deconvolution that interpolates linearly, (…, k, k)."""
    values = np.zeros(int(np.prod(shape)), np.float32)
    f = math.ceil(shape[3] / 2.0)
    c = (2 * f - 1 - f % 2) / (2.0 * f)
    for i in range(values.size):
        x, y = i % shape[3], (i // shape[3]) % shape[2]
        values[i] = (1 - abs(x / f - c)) * (1 - abs(y / f - c))
    return values.reshape(shape)


_registry: Registry[Any] = Registry("initializer")


def register(cls: type[Any]) -> type[Any]:
    """Decorator: enter a class under its name in lower case."""
    return _registry.enter(cls, cls.__name__)


def create(given: InitializerName, **settings: Any) -> Any:
    """The initializer of a name, of the text of `dumps`, or the initializer itself.

    Raises ValueError for an unknown name, with the nearest one.
    """
    if not isinstance(given, str):
        return given
    if given.startswith("["):
        name, loaded = json.loads(given)
        return _registry.find(name)(**loaded)
    return _registry.find(given)(**settings)


def names() -> list[str]:
    """The names that `create` knows."""
    return _registry.names()


class _Filled(Initializer):
    value: Any = 0

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = self.value


@register
class Zero(_Filled):
    """0 everywhere."""

    def __init__(self) -> None:
        super().__init__()


@register
class One(_Filled):
    """1 everywhere."""

    value = 1

    def __init__(self) -> None:
        super().__init__()


@register
class Constant(_Filled):
    """One number, or an array, everywhere."""

    def __init__(self, value: float | ArrayLike):
        super().__init__(value=value)
        self.value = value

    def dumps(self) -> str:
        """The text that the attribute `__init__` holds; an array stands in it as a list."""
        value = self.value
        value = value.asnumpy().tolist() if isinstance(value, NDArray) else value
        return json.dumps([type(self).__name__.lower(), {"value": value}])


@register
class Uniform(Initializer):
    """U(-scale, scale)."""

    def __init__(self, scale: float = 0.07):
        super().__init__(scale=scale)
        self.scale = scale

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = draw_uniform(-self.scale, self.scale, arr.shape, arr.context)


@register
class Normal(Initializer):
    """N(0, σ)."""

    def __init__(self, sigma: float = 0.01):
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = draw_normal(0, self.sigma, arr.shape, arr.context)


@register
class Orthogonal(Initializer):
    """`scale` times an orthogonal matrix, by the singular vectors of a random one.

    rand_type: "uniform", U(-1, 1), or "normal".  Source: A. Saxe et al., "Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks", ICLR 2014.
    """

    def __init__(self, scale: float = 1.414, rand_type: str = "uniform"):
        super().__init__(scale=scale, rand_type=rand_type)
        self.scale, self.rand_type = scale, rand_type

    def _init_weight(self, _: str, arr: NDArray) -> None:
        rows, columns = arr.shape[0], math.prod(arr.shape[1:])
        shape = (rows, columns)
        if self.rand_type == "uniform":
            drawn = draw_uniform(-1.0, 1.0, shape, arr.context)
        else:
            drawn = draw_normal(0.0, 1.0, shape, arr.context)
        u, _s, v = np.linalg.svd(drawn, full_matrices=False)
        q = u if u.shape == shape else v
        arr[:] = (self.scale * q).reshape(arr.shape)


@register
class Xavier(Initializer):
    """U(-s, s) or N(0, s) with s = √(magnitude / factor).

    factor: fan in, fan out, or their mean ("avg"); fan in = shape[1] · Π shape[2:], fan out =
    shape[0] · Π shape[2:].  Raises ValueError for arrays of one axis.
    Source: X. Glorot, Y. Bengio, AISTATS 2010, equation 16.
    """

    def __init__(self, rnd_type: str = "uniform", factor_type: str = "avg", magnitude: float = 3):
        super().__init__(rnd_type=rnd_type, factor_type=factor_type, magnitude=magnitude)
        self.rnd_type, self.factor_type, self.magnitude = rnd_type, factor_type, float(magnitude)

    def _init_weight(self, name: str, arr: NDArray) -> None:
        shape = arr.shape
        if len(shape) < 2:
            raise ValueError(
                f"Xavier initializer cannot be applied to vector {name}. It requires at least 2D."
            )
        rest = math.prod(shape[2:])
        fan_in, fan_out = shape[1] * rest, shape[0] * rest
        factors = {"avg": (fan_in + fan_out) / 2.0, "in": fan_in, "out": fan_out}
        if self.factor_type not in factors:
            raise ValueError(f"Incorrect factor type {self.factor_type!r}: avg, in or out")
        scale = math.sqrt(self.magnitude / factors[self.factor_type])
        if self.rnd_type == "uniform":
            arr[:] = draw_uniform(-scale, scale, shape, arr.context)
        elif self.rnd_type == "gaussian":
            arr[:] = draw_normal(0, scale, shape, arr.context)
        else:
            raise ValueError(f"Unknown random type {self.rnd_type!r}: uniform or gaussian")


@register
class MSRAPrelu(Xavier):
    """N(0, s) with s = √(2 / (1 + slope²) / factor).

    Source: K. He et al., "Delving deep into rectifiers", ICCV 2015, equation 15.
    """

    def __init__(self, factor_type: str = "avg", slope: float = 0.25):
        super().__init__("gaussian", factor_type, 2.0 / (1 + slope**2))
        self._kwargs = {"factor_type": factor_type, "slope": slope}


@register
class Bilinear(Initializer):
    """The weights of a Deconvolution that interpolates linearly."""

    def __init__(self) -> None:
        super().__init__()

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = bilinear(arr.shape)


@register
class LSTMBias(Initializer):
    """0, and `forget_bias` for the forget gate: the second quarter."""

    def __init__(self, forget_bias: float = 1.0):
        super().__init__(forget_bias=forget_bias)
        self.forget_bias = forget_bias

    def _init_weight(self, _: str, arr: NDArray) -> None:
        values = np.zeros(arr.shape, np.float32)
        n = arr.shape[0] // 4
        values[n : 2 * n] = self.forget_bias
        arr[:] = values


@register
class FusedRNN(Initializer):
    """The one vector of weights of the operator RNN, part by part with another initializer."""

    def __init__(
        self,
        init: InitializerName,
        num_hidden: int,
        num_layers: int,
        mode: str,
        bidirectional: bool = False,
        forget_bias: float = 1.0,
    ):
        made: Any = create(init) if isinstance(init, str) else init
        super().__init__(
            init=made.dumps() if made is not None else None, num_hidden=num_hidden,
            num_layers=num_layers, mode=mode, bidirectional=bidirectional, forget_bias=forget_bias,
        )  # fmt: skip
        self._init, self._num_hidden, self._num_layers = made, num_hidden, num_layers
        self._mode, self._bidirectional, self._forget_bias = mode, bidirectional, forget_bias

    def _init_weight(self, desc: str, arr: NDArray) -> None:
        parts = VectorParts(self._mode, self._num_hidden, self._num_layers, self._bidirectional)
        for name, part in parts.views(arr).items():  # they lie on the memory of the vector
            one = InitDesc(name, global_init=getattr(desc, "global_init", None))
            if self._mode == "lstm" and name.endswith("_f_bias"):
                part[:] = self._forget_bias
            elif self._init is None:
                one.global_init(one, part)
            else:
                self._init(one, part)


@register
class Load:
    """Values from a dict or a .params file, others from `default_init`.

    Raises ValueError for a value of another shape, and for a name without one and no default.
    """

    def __init__(
        self,
        param: PathLike | ParamsLike,
        default_init: InitializerLike = None,
        verbose: bool = False,
    ):
        found: Any = param
        if isinstance(param, (str, bytes)) or hasattr(param, "__fspath__"):
            from tapegrad.nn.mxnet.ndarray.files import load

            found = load(param)
        self.param = {k.removeprefix("arg:").removeprefix("aux:"): v for k, v in found.items()}
        self.default_init, self.verbose = default_init, verbose

    def __call__(self, name: str, arr: NDArray) -> None:
        """Write the value of `name` into `arr`."""
        if name in self.param:
            if tuple(self.param[name].shape) != arr.shape:
                raise ValueError(
                    f"Parameter {name} cannot be initialized from loading. Shape mismatch, target "
                    f"{arr.shape} vs loaded {tuple(self.param[name].shape)}"
                )
            arr[:] = self.param[name]
        elif self.default_init is None:
            raise ValueError(
                f"Cannot Initialize parameter: {name}: it has no value here and no default"
            )
        else:
            self.default_init(name, arr)
        if self.verbose:
            _LOG.info("Initialized %s by %s", name, "loading" if name in self.param else "default")


class Mixed:
    """The initializer of the first pattern that matches the beginning of a name.

    Raises ValueError for lists of several lengths, and for a name that no pattern matches.
    """

    def __init__(self, patterns: Sequence[str], initializers: Sequence[Any]):
        if len(patterns) != len(initializers):
            raise ValueError(f"{len(patterns)} patterns for {len(initializers)} initializers")
        self.map = [(re.compile(p), i) for p, i in zip(patterns, initializers, strict=True)]

    def __call__(self, name: str, arr: NDArray) -> None:
        """Write first values into `arr`."""
        for pattern, initializer in self.map:
            if pattern.match(name):
                initializer(name, arr)
                return
        raise ValueError(
            f"Parameter name {name} did not match any pattern. Consider adding a '.*' pattern at "
            "the and with default Initializer."
        )


_registry.alias("zeros", Zero)
_registry.alias("ones", One)
_registry.alias("gaussian", Normal)
