"""Validation methods of recommenders: where the one item that a user chose stands among others.

output: the scores of negNum + 1 items of a user, (negNum + 1,), or of several users, (users,
negNum + 1) or one after another;  target: 1 for the chosen item, 0 for the others.
An item is behind those with a larger score only; a score that is NaN is behind all.

Source: BigDL's optim.HitRatio and NDCG; X. He et al., "Neural collaborative filtering", WWW 2017.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.optim.training.labels import nest_to_numpy
from tapegrad.optim.validation.methods import ValidationMethod
from tapegrad.optim.validation.results import LossResult

__all__ = ["NDCG", "HitRatio"]

WRONG_SIZE = (
    "{name}: {found} scores are not those of users with {size} items each, negNum + 1; the target "
    "has {labels}"
)
ONE_POSITIVE = (
    "{name}: user {user} has {count} chosen items, and each must have one, marked by 1 among zeros"
)


class _Ranking(ValidationMethod):
    """Ranks from 1 of the chosen items, each among negNum + 1."""

    def __init__(self, k: int = 10, negNum: int = 100) -> None:
        if k < 1 or negNum < 1:
            raise ValueError(f"{type(self).__name__}: k and negNum must be at least 1")
        self.k, self.negNum = k, negNum

    def ranks(self, output: Any, target: Any) -> np.ndarray:
        """Return the rank of each user's item, from 1, (users,).

        Raises ValueError for other numbers of scores, and unless each user has one chosen item.
        """
        scores: np.ndarray
        scores, chosen = (np.asarray(nest_to_numpy(v)).reshape(-1) for v in (output, target))
        size = self.negNum + 1
        if scores.size != chosen.size or scores.size % size:
            raise ValueError(
                WRONG_SIZE.format(
                    name=type(self).__name__, found=scores.size, size=size, labels=chosen.size
                )
            )
        scores, marks = scores.reshape(-1, size), chosen.reshape(-1, size) == 1
        counts = marks.sum(axis=1)
        if (counts != 1).any():
            user = int(np.argmax(counts != 1))
            raise ValueError(
                ONE_POSITIVE.format(name=type(self).__name__, user=user, count=int(counts[user]))
            )
        own = scores[marks][:, None]
        ranks = 1 + (scores > own).sum(axis=1)
        return np.where(np.isnan(own[:, 0]), size, ranks)


class HitRatio(_Ranking):
    """The share of users whose chosen item is among the k with the largest scores: HitRate@k.

    Raises ValueError for k or negNum below 1, and for data as described above.
    """

    @property
    def name(self) -> str:
        """HitRate@k."""
        return f"HitRate@{self.k}"

    def __call__(self, output: Any, target: Any) -> LossResult:
        """Return the result of one user, or of several."""
        ranks = self.ranks(output, target)
        return LossResult((ranks <= self.k).astype(np.float64), len(ranks), name=self.name)


class NDCG(_Ranking):
    """The mean over users of log 2 / log(1 + rank), 0 for ranks beyond k.

    Raises ValueError for k or negNum below 1, and for data as described above.
    """

    @property
    def name(self) -> str:
        """NDCG@k."""
        return f"NDCG@{self.k}"

    def __call__(self, output: Any, target: Any) -> LossResult:
        """Return the result of one user, or of several."""
        ranks = self.ranks(output, target)
        gains = [math.log(2) / math.log(1 + r) if r <= self.k else 0.0 for r in ranks.tolist()]
        return LossResult(gains, len(ranks), name=self.name)
