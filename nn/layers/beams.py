"""Beam search: the best sequences that a function of the next word makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["SequenceBeamSearch"]

Cache = dict[str, Any]
NextWord = Callable[[Tensor, int, int, Tensor, Tensor, Cache], tuple[Tensor, Cache]]

FAR = -1e7  # the score of a sequence that there is not


class SequenceBeamSearch(Module):
    """The sequences of highest probability that a decoder makes, word by word.

    [encoded, bias]: of N samples, (N, …) each -> [sequences (N, beamSize, maxDecodeLength + 1),
    scores (N, beamSize)], the best first.  Words are numbers from 0 to vocabSize - 1.  A sequence
    begins with paddingValue, ends with eosID, and has paddingValue behind that.  Its score is the
    logarithm of its probability over ((5 + length) / 6)^alpha; of a sample without a sequence that
    ends, all sequences, and the logarithms alone.
    setLogitFn(function): function(sequences (M, i + 1), i, maxDecodeLength, encoded (M, …), bias
    (M, …), cache) -> (scores of the next word (M, vocabSize), cache), where M = N·beamSize, and the
    cache is a dict of arrays (M, …) that follow their sequences, {} at first; with numHiddenLayers
    it has arrays (M, 0, hiddenSize), "layer_1_k", "layer_1_v", and so on, to be grown by the keys
    and values of each step.  A function cannot be written to a file.
    When it ends depends on the scores, so no step with a search is replayed.
    Raises ValueError for options that make no sense, without a function, and for NaN; ShapeError
    for other inputs and results of the function.
    Source: BigDL's SequenceBeamSearch; Y. Wu et al., "Google's neural machine translation system",
    2016, section 7.
    """

    keeps = (
        "vocabSize",
        "beamSize",
        "alpha",
        "maxDecodeLength",
        "eosID",
        "paddingValue",
        "numHiddenLayers",
        "hiddenSize",
        "symbolToLogits",
    )
    counts: ClassVar[Mapping[str, str]] = {"eosID": "index", "paddingValue": "index"}
    promotes = True

    def __init__(
        self,
        vocabSize: int,
        beamSize: int,
        alpha: float,
        maxDecodeLength: int,
        eosID: int,
        paddingValue: int,
        numHiddenLayers: int = 0,
        hiddenSize: int = 0,
    ) -> None:
        if vocabSize < 2 or beamSize < 1 or maxDecodeLength < 1 or alpha < 0:
            raise ValueError(
                f"SequenceBeamSearch: {vocabSize} words, {beamSize} sequences of at most "
                f"{maxDecodeLength} words and alpha {alpha}; there must be at least 2, 1, 1 and 0"
            )
        self.vocabSize, self.beamSize, self.alpha = vocabSize, beamSize, alpha
        self.maxDecodeLength = maxDecodeLength
        self.eosID, self.paddingValue = eosID, paddingValue
        self.numHiddenLayers, self.hiddenSize = numHiddenLayers, hiddenSize
        self.symbolToLogits: NextWord | None = None

    def setLogitFn(self, function: NextWord) -> Self:
        """Decode by `function`; the class says what it takes.  Returns self.

        Raises TypeError for what is no function.
        """
        if not callable(function):
            raise TypeError(f"SequenceBeamSearch.setLogitFn: {function!r} is no function")
        self.symbolToLogits = function
        return self

    def updateOutput(self, x: Nest) -> list[Tensor]:
        encoded, bias = entries_of(x, 2)
        if not encoded.ndim or not bias.ndim or len(encoded) != len(bias):
            raise ShapeError(f"inputs of shapes {encoded.shape}, {bias.shape} are of other samples")
        search = _Search(self, encoded, bias)
        while search.goes_on():
            search.grow()
        return search.result()


class _Search:
    """The state of one search: living sequences, and the best of those that have ended."""

    def __init__(self, module: SequenceBeamSearch, encoded: Tensor, bias: Tensor) -> None:
        self.module, self.samples, self.length = module, len(encoded), 0
        self.encoded, self.bias = (ops.repeat(x, module.beamSize, axis=0) for x in (encoded, bias))
        shape = (self.samples, module.beamSize)
        self.words = self._array(np.full((*shape, 1), module.paddingValue))
        self.ended_words = self.words
        start = np.where(np.arange(module.beamSize) == 0, 0.0, FAR)
        self.chances = self._array(np.broadcast_to(start, shape), encoded)
        self.scores = self._array(np.full(shape, FAR), encoded)
        self.has_ended = np.zeros(shape, bool)
        rows = self.samples * module.beamSize
        self.cache: Cache = {
            f"layer_{k}_{part}": self._array(np.zeros((rows, 0, module.hiddenSize)), encoded)
            for k in range(1, module.numHiddenLayers + 1)
            for part in ("k", "v")
        }

    def _array(self, values: np.ndarray, like: Tensor | None = None) -> Tensor:
        """An array on the device of the input, and of the dtype of `like`."""
        dtype = np.dtype(np.int64) if like is None else like.dtype
        return Tensor(np.ascontiguousarray(values), dtype=dtype, device=self.encoded.device)

    def _norm(self, length: int) -> float:
        """By what the logarithm of the probability of so many words is divided."""
        return float(((5 + length) / 6) ** self.module.alpha)

    def goes_on(self) -> bool:
        """Whether a living sequence may still become one of the best."""
        if self.length == self.module.maxDecodeLength:
            return False
        best = self.chances.detach().numpy().max(axis=1) / self._norm(self.module.maxDecodeLength)
        worst = self.scores.detach().numpy().min(axis=1)
        return bool((~self.has_ended.all(axis=1) | (best > worst)).any())

    def grow(self) -> None:
        """One more word: of the best 2·beamSize continuations those that live, those that end."""
        module, beams = self.module, self.module.beamSize
        chances = self.chances[..., None] + self._next()
        flat = chances.reshape((self.samples, -1))
        best = _best(flat, 2 * beams)
        chances = ops.take_along_axis(flat, self._array(best), axis=1)
        origin, word = best // module.vocabSize, best % module.vocabSize
        words = ops.concatenate([_rows(self.words, origin), self._array(word[..., None])], axis=2)
        last = word == module.eosID
        ends = last & (chances.detach().numpy() > FAR / 2)
        self.length += 1
        scores = ops.where(self._flags(ends), chances / self._norm(self.length), FAR)
        self._keep_ended(words, scores, ends)
        alive = ops.where(self._flags(last), FAR, chances)
        chosen = _best(alive, beams)
        self.words = _rows(words, chosen)
        self.chances = ops.take_along_axis(alive, self._array(chosen), axis=1)
        self._follow(np.take_along_axis(origin, chosen, axis=1))

    def _next(self) -> Tensor:
        """Logarithms of the probabilities of the next words, (N, beamSize, vocabSize)."""
        module = self.module
        if module.symbolToLogits is None:
            raise ValueError("SequenceBeamSearch: there is no function; call setLogitFn first")
        rows = self.samples * module.beamSize
        words = self.words.reshape((rows, self.length + 1))
        logits, self.cache = module.symbolToLogits(
            words, self.length, module.maxDecodeLength, self.encoded, self.bias, self.cache
        )
        if logits.shape != (rows, module.vocabSize):
            raise ShapeError(
                f"the function's scores have shape {logits.shape}, not {(rows, module.vocabSize)}"
            )
        if np.isnan(logits.detach().numpy()).any():
            raise ValueError(
                "SequenceBeamSearch: scores of the next word are NaN, so sequences cannot be "
                "chosen; look for the layer before that made them NaN"
            )
        shape = (self.samples, module.beamSize, module.vocabSize)
        return ops.log_softmax(logits, axis=-1).reshape(shape)

    def _keep_ended(self, words: Tensor, scores: Tensor, ends: np.ndarray) -> None:
        """The best of those that had ended, and of those that end now."""
        grown = self._padded(self.ended_words, 1)
        words = ops.concatenate([grown, words], axis=1)
        scores = ops.concatenate([self.scores, scores], axis=1)
        best = _best(scores, self.module.beamSize)
        self.ended_words = _rows(words, best)
        self.scores = ops.take_along_axis(scores, self._array(best), axis=1)
        ended = np.concatenate([self.has_ended, ends], axis=1)
        self.has_ended = np.take_along_axis(ended, best, axis=1)

    def _padded(self, words: Tensor, count: int) -> Tensor:
        """Sequences (N, B, T) with `count` words of padding behind."""
        padding = np.full((*words.shape[:2], count), self.module.paddingValue)
        return ops.concatenate([words, self._array(padding)], axis=2)

    def _follow(self, origin: np.ndarray) -> None:
        """The cache's rows of the sequences from which the living ones have grown."""
        beams = self.module.beamSize
        rows = (origin + beams * np.arange(self.samples)[:, None]).reshape(-1)
        self.cache = {name: part[self._array(rows)] for name, part in self.cache.items()}

    def _flags(self, chosen: np.ndarray) -> Tensor:
        return Tensor(chosen, device=self.encoded.device)

    def result(self) -> list[Tensor]:
        """[sequences, scores]: those that have ended, of a sample without any the living ones."""
        some = self._flags(np.any(self.has_ended, axis=1, keepdims=True))
        words = ops.where(ops.expand_dims(some, 2), self.ended_words, self.words)
        words = self._padded(words, self.module.maxDecodeLength - self.length)
        return [words, ops.where(some, self.scores, self.chances)]


def _best(scores: Tensor, count: int) -> np.ndarray:
    """The positions of the `count` largest of each row, the largest first."""
    return np.argsort(-scores.detach().numpy(), axis=1, kind="stable")[:, :count]


def _rows(words: Tensor, chosen: np.ndarray) -> Tensor:
    """Of (N, B, T) the sequences (N, K), by their numbers."""
    index = Tensor(np.ascontiguousarray(chosen[..., None]), device=words.device)
    return ops.take_along_axis(words, index, axis=1)
