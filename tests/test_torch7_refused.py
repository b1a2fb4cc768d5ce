"""What Torch7's classes do not take: translated where possible, else refused when saving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn.formats import UnsupportedError
from tapegrad.nn.formats import torch7 as t7

# (module, field, what is in the file) of axes that count from the end.
TRANSLATED: dict[str, tuple[Callable[[], nn.Module], str, Any]] = {
    "Transpose": (lambda: nn.Transpose((-1, 0)).setNumInputDims(3), "permutations", [[3, 1]]),
    "Squeeze": (lambda: nn.Squeeze(-2, 3), "dim", 2),
    "Unsqueeze": (lambda: nn.Unsqueeze(-1, 2), "pos", 3),
    "Padding": (lambda: nn.Padding(-1, 2, 2), "dim", 2),
    "GatedLinearUnit": (lambda: nn.GatedLinearUnit(-1), "dim", None),
}
REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "Concat": (lambda: nn.Concat(-1, nn.Identity()), "Concat.dimension .*found -1"),
    "DepthConcat": (lambda: nn.DepthConcat(-1, nn.Identity()), "DepthConcat.dimension"),
    "Parallel in": (lambda: nn.Parallel(-1, 0), "Parallel.inputDimension"),
    "Parallel out": (lambda: nn.Parallel(0, -1), "Parallel.outputDimension"),
    "Transpose": (lambda: nn.Transpose((0, -1)), r"Transpose.permutations .*numInputDims"),
    "Transpose too far": (
        lambda: nn.Transpose((0, -4)).setNumInputDims(3),
        "Transpose.permutations",
    ),
    "Squeeze": (lambda: nn.Squeeze(-1), "Squeeze.dim .*numInputDims"),
    "Unsqueeze": (lambda: nn.Unsqueeze(-1), "Unsqueeze.pos .*numInputDims"),
    "Index": (lambda: nn.Index(-1), "Index.dimension"),
    "Padding": (lambda: nn.Padding(-1, 2), "Padding.dim .*nInputDim"),
    "GatedLinearUnit": (lambda: nn.GatedLinearUnit(-2), "GatedLinearUnit.dim"),
    "SpatialConvolutionLocal": (
        lambda: nn.SpatialConvolutionLocal(1, 1, 3, 3, 2, 2).noBias(),
        "SpatialConvolutionLocal with a bias",
    ),
    "SpatialUpSamplingNearest": (
        lambda: nn.SpatialUpSamplingNearest(1),
        "scale_factor of at least 2",
    ),
}


@pytest.mark.parametrize("name", TRANSLATED)
def test_an_axis_from_the_end_is_written_as_one_from_the_front(name: str, tmp_path: Path) -> None:
    make, field, wanted = TRANSLATED[name]
    module, path = make().double(), tmp_path / "x.t7"
    t7.save(module, path)
    found = t7.objects(path).fields.get(field)
    if isinstance(found, t7.Table):
        found = [pair.as_list() for pair in found.as_list()]
    assert found == wanted
    again = t7.load(path)
    sample = np.arange(24.0).reshape(2, 3, 4) if name != "Squeeze" else np.ones((2, 1, 4))
    x = sample[0] if name in ("Unsqueeze", "Padding") else sample
    for given in (x, np.stack([x, 2 * x])):
        assert np.array_equal(again.forward(given).numpy(), module.forward(given).numpy())


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch7_does_not_take_is_refused_by_class_and_option(
    name: str, tmp_path: Path
) -> None:
    make, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=rf"at root\[0\]: .*{message}"):
        t7.save([make()], tmp_path / "x.t7")
    assert not list(tmp_path.iterdir())
