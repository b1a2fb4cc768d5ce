"""Each transfer function and criterion is timed against PyTorch's, or is said to have no peer."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tapegrad.nn import criterions
from tapegrad.nn.layers import activation, pointwise, rectifiers, softmax

pytestmark = pytest.mark.extra

LAYERS = Path(__file__).resolve().parents[1] / "benchmarks" / "layers.py"
ROOMS = (activation, rectifiers, softmax, pointwise, criterions)


@pytest.fixture(scope="module")
def layers() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(LAYERS.parent))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")  # which the benchmark sets for its own process
        spec = importlib.util.spec_from_file_location("_layers_benchmark", LAYERS)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def public_classes() -> set[str]:
    return {n for room in ROOMS for n in room.__all__ if isinstance(getattr(room, n), type)}


def compared(layers: ModuleType) -> set[str]:
    ours = [line.split(" | ")[1] for line in _lines(layers)]
    return {name for text in ours for name in re.findall(r"nn\.(\w+)\(", text)}


def _lines(layers: ModuleType) -> list[str]:
    text = layers.TRANSFER_FUNCTIONS + layers.CRITERIONS + layers.LAYERS
    return [line for line in text.split("\n") if line]


def test_each_transfer_function_and_criterion_has_a_line_or_no_peer(layers: ModuleType) -> None:
    without = [n for names in layers.WITHOUT_PEER.values() for n in names.split()]
    assert sorted(without) == sorted(set(without))
    missing = public_classes() - compared(layers) - set(without)
    assert not missing, f"add lines to benchmarks/layers.py, or names to WITHOUT_PEER: {missing}"


def test_what_has_no_peer_is_public_and_has_no_line(layers: ModuleType) -> None:
    without = {n for names in layers.WITHOUT_PEER.values() for n in names.split()}
    assert without <= public_classes()
    assert not without & compared(layers)


def test_lines_are_in_order_and_named_once(layers: ModuleType) -> None:
    for table in (layers.TRANSFER_FUNCTIONS, layers.CRITERIONS):
        names = [line.split(" | ")[0] for line in table.split("\n") if line]
        assert names == sorted(set(names))


def test_outputs_and_gradients_of_every_line_agree_with_pytorchs(layers: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    pairs = list(layers.pairs(torch))
    assert len(pairs) == len(_lines(layers))
    for pair in pairs:
        times = layers.measured(pair, torch, rounds=1, seconds=0)
        assert set(times) == {"tapegrad", "PyTorch"}
