"""`tapegrad demo`: a small LeNet learns real handwritten digits.

The network is a Module with plain forward code and the loop is Torch7's: `getParameters`, a closure
that returns loss and gradient, `optim.adam`. The data are scikit-learn's 1,797 scanned digits of
8 x 8 pixels. Everything random (the split, the order, the shifts, the weights, dropout) comes from
one seed, so that the same seed gives the same files, bit for bit. The test set is looked at for the
curve and for the final figure; nothing is chosen by it.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tapegrad import nn, optim
from tapegrad.autograd import Tensor, no_grad
from tapegrad.autograd.core.progress import progress_place
from tapegrad.devices import Array, Device, TapegradError, manual_seed

BATCH = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
TEST_FRACTION = 0.2
MISTAKES_SHOWN = 32


class DemoError(TapegradError, RuntimeError):
    """The demo could not be done, or the saved model does not answer as the trained one."""


class LeNet(nn.Module):
    """Two convolutions, pooling, two linear layers: (n, 1, 8, 8) -> (n, 10) scores.

    After LeCun et al., "Gradient-based learning applied to document recognition" (1998), with batch
    normalization and dropout, and rectifiers for the sigmoids of its time.
    """

    def __init__(self) -> None:
        self.conv1 = nn.SpatialConvolution(1, 16, 3, 3, 1, 1, 1, 1)
        self.norm1 = nn.SpatialBatchNormalization(16)
        self.conv2 = nn.SpatialConvolution(16, 32, 3, 3, 1, 1, 1, 1)
        self.norm2 = nn.SpatialBatchNormalization(32)
        self.pool = nn.SpatialMaxPooling(2, 2, 2, 2)
        self.drop = nn.Dropout(0.4)
        self.hidden = nn.Linear(32 * 4 * 4, 64)
        self.scores = nn.Linear(64, 10)

    def updateOutput(self, x: Array) -> Tensor:
        """(n, 1, 8, 8) -> (n, 10)."""
        x = np.maximum(self.norm1(self.conv1(x)), 0)
        x = np.maximum(self.norm2(self.conv2(x)), 0)
        x = self.pool(x).reshape(len(x), -1)
        x = np.maximum(self.hidden(x), 0)
        return self.scores(self.drop(x))


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 8, 8) in [-1, 1], float32, and labels (n,) in 0..9, for training and test."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass
class Curve:
    """The loss and the test accuracy after each epoch."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


def load_digits(seed: int) -> Digits:
    """Load scikit-learn's digits, with a fifth of each class set aside for the test."""
    from sklearn.datasets import load_digits as load
    from sklearn.model_selection import train_test_split

    data = load()
    images = (data.images[:, None] / 8 - 1).astype(np.float32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, data.target, test_size=TEST_FRACTION, stratify=data.target, random_state=seed
    )
    return Digits(train_images, train_labels, test_images, test_labels)


