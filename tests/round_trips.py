"""Five models that every format can hold, from each format into each other.

    python -m tests.nightly format_round_trips

prints a matrix for each model: the largest difference of the results, as a share of the largest
result, between the model as it was made and what came out of the second file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from architectures import ARCHITECTURES, batch_norm, conv, max_pool, prepared

from tapegrad import nn, no_grad
from tapegrad.nn.core import files

ENDINGS = (".safetensors", ".t7", ".bigdl", ".caffemodel", ".pb", ".onnx", "-0000.params")


def vgg_block_with_norms():
    nn.manual_seed(3)
    module = nn.Sequential(conv(3, 4, 3, 1, 1), batch_norm(4), nn.ReLU())
    module.add(conv(4, 4, 3, 1, 1)).add(batch_norm(4)).add(nn.ReLU()).add(max_pool(2, 2))
    module.add(nn.View(4 * 8 * 8).setNumInputDims(3)).add(nn.Linear(256, 5)).add(nn.SoftMax())
    return prepared(module), (2, 3, 16, 16)


MODELS: dict[str, Callable[[], Any]] = {
    "mlp": ARCHITECTURES["mlp"],
    "lenet": ARCHITECTURES["lenet"],
    "vgg block": vgg_block_with_norms,
    "resnet block": ARCHITECTURES["resnet_downsampling"],
    "inception block": ARCHITECTURES["inception_block"],
}


def result_of(module: Any, x: np.ndarray) -> np.ndarray:
    with no_grad():
        return np.asarray(module.evaluate()(x).detach())


def loaded(path: Path, x: np.ndarray) -> Any:
    """The module of a file, of MXNet's in layers of nn."""
    kind, module = files.detect_format(path), nn.load(path)
    assert kind is not None
    return module if kind.as_layers is None else kind.as_layers(module, x)


def differences(name: str) -> Iterator[tuple[str, str, float]]:
    """(first ending, second ending, largest difference) of each pair of formats."""
    module, shape = MODELS[name]()
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    expected = result_of(module, x)
    largest = np.abs(expected).max()
    with tempfile.TemporaryDirectory() as folder:
        for first in ENDINGS:
            path = Path(folder) / f"first{first}"
            nn.save(module, path, inputs=x)
            for second in ENDINGS:
                again = Path(folder) / f"second{second}"
                nn.save(loaded(path, x), again, inputs=x)
                found = result_of(nn.load(again), x)
                assert found.shape == expected.shape, (name, first, second, found.shape)
                yield first, second, float(np.abs(found - expected).max() / largest)


def matrix(name: str, found: list[tuple[str, str, float]]) -> str:
    """The differences of a model as lines of a table: a row for each first format."""
    by_pair = {(first, second): value for first, second, value in found}
    head = f"{name:>16}" + "".join(f"{ending:>14}" for ending in ENDINGS)
    rows = [
        f"{first:>16}" + "".join(f"{by_pair[first, second]:>14.2g}" for second in ENDINGS)
        for first in ENDINGS
    ]
    return "\n".join([head, *rows])
