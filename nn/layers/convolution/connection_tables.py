"""Connection tables for SpatialConvolutionMap: which input plane goes into which output plane.

Each function returns int64 rows (from, to), counted from 0.  Source: nn.tables of Torch7.
"""

from __future__ import annotations

import numpy as np

from tapegrad import devices

__all__ = ["full", "oneToOne", "random"]


def full(nin: int, nout: int) -> np.ndarray:
    """Every input plane into every output plane: (nin · nout, 2), output by output."""
    to, source = np.divmod(np.arange(nin * nout), nin)
    return np.stack([source, to], axis=1)


def oneToOne(nfeat: int) -> np.ndarray:
    """Each plane into the one of its number: (nfeat, 2)."""
    return np.stack([np.arange(nfeat)] * 2, axis=1)


def random(nin: int, nout: int, nto: int) -> np.ndarray:
    """`nto` input planes, all different, into each output plane: (nto · nout, 2).

    The planes are dealt out as a shuffled pack of cards is, so that they are used alike; what is
    left when a pack holds fewer than nto is put aside for a new one.  Drawn from the generator of
    the CPU.
    Raises ValueError unless 1 <= nto <= nin.
    """
    if not 1 <= nto <= nin:
        raise ValueError(f"tables.random: nto must be 1 … nin = {nin}, found {nto}")
    generator = devices.generator("cpu")
    pack: list[int] = []
    source: list[int] = []
    for _ in range(nout):
        if len(pack) < nto:
            pack = generator.permutation(nin).tolist()
        source += [pack.pop() for _ in range(nto)]
    return np.stack([np.array(source), np.repeat(np.arange(nout), nto)], axis=1)