def shift_images(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Move each image by -1, 0 or 1 pixels along each axis; the edge is filled with paper, -1."""
    n, _, height, width = images.shape
    paper = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
    down, right = generator.integers(0, 3, (2, n, 1))
    rows = (down + np.arange(height))[:, None, :, None]
    columns = (right + np.arange(width))[:, None, None, :]
    return paper[np.arange(n)[:, None, None, None], 0, rows, columns]


def draw_batches(
    digits: Digits, draw: np.random.Generator, device: Device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the full batches of an epoch, (images, labels), shuffled and shifted anew."""
    order = draw.permutation(len(digits.train_images))
    images = shift_images(digits.train_images[order], draw)
    labels = digits.train_labels[order]
    for start in range(0, len(order) - BATCH + 1, BATCH):
        part = slice(start, start + BATCH)
        yield Tensor(images[part], device=device), Tensor(labels[part], device=device)


def cosine_rate(step: int, n_steps: int) -> float:
    """Return the learning rate of a step: half a cosine from LEARNING_RATE down to zero."""
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def train_model(
    model: nn.Module,
    digits: Digits,
    *,
    device: Device | str,
    epochs: int,
    seed: int,
    compiled: bool = False,
) -> Curve:
    """Train in place, by Adam with a rate that falls to zero along a cosine; return the curve.

    compiled: loss and gradient are recorded on the first two batches and run compiled afterwards
    """
    from tqdm import tqdm

    draw = np.random.default_rng(seed)
    criterion = nn.CrossEntropyCriterion()

    def compute_loss(x: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, and leave its gradient in the parameters."""
        model.zeroGradParameters()
        output = model.forward(x)
        loss = criterion.forward(output, target)
        model.backward(x, criterion.backward(output, target))
        return loss

    if compiled:
        from tapegrad import compile

        compute_loss = compile(compute_loss)
    weights, gradients = model.getParameters()
    config = {"learningRate": LEARNING_RATE, "weightDecay": WEIGHT_DECAY}
    state: dict[str, Any] = {}
    curve = Curve()
    per_epoch = len(digits.train_images) // BATCH
    n_steps = epochs * per_epoch
    step = 0
    # On a terminal a bar; in a log, where a bar would be one endless line, a line now and then.
    hidden = progress_place(None) != "terminal"
    with tqdm(total=n_steps, unit="batch", disable=hidden, dynamic_ncols=True) as bar:
        for epoch in range(epochs):
            total = 0.0
            model.training()
            for x, target in draw_batches(digits, draw, device):

                def loss_and_gradient(
                    _: Tensor, x: Tensor = x, target: Tensor = target
                ) -> tuple[Tensor, Tensor]:
                    return compute_loss(x, target), gradients

                config["learningRate"] = cosine_rate(step, n_steps)
                _, (loss,) = optim.adam(loss_and_gradient, weights, config, state)
                total += float(loss)
                step += 1
                bar.update()
            curve.loss.append(total / per_epoch)
            answers = compute_scores(model, digits.test_images, device)
            curve.accuracy.append(accuracy(answers, digits))
            status = f"loss {curve.loss[-1]:.4f}, test accuracy {curve.accuracy[-1]:.4f}"
            bar.set_postfix_str(status)
            if bar.disable and (epoch % 5 == 4 or epoch + 1 == epochs):
                print(f"epoch {epoch + 1:>3} of {epochs}: {status}", flush=True)
    return curve


def compute_scores(model: nn.Module, images: np.ndarray, device: Device | str) -> np.ndarray:
    """Return the model's scores in evaluation mode, as a NumPy array (n, 10)."""
    model.evaluate()
    with no_grad():
        return model(Tensor(images, device=device)).to("cpu").numpy()


def accuracy(answers: np.ndarray, digits: Digits) -> float:
    """Return the fraction of the test images whose highest score is the right one."""
    return float(np.mean(answers.argmax(axis=1) == digits.test_labels))


def draw_curve(curve: Curve, path: Path) -> None:
    """Draw the learning curve as PNG: training loss on the left, test accuracy on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = np.arange(1, len(curve.loss) + 1)
    marker = "o" if len(epochs) < 10 else None
    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("LeNet on 8 × 8 handwritten digits")
    left, right = figure.subplots(1, 2)

    left.semilogy(epochs, curve.loss, color="C0", marker=marker)
    left.set(title="training", ylabel="cross-entropy (nats per digit)")

    reached = 100 * np.array(curve.accuracy)
    right.plot(epochs, reached, color="C1", marker=marker)
    right.axhline(98, color="0.6", linewidth=1, linestyle="--", label="98 %")
    right.set(title=f"test: {reached[-1]:.2f} % at the end", ylabel="accuracy")
    # The interesting part of an accuracy is near its top: leave the first steep epochs out.
    right.set_ylim(min(96.0, np.floor(np.median(reached) - 1)), 100.1)
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9")
    figure.savefig(path, metadata={"Software": None})


def draw_mistakes(answers: np.ndarray, digits: Digits, path: Path) -> None:
    """Draw the misclassified test digits as PNG, the surest mistakes first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    exponentials = np.exp(answers - answers.max(axis=1, keepdims=True))
    probability = exponentials / exponentials.sum(axis=1, keepdims=True)
    guess = answers.argmax(axis=1)
    wrong = np.flatnonzero(guess != digits.test_labels)
    wrong = wrong[np.argsort(-probability[wrong, guess[wrong]], kind="stable")]
    mistakes = wrong[:MISTAKES_SHOWN]

    columns = min(max(len(mistakes), 4), 8)
    rows = max(-(-len(mistakes) // columns), 1)
    figure = Figure(figsize=(1.35 * columns, 1.7 * rows + 0.35), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    title = f"{len(wrong)} of {len(guess)} test digits misclassified"
    if len(mistakes) < len(wrong):
        title += f", the surest {len(mistakes)} of them"
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(mistakes) :]:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, mistakes, strict=False):
        axes.imshow(digits.test_images[index, 0], cmap="gray_r", vmin=-1, vmax=1)
        axes.set(xticks=[], yticks=[])
        confidence = probability[index, guess[index]]
        axes.set_title(
            f"{digits.test_labels[index]} read as {guess[index]}\n({100 * confidence:.0f} % sure)",
            fontsize=8,
        )
    figure.savefig(path, metadata={"Software": None})


def save_parameters(model: nn.Module, path: Path) -> None:
    """Save parameters and buffers as a safetensors file, by their dotted names."""
    from safetensors.numpy import save_file

    save_file(model.state_dict(), path, metadata={"model": type(model).__name__})


def load_parameters(model: nn.Module, path: Path) -> None:
    """Fill a model's parameters and buffers from a safetensors file."""
    from safetensors.numpy import load_file

    model.load_state_dict(load_file(path))


def summary_of(model: nn.Module, images: np.ndarray, device: Device | str) -> str:
    """List the modules with the shapes of their outputs and the numbers of their parameters."""
    model.evaluate()
    model.forward(Tensor(images, device=device))
    text = model.summary()
    model.clearState()
    return text


def run_demo(
    *, device: Device | str, epochs: int, seed: int, out: str, compiled: bool = False
) -> None:
    """Run the demo: print what happens and leave three files in the folder `out`.

    compiled: train with a compiled step
    Raises DemoError if the model that was saved does not answer as the one that was trained.
    """
    from threadpoolctl import threadpool_limits

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    # The matrices are small: a second BLAS thread gains nothing, and where another process wants
    # the same processors the two wait for each other (6 epochs: 1.5 s with one, 18 s with two).
    with threadpool_limits(limits=1, user_api="blas"):
        _train_and_save(folder, device, epochs, seed, compiled=compiled)


def _train_and_save(
    folder: Path, device: Device | str, epochs: int, seed: int, *, compiled: bool
) -> None:
    manual_seed(seed)
    digits = load_digits(seed)
    model = LeNet().to(device)
    print(summary_of(model, digits.test_images[:1], device))
    n_train, n_test = len(digits.train_labels), len(digits.test_labels)
    print(f"\n{n_train} digits to learn from, {n_test} to test; on {device}, epochs: {epochs}")

    start = time.perf_counter()
    curve = train_model(model, digits, device=device, epochs=epochs, seed=seed, compiled=compiled)
    answers = compute_scores(model, digits.test_images, device)
    print(f"trained in {time.perf_counter() - start:.1f} s")

    draw_curve(curve, folder / "learning-curve.png")
    draw_mistakes(answers, digits, folder / "misclassified.png")
    save_parameters(model, folder / "model.safetensors")
    reloaded = LeNet().to(device)
    load_parameters(reloaded, folder / "model.safetensors")
    again = compute_scores(reloaded, digits.test_images, device)
    before, after = accuracy(answers, digits), accuracy(again, digits)
    if before != after or not np.array_equal(answers, again):
        raise DemoError(
            f"the model loaded from {folder / 'model.safetensors'} has test accuracy {after!r}, "
            f"the trained one {before!r}; the largest difference of a score is "
            f"{np.abs(answers - again).max():.3g}"
        )
    for name in ("learning-curve.png", "misclassified.png", "model.safetensors"):
        print(folder / name)
    print(f"saved, loaded into a fresh model: accuracy {after!r}, the same to the last digit")
    print(f"test accuracy {before:.4f}")
