"""How times grow: with the depth of a graph, the size of arrays, the batch, the width of a layer.

`python benchmarks/scaling.py` measures tapegrad, eager and compiled, and PyTorch eager on one
thread, for about three minutes, and writes benchmarks/SCALING.md and the pictures in docs/scaling.
Competitors take turns, and the smallest time of each counts.  Needs the `fast` extra and
matplotlib; without PyTorch its curves are left out.

Times are those of the processor, which other programs on a shared machine lengthen less than they
do those of the clock.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _timing import machine, one_thread, torch_or_none

if __name__ == "__main__":
    one_thread()

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim

Step = Callable[[], object]
Point = dict[str, float]

HERE = Path(__file__).resolve().parent
PICTURES = HERE.parent / "docs" / "scaling"
COLOURS = {"PyTorch": "#c9803f", "tapegrad": "#4878a8", "tapegrad compiled": "#3a8f5c"}
MOST_COMPILED = 10_000  # operations: larger chains take minutes to compile
LONG = 1.5  # seconds of a step that runs once
TURN = 0.06  # seconds, so that caches are warm
RELATIVE = 1.3  # of the time per operation at depth 100, which that at 100,000 may not exceed


class Curve:
    """One curve: what grows, what a time is divided by, and how steps are made.

    values: of what grows
    make:   value -> name -> step
    share:  value -> by what its times are divided
    unit:   of times after that: (name, seconds)
    """

    def __init__(
        self,
        name: str,
        title: str,
        label: str,
        values: tuple[int, ...],
        make: Callable[[int], dict[str, Step]],
        share: Callable[[int], float],
        unit: tuple[str, float],
    ) -> None:
        self.name, self.title, self.label, self.values = name, title, label, values
        self.make, self.share, self.unit = make, share, unit


def smallest(steps: dict[Any, Step], seconds: float) -> dict[Any, float]:
    """The smallest processor time of each step; all take turns, long ones only once."""
    best = dict.fromkeys(steps, float("inf"))
    end = time.perf_counter() + seconds
    while True:
        for key, step in steps.items():
            if LONG < best[key] < float("inf"):
                continue
            turn = time.perf_counter() + TURN
            while True:
                start = time.process_time()
                step()
                best[key] = min(best[key], time.process_time() - start)
                if time.perf_counter() > turn:
                    break
        if time.perf_counter() > end:
            return best


def chain(length: int, size: int = 10, *, most: int = MOST_COMPILED) -> dict[str, Step]:
    """Additions, products and tanh in turn, and the gradient of their sum."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=size).astype(np.float32) * np.float32(1e-3)
    a = rng.normal(size=size).astype(np.float32) * np.float32(1e-6)
    b = np.full(size, 1.0001, np.float32)

    def value(x: Any) -> Any:
        for k in range(length):
            x = x + a if k % 3 == 0 else x * b if k % 3 == 1 else np.tanh(x)
        return np.sum(x)

    step = tg.value_and_grad(value)
    found: dict[str, Step] = {"tapegrad": lambda: step(x)}
    if length <= most:
        compiled = tg.compile(step)
        found["tapegrad compiled"] = lambda: compiled(x)
    torch: Any = torch_or_none()
    if torch is not None:
        tx, ta, tb = (torch.from_numpy(array.copy()) for array in (x, a, b))
        tx.requires_grad_()

        def torch_step() -> None:
            tx.grad, y = None, tx
            for k in range(length):
                y = y + ta if k % 3 == 0 else y * tb if k % 3 == 1 else torch.tanh(y)
            y.sum().backward()

        found["PyTorch"] = torch_step
    return found


def perceptron(batch: int, width: int) -> dict[str, Step]:
    """Training steps of an MLP of two hidden layers by SGD."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(batch, 128)).astype(np.float32), rng.integers(0, 10, batch)
    found: dict[str, Step] = {}
    sizes = (128, width, width, 10)
    for name, wrap in (("tapegrad", None), ("tapegrad compiled", tg.compile)):
        model = nn.Sequential()
        for k in range(3):
            model.add(nn.Linear(sizes[k], sizes[k + 1]))
            if k < 2:
                model.add(nn.ReLU())
        optimizer, criterion = optim.SGD(model, lr=0.01, momentum=0.9), nn.CrossEntropyCriterion()

        def body(x: Any, y: Any, parts: Any = (model, optimizer, criterion)) -> Any:
            model, optimizer, criterion = parts
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        step = body if wrap is None else wrap(body)
        found[name] = lambda step=step: step(x, y)  # type: ignore[misc]  # a default of its own
    torch: Any = torch_or_none()
    if torch is not None:
        layers: list[Any] = []
        for k in range(3):
            layers += [torch.nn.Linear(sizes[k], sizes[k + 1]), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)

        def torch_step() -> None:
            sgd.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(net(tx), ty).backward()
            sgd.step()

        found["PyTorch"] = torch_step
    return found


NUMBERS = 12  # operations of the chain whose arrays grow
CURVES = (
    Curve(
        "depth", "A chain of operations on ten numbers, forward and reverse", "operations",
        (100, 1000, 10_000, 100_000, 1_000_000), chain, float, ("µs per operation", 1e-6),
    ),
    Curve(
        "size", f"A chain of {NUMBERS} operations, forward and reverse", "entries of an array",
        (10, 100, 1000, 10_000, 100_000, 1_000_000), lambda n: chain(NUMBERS, n),
        lambda _: float(NUMBERS), ("µs per operation", 1e-6),
    ),
    Curve(
        "batch", "Training an MLP 128-256-256-10 by SGD", "rows of a batch",
        (1, 4, 16, 64, 256, 1024), lambda n: perceptron(n, 256), lambda _: 1.0,
        ("ms per step", 1e-3),
    ),
    Curve(
        "width", "Training an MLP 128-n-n-10 by SGD, batches of 64", "width n",
        (8, 32, 128, 512, 2048), lambda n: perceptron(64, n), lambda _: 1.0,
        ("ms per step", 1e-3),
    ),
)  # fmt: skip


def measure(curve: Curve, seconds: float, most: int) -> dict[int, Point]:
    """Seconds of each step at each value, divided by the curve's share."""
    values = [v for v in curve.values if v <= most]
    steps = {(v, name): step for v in values for name, step in curve.make(v).items()}
    for (_, name), step in steps.items():
        for _ in range(2 if "compiled" in name else 0):  # record, and compile
            step()
    # Recorded and compiled steps are millions of objects, and PyTorch brings its own.  Else each of
    # Python's collections, which a long chain sets off, would look through them.
    gc.collect()
    gc.freeze()
    best = smallest(steps, seconds * len(values))
    gc.unfreeze()
    found: dict[int, Point] = {v: {} for v in values}
    for (value, name), t in best.items():
        found[value][name] = t / curve.share(value)
    for value, point in found.items():
        text = "  ".join(f"{name} {t / curve.unit[1]:.3f}" for name, t in point.items())
        print(f"{curve.name} {value:>9,}  {text}  {curve.unit[0]}", flush=True)
    return found


