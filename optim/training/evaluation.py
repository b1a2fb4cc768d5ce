"""What a trainer does without training: evaluation and predictions.

Both run in evaluation mode, and put each part of the model back into the mode that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, no_grad
from tapegrad.autograd.core.former import renamed_argument
from tapegrad.autograd.core.progress import with_bar
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.autograd.kernels.kept_memory import keeping_memory
from tapegrad.devices.collectives import RankGroup, SingleProcess
from tapegrad.optim.training.data import Batch, Batches, Data, HasEpochs, as_batches, length_of
from tapegrad.optim.training.losses import MeanLoss, batch_loss, labels_ignored_by
from tapegrad.optim.training.metrics import Metric, MetricSource, make_metrics
from tapegrad.optim.training.ranks import batches_of_rank, merge_figures

if TYPE_CHECKING:
    from tapegrad.optim.training.average import ExponentialMovingAverage

__all__ = ["NO_BATCHES", "Evaluator", "Model", "to_tensors", "keep_modes"]

NO_BATCHES = (
    "{place}: there are no samples in the data: no batch came. (A generator can be used once: give "
    "a function that makes it)"
)
SHUFFLED = "Trainer.predict: the batches are shuffled, and so would be the outputs: shuffle=False"
NOT_OF_SAMPLES = (
    "Trainer.predict: the model returns one number for a batch, not one for each sample"
)


class Model(Protocol):
    """A module, as far as the trainer knows one."""

    @property
    def train(self) -> int:
        """True, or 1, in training mode."""

    def __call__(self, *inputs: Any) -> Any:
        """Return the outputs."""

    @property
    def training(self) -> Callable[[], Any]:
        """Set training mode, when called."""

    def evaluate(self) -> Any:
        """Set evaluation mode."""

    def listModules(self) -> list[Any]:
        """Return the module and all below it."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Return the parameters by name."""
        ...

    def named_buffers(self) -> Iterator[tuple[str, Any]]:
        """Return the running statistics and other buffers by name."""
        ...

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Take the arrays over."""


class BatchResult(NamedTuple):
    """What came of a batch.

    weights:  the loss's (factor, weight) in the mean over batches
    one_each: whether the criterion returned a loss for each sample
    """

    output: Any
    loss: Any
    weights: tuple[float, float]
    target: Any
    one_each: bool


class Evaluator:
    """A model, a criterion, and what is measured of them: what of a Trainer changes nothing.

    sample_weights: batches are (x, …, target, weights)
    average:        its averages take the place of the parameters
    """

    model: Model
    criterion: Callable[[Any, Any], Any]
    metrics: list[MetricSource]
    sample_weights: bool
    average: ExponentialMovingAverage | None
    progress: bool | None = None

    @renamed_argument("batch", "batch_size", of="Trainer.evaluate")
    def evaluate(self, data: Data, *, batch_size: int = 32) -> dict[str, float]:
        """Compute val_loss and the metrics over `data`, in evaluation mode.

        With the averages in place of the parameters, if the trainer has an `average`.  Figures of
        no labelled sample are NaN.  Raises ValueError for data without samples.
        """
        return self._evaluate(self._for_evaluation(data, batch_size), shown=True)

    def _for_evaluation(self, data: Data, batch_size: int) -> HasEpochs:
        entries = 3 if self.sample_weights else 2
        return as_batches(
            data, batch_size, 0, shuffle=False, place="Trainer.evaluate", entries=entries
        )

    @keeping_memory
    def _evaluate(self, batches: HasEpochs, *, shown: bool = False) -> dict[str, float]:
        metrics = make_metrics(self.metrics, labels_ignored_by(self.criterion))
        mean, count = MeanLoss(), 0
        group = self._group_for_evaluation(metrics)
        with self._evaluating():
            for batch in self._with_bar(
                batches_of_rank(batches.epoch(0), group), batches, "evaluate", shown=shown
            ):
                found = self._forward(batch)
                mean.add(float(found.loss), found.weights)
                count += 1
                for metric in metrics:
                    metric.add(found.output, found.target)
        mean, count = merge_figures(group, mean, count, metrics)
        if not count:
            raise ValueError(NO_BATCHES.format(place="Trainer.evaluate"))
        results = {"val_loss": mean.value()}
        results.update({f"val_{metric.name}": metric.value() for metric in metrics})
        return results

    def _group_for_evaluation(self, metrics: Sequence[Metric]) -> RankGroup:
        """The ranks that share the batches of an evaluation out among them."""
        return SingleProcess()

    @keeping_memory
    def predict(self, data: Data, *, batch_size: int = 32) -> Any:
        """Compute the outputs for `data`, in order and in evaluation mode, as NumPy arrays.

        data: an array, a tuple or list of arrays for a model of several inputs, `Batches` of inputs
              that are not shuffled, or an iterable of batches of inputs
        With the averages in place of the parameters, if the trainer has an `average`.  Of several
        outputs, each is joined along its first axis, that of samples.
        Raises ValueError for data without samples, and for shuffled batches.
        """
        batches = as_batches(data, batch_size, 0, shuffle=False, place="Trainer.predict", entries=1)
        if isinstance(batches, Batches) and batches.shuffle:
            raise ValueError(SHUFFLED)
        with self._evaluating():
            outputs = [
                map_leaves(_to_numpy, self.model(*[to_tensors(x) for x in inputs]))
                for inputs in self._with_bar(batches.epoch(0), batches, "predict")
            ]
        if not outputs:
            raise ValueError(NO_BATCHES.format(place="Trainer.predict"))
        return join_batches(outputs)

    def _with_bar(
        self, epoch: Iterable[Batch], batches: HasEpochs, name: str, *, shown: bool = True
    ) -> Iterator[Batch]:
        """The batches, with a bar where somebody looks on."""
        is_first = getattr(self, "group", SingleProcess()).rank == 0
        progress = None if shown and is_first and self.progress is not False else False
        return with_bar(epoch, length_of(batches), "batch", name=name, progress=progress)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        with keep_modes(self.model), no_grad(), self._apply_average():
            self.model.evaluate()
            yield

    def _apply_average(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.average is None else self.average.apply()

    def _forward(self, batch: Batch) -> BatchResult:
        """Return the output and the loss for a batch."""
        *inputs, target = batch
        sample_weights = None
        if self.sample_weights:
            *inputs, target, sample_weights = batch
        output = self.model(*[to_tensors(x) for x in inputs])
        loss, weights, one_each = batch_loss(self.criterion, output, target, sample_weights)
        return BatchResult(output, loss, weights, target, one_each)


@contextmanager
def keep_modes(model: Any) -> Iterator[None]:
    """Give each part of the model the mode that it had, after a with statement."""
    modes = [(part, part.train) for part in model.listModules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.train = mode


def join_batches(outputs: list[Any]) -> Any:
    """Join arrays along their first axis, and those of equal nests entry by entry.

    Raises ValueError for outputs that do not have one for each sample.
    """
    first = outputs[0]
    if isinstance(first, dict):
        return {key: join_batches([output[key] for output in outputs]) for key in first}
    if isinstance(first, (list, tuple)):
        return [join_batches(list(entries)) for entries in zip(*outputs, strict=True)]
    if not np.ndim(first):
        raise ValueError(NOT_OF_SAMPLES)
    return np.concatenate(outputs)


def to_tensors(x: Any) -> Any:
    """Return arrays as Tensors, also those of a table."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, Mapping):
        return {key: to_tensors(entry) for key, entry in x.items()}
    if isinstance(x, (list, tuple)) and any(hasattr(entry, "shape") for entry in x):
        return [to_tensors(entry) for entry in x]
    return Tensor(x)


def _to_numpy(value: Any) -> Any:
    return np.array(devices.to_numpy(array_of(value.detach())))
