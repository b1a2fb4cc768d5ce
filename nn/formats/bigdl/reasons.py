"""BigDL's layers that nn has and its files, as we write them, have not; each with the reason."""

from __future__ import annotations

__all__ = ["NOT_WRITTEN"]

_INTERNAL = "private to BigDL's package: a network of its own around graphs, which no user makes"

NOT_WRITTEN = {
    "BinaryTreeLSTM": "BigDL keeps its leaves and composers as lists of clones, one a node of a tree",
    "Echo": "its functions are code, which no file has",
    "FeedForwardNetwork": _INTERNAL,
    "Highway": "BigDL has no class for it: its function of that name makes a graph",
    "LayerNormalization": _INTERNAL,
    "SpatialContrastiveNormalization": "BigDL's file holds the networks of its estimators",
    "SpatialDivisiveNormalization": "BigDL's file holds the networks of its estimators",
    "SpatialSubtractiveNormalization": "BigDL's file holds the networks of its estimators",
}
