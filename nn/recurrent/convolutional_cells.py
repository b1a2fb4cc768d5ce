"""BigDL's convolutional LSTM cells, for sequences of images and of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.layers.activation import Sigmoid, Tanh
from tapegrad.nn.layers.convolution.spatial import SpatialConvolution
from tapegrad.nn.layers.convolution.volumetric import VolumetricConvolution
from tapegrad.nn.layers.pointwise import CMul
from tapegrad.nn.recurrent.cells import Cell
from tapegrad.nn.recurrent.steps import zeros_beside

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest
    from tapegrad.nn.module import Module

__all__ = ["ConvLSTMPeephole", "ConvLSTMPeephole3D"]


class ConvLSTMPeephole(Cell):
    """LSTMPeephole with convolutions of images in place of products with matrices.

    i, f, o = σ(W ⋆ x + b + U ⋆ h + w·c), with c' in place of c for o; g = tanh(W_g ⋆ x + b_g + U_g
    ⋆ h);  c' = f·c + i·g, h' = o·tanh(c').
    x: (N, inputSize, H, W), state [h, c], both (N, outputSize, H, W) -> [h', [h', c']].  Kernels
    are kernelI x kernelI for x, kernelC x kernelC for h; padding -1 keeps the sides.  The children
    are W, U, w of f, then those of i, W_g and U_g, and those of o; w (1, outputSize, 1, 1) has a
    factor for each plane, and is left out without withPeephole.
    activation and innerActivation: modules in place of Tanh() and Sigmoid().
    Raises ShapeError for other inputs.  Source: BigDL's ConvLSTMPeephole; X. Shi et al.,
    "Convolutional LSTM network", 2015, equation 3.
    """

    keeps = ("withPeephole", "activation", "innerActivation")
    sides = 2

    def __init__(
        self,
        inputSize: int,
        outputSize: int,
        kernelI: int,
        kernelC: int,
        stride: int = 1,
        padding: int = -1,
        activation: Module | None = None,
        innerActivation: Module | None = None,
        withPeephole: bool = True,
    ) -> None:
        self.inputSize, self.hiddenSize = inputSize, outputSize
        self.withPeephole = bool(withPeephole)
        self.activation = Tanh() if activation is None else activation
        self.innerActivation = Sigmoid() if innerActivation is None else innerActivation
        self.modules = []
        for peeps in (True, True, False, True):
            self.modules += [
                self._convolution(inputSize, outputSize, kernelI, stride, padding),
                self._convolution(outputSize, outputSize, kernelC, stride, padding).noBias(),
            ]
            if peeps and withPeephole:
                self.modules.append(CMul(1, outputSize, *(1,) * self.sides))

    def readers(self) -> tuple[list[Module], list[Module]]:
        convolutions = [child for child in self.modules if not isinstance(child, CMul)]
        return convolutions[::2], convolutions[1::2]

    def _convolution(self, n_in: int, n_out: int, kernel: int, stride: int, padding: int) -> Any:
        kind: Any = SpatialConvolution if self.sides == 2 else VolumetricConvolution
        lengths = [kernel] * self.sides + [stride] * self.sides + [padding] * self.sides
        return kind(n_in, n_out, *lengths)

    def check(self, x: Tensor) -> None:
        """Raise ShapeError unless x is (N, inputSize, …) with the right number of sides."""
        if x.ndim != self.sides + 2 or x.shape[1] != self.inputSize:
            raise ShapeError(
                f"the input of shape {x.shape} must have {self.sides + 2} axes, the second of "
                f"length {self.inputSize}, inputSize"
            )

    def start(self, x: Tensor) -> Nest:
        shape = (x.shape[0], self.hiddenSize, *x.shape[2:])
        return [zeros_beside(x, *shape) for _ in range(2)]

    def step(self, part: Tensor, state: Nest, noises: list[Tensor]) -> tuple[Tensor, Nest]:
        h, c = state
        size = 3 if self.withPeephole else 2
        gate_f, gate_i = self.modules[:size], self.modules[size : 2 * size]
        w_g, u_g = self.modules[2 * size : 2 * size + 2]
        gate_o = self.modules[2 * size + 2 :]
        f, i = self._gate(gate_f, part, h, c), self._gate(gate_i, part, h, c)
        c = f * c + i * self.activation(w_g(part) + u_g(h))
        h = self._gate(gate_o, part, h, c) * self.activation(c)
        return h, [h, c]

    def _gate(self, gate: list[Module], x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        total = gate[0](x) + gate[1](h)
        return self.innerActivation(total + gate[2](c) if len(gate) == 3 else total)


class ConvLSTMPeephole3D(ConvLSTMPeephole):
    """ConvLSTMPeephole for volumes: x (N, inputSize, D1, D2, D3).

    Everything else as there; the activations are Tanh() and Sigmoid().
    Source: BigDL's ConvLSTMPeephole3D.
    """

    sides = 3

    def __init__(
        self,
        inputSize: int,
        outputSize: int,
        kernelI: int,
        kernelC: int,
        stride: int = 1,
        padding: int = -1,
        withPeephole: bool = True,
    ) -> None:
        super().__init__(
            inputSize, outputSize, kernelI, kernelC, stride, padding, withPeephole=withPeephole
        )