def draw(curve: Curve, points: dict[int, Point], folder: Path) -> None:
    """Write a picture of both axes in logarithms."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "tapegrad", "svg.fonttype": "none", "font.size": 9})
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    for name, colour in COLOURS.items():
        values = [v for v in points if name in points[v]]
        times = [points[v][name] / curve.unit[1] for v in values]
        if values:
            axes.loglog(values, times, "o-", color=colour, label=name, markersize=4)
    axes.set(xlabel=curve.label, ylabel=curve.unit[0], title=curve.title)
    axes.grid(visible=True, which="major", color="#e4e4e8")
    axes.legend(frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{curve.name}.svg", metadata={"Date": None})
    plt.close(figure)


def claim(points: dict[int, Point]) -> list[str]:
    """What the depths say of the time per operation."""
    if not {100, 100_000} <= points.keys():
        return []
    lines = []
    for name in points[100_000]:
        ratio = points[100_000][name] / points[100][name]
        lines.append(f"{name} {ratio:.2f}")
    result = (
        "held" if points[100_000]["tapegrad"] / points[100]["tapegrad"] <= RELATIVE else "missed"
    )
    text = f"Time per operation at depth 100,000, of that at 100: {', '.join(lines)}."
    return [f"{text} tapegrad's goal is at most {RELATIVE}: {result}.", ""]


def page(found: dict[str, dict[int, Point]], lines: list[str], pictures: str) -> str:
    """The tables and pictures as Markdown."""
    text = ["# How times grow", "", "Written by `python benchmarks/scaling.py`.", ""]
    text += [f"- {line}" for line in lines] + [""]
    for curve in CURVES:
        points = found.get(curve.name)
        if not points:
            continue
        names = [n for n in COLOURS if any(n in p for p in points.values())]
        text += [f"## {curve.title}", "", f"![{curve.title}]({pictures}/{curve.name}.svg)", ""]
        text += [f"| {curve.label} | {' | '.join(names)} |", "|---:|" + "---:|" * len(names)]
        for value, point in points.items():
            cells = [f"{point[n] / curve.unit[1]:.3g}" if n in point else "–" for n in names]
            text.append(f"| {value:,} | {' | '.join(cells)} |")
        text += ["", f"In {curve.unit[0]}.", ""]
        if curve.name == "depth":
            text += claim(points)
    return "\n".join(text).rstrip() + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-c", "--curves", default=",".join(c.name for c in CURVES))
    parser.add_argument("-s", "--seconds", type=float, default=3.0, help="of each point")
    parser.add_argument("--most", type=int, default=10**9, help="the largest value")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "SCALING.md")
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    chosen = arguments.curves.split(",")
    unknown = set(chosen) - {c.name for c in CURVES}
    if unknown:
        parser.error(f"{', '.join(unknown)}: there are {', '.join(c.name for c in CURVES)}")
    before = os.getloadavg()[0]
    found = {}
    for curve in CURVES:
        if curve.name in chosen:
            found[curve.name] = measure(curve, arguments.seconds, arguments.most)
            draw(curve, found[curve.name], arguments.pictures)
    torch: Any = torch_or_none()
    load = f"{before:.1f} before and {os.getloadavg()[0]:.1f} after"
    shared = f"The machine is shared: its load was {load}."
    lines = [
        machine(1) + ("" if torch is None else f", PyTorch {torch.__version__}"),
        f"{shared} Competitors took turns; of each the smallest processor time counts.",
    ]
    pictures = os.path.relpath(arguments.pictures, arguments.output.parent)
    arguments.output.write_text(page(found, lines, pictures), encoding="utf-8")


if __name__ == "__main__":
    main()
