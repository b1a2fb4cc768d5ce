"""Convolutions of films and volumes, whose axis of time is in front of height and width."""

from __future__ import annotations

from typing import ClassVar

from tapegrad.nn.layers.convolution.common import _DirectConvolution, _TransposedConvolution

__all__ = ["VolumetricConvolution", "VolumetricDilatedConvolution", "VolumetricFullConvolution"]


class VolumetricConvolution(_DirectConvolution):
    """SpatialConvolution with an axis of time in front: films, or volumes.

    x: (nInputPlane, T, H, W) or (N, nInputPlane, T, H, W) -> (N,) nOutputPlane, T', H', W' with
    T' = ⌊(T + 2·padT - kT) / dT⌋ + 1, the others likewise.  Arguments come in the order time,
    width, height; padW and padH are padT when omitted.
    weight (nOutputPlane, nInputPlane, kT, kH, kW) and bias (nOutputPlane,) or None start from
    U(-s, s), s = 1/√(kT·kW·kH·nInputPlane).
    BigDL's options: padding -1, as in SpatialConvolution; withBias False: no bias.
    Raises ShapeError for other shapes and for films smaller than the kernel.
    Source: nn.VolumetricConvolution.
    """

    keeps: ClassVar[tuple[str, ...]] = (
        "nInputPlane",
        "nOutputPlane",
        "kT",
        "kW",
        "kH",
        "dT",
        "dW",
        "dH",
        "padT",
        "padW",
        "padH",
    )
    order = "TWH"
    axes = "C T H W"

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kT: int,
        kW: int,
        kH: int,
        dT: int = 1,
        dW: int = 1,
        dH: int = 1,
        padT: int = 0,
        padW: int | None = None,
        padH: int | None = None,
        withBias: bool = True,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = dT, dW, dH
        self.padT = padT
        self.padW, self.padH = (padT if pad is None else pad for pad in (padW, padH))
        self._make_parameters((nOutputPlane, nInputPlane, kT, kH, kW), (nOutputPlane,))
        if not withBias:
            self.noBias()


class VolumetricDilatedConvolution(VolumetricConvolution):
    """VolumetricConvolution with kernel entries dilationT, dilationW and dilationH apart.

    Everything else as in VolumetricConvolution.  Source: nn.VolumetricDilatedConvolution.
    """

    keeps = ("dilationT", "dilationW", "dilationH")

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kT: int,
        kW: int,
        kH: int,
        dT: int = 1,
        dW: int = 1,
        dH: int = 1,
        padT: int = 0,
        padW: int | None = None,
        padH: int | None = None,
        dilationT: int = 1,
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(nInputPlane, nOutputPlane, kT, kW, kH, dT, dW, dH, padT, padW, padH)
        self.dilationT, self.dilationW, self.dilationH = dilationT, dilationW, dilationH

    def _dilation(self) -> tuple[int, ...]:
        return self.along("dilation")

    def _tail_text(self) -> str:
        return f", {self.lengths_text('dilation')}"


class VolumetricFullConvolution(_TransposedConvolution):
    """The adjoint of VolumetricConvolution, plus a bias.

    x: (nInputPlane, T, H, W) or (N, nInputPlane, T, H, W) -> (N,) nOutputPlane, T', H', W' with
    T' = (T - 1)·dT - 2·padT + kT + adjT, the others likewise; also the table [x, reference], as in
    SpatialFullConvolution.  weight (nInputPlane, nOutputPlane, kT, kH, kW) and bias (nOutputPlane,)
    or None start from U(-s, s), s = 1/√(kT·kW·kH·nInputPlane).  nGroup: as in
    SpatialFullConvolution.
    Raises ValueError for an adj that is too large, ShapeError for other inputs.
    Source: nn.VolumetricFullConvolution.
    """

    keeps = (
        "nInputPlane",
        "nOutputPlane",
        "kT",
        "kW",
        "kH",
        "dT",
        "dW",
        "dH",
        "padT",
        "padW",
        "padH",
        "adjT",
        "adjW",
        "adjH",
        "nGroup",
    )
    order = "TWH"
    axes = "C T H W"

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kT: int,
        kW: int,
        kH: int,
        dT: int = 1,
        dW: int = 1,
        dH: int = 1,
        padT: int = 0,
        padW: int = 0,
        padH: int = 0,
        adjT: int = 0,
        adjW: int = 0,
        adjH: int = 0,
        nGroup: int = 1,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = dT, dW, dH
        self.padT, self.padW, self.padH = padT, padW, padH
        self.adjT, self.adjW, self.adjH = adjT, adjW, adjH
        self._check_adjustment()
        self._set_groups(nGroup)
        self._make_parameters((nInputPlane, nOutputPlane // nGroup, kT, kH, kW), (nOutputPlane,))
