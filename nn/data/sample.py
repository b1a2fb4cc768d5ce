"""Sample: the features and labels of one example, each one array or several.

Everything that data goes through (transformers, mini-batches, predict, evaluate) knows samples by
`input` and `target`: one array, or a list of arrays where there are several, as Torch7's tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, default_dtype
from tapegrad.autograd.core.tensor import array_of

if TYPE_CHECKING:
    import numpy.typing as npt

    ArrayLike: TypeAlias = Tensor | npt.ArrayLike

__all__ = ["Sample", "row_array"]

NO_NUMBERS = "a sample holds arrays of numbers, not {found}"


class Sample:
    """One example: features, and labels if there are any.

    features, labels: an array, a number, or a list or tuple of arrays where there are several;
                      Python's floats become the default dtype
    `features` and `labels` are tuples of arrays; `input` and `target` what a model and a criterion
    get: one array, or a list of them, None without labels.  Raises TypeError for what holds no
    numbers.  (BigDL's Sample; its numbers of arrays count from 1, these from 0.)
    """

    __slots__ = ("features", "labels")

    def __init__(
        self,
        features: ArrayLike | Sequence[ArrayLike],
        labels: ArrayLike | Sequence[ArrayLike] = (),
    ) -> None:
        self.features = _arrays(features)
        self.labels = () if labels is None else _arrays(labels)

    @classmethod
    def from_ndarray(
        cls, features: ArrayLike | Sequence[ArrayLike], labels: ArrayLike | Sequence[ArrayLike] = ()
    ) -> Sample:
        """Make a sample: the name of BigDL's Python interface."""
        return cls(features, labels)

    @property
    def input(self) -> np.ndarray | list[np.ndarray]:
        """What a model gets: the feature, or a list of the features."""
        return self.features[0] if len(self.features) == 1 else list(self.features)

    @property
    def target(self) -> np.ndarray | list[np.ndarray] | None:
        """What a criterion gets: the label, a list of the labels, or None."""
        if not self.labels:
            return None
        return self.labels[0] if len(self.labels) == 1 else list(self.labels)

    def feature(self, index: int = 0) -> np.ndarray:
        """The feature at `index`, from 0."""
        return self.features[index]

    def label(self, index: int = 0) -> np.ndarray:
        """The label at `index`, from 0."""
        return self.labels[index]

    def numFeature(self) -> int:
        """How many features there are."""
        return len(self.features)

    def numLabel(self) -> int:
        """How many labels there are."""
        return len(self.labels)

    def getFeatureSize(self) -> list[tuple[int, ...]]:
        """The shape of each feature."""
        return [feature.shape for feature in self.features]

    def getLabelSize(self) -> list[tuple[int, ...]]:
        """The shape of each label."""
        return [label.shape for label in self.labels]

    def featureLength(self, index: int = 0) -> int:
        """The length of a feature along its first axis; 1 for a number."""
        return self.features[index].shape[0] if self.features[index].ndim else 1

    def labelLength(self, index: int = 0) -> int:
        """The length of a label along its first axis; 1 for a number."""
        return self.labels[index].shape[0] if self.labels[index].ndim else 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sample):
            return NotImplemented
        pairs = [(self.features, other.features), (self.labels, other.labels)]
        return all(len(a) == len(b) and all(map(np.array_equal, a, b)) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays change

    def __repr__(self) -> str:
        def shown(arrays: tuple[np.ndarray, ...]) -> str:
            return ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays)

        labels = f"; labels {shown(self.labels)}" if self.labels else ""
        return f"Sample({shown(self.features)}{labels})"


def _arrays(values: ArrayLike | Sequence[ArrayLike]) -> tuple[np.ndarray, ...]:
    if isinstance(values, (list, tuple)):
        if not values:
            return ()
        several = any(isinstance(entry, (np.ndarray, Tensor)) for entry in values)
        if several or (isinstance(values, tuple) and isinstance(values[0], (list, tuple))):
            return tuple(row_array(entry) for entry in values)
    return (row_array(values),)


def row_array(value: object) -> np.ndarray:
    """Return an array of numbers: NumPy's as it is, a Tensor's values, numbers in lists.

    Python's floats become the default dtype.  Raises TypeError for what holds no numbers.
    """
    if isinstance(value, Tensor):
        return devices.to_numpy(array_of(value.detach()))
    if isinstance(value, (np.ndarray, np.generic)):
        found = np.asarray(value)
    else:
        try:
            found = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise TypeError(NO_NUMBERS.format(found=f"{value!r:.60}: {error}")) from error
        if found.dtype == np.float64 and isinstance(value, (list, tuple, float)):
            found = found.astype(default_dtype())
    if found.dtype.kind not in "fiubc":
        raise TypeError(NO_NUMBERS.format(found=f"{value!r:.60}"))
    return found
