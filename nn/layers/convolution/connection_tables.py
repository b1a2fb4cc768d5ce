"""Connection tables for SpatialConvolutionMap: which input plane goes into which output plane.

Each function returns int64 rows (from, to), with planes counted from 0.  Source: nn.tables of
Torch7.
"""

from __future__ import annotations

import numpy as np

from tapegrad import devices

__all__ = ["full", "oneToOne", "random"]


def full(nin: int, nout: int) -> np.ndarray:
    """Connect every input plane to every output plane: (nin · nout, 2), output by output."""
    to, source = np.divmod(np.arange(nin * nout), nin)
    return np.stack([source, to], axis=1)


def oneToOne(nfeat: int) -> np.ndarray:
    """Connect each input plane to the output plane with its number: (nfeat, 2)."""
    return np.stack([np.arange(nfeat)] * 2, axis=1)


def random(nin: int, nout: int, nto: int) -> np.ndarray:
    """Connect `nto` different random input planes to each output plane: (nto · nout, 2).

    The planes are dealt from a shuffled list, so that all are used about equally often; a list with
    fewer than nto planes left is replaced by a new one.  The CPU's generator draws.
    Raises ValueError unless 1 <= nto <= nin.
    """
    if not 1 <= nto <= nin:
        raise ValueError(f"tables.random: nto must be 1 … nin = {nin}, found {nto}")
    generator = devices.generator("cpu")
    planes: list[int] = []
    source: list[int] = []
    for _ in range(nout):
        if len(planes) < nto:
            planes = generator.permutation(nin).tolist()
        source += [planes.pop() for _ in range(nto)]
    return np.stack([np.array(source), np.repeat(np.arange(nout), nto)], axis=1)
