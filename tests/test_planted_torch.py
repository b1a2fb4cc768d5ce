"""Faults planted in layers of PyTorch: the corpus is what it says, and a sample of it is found.

`pytest -m planted` holds the laws against a sample of the faults and of their right twins; `python
-m tests.nightly planted_torch` counts all of them, by kind.
"""

from __future__ import annotations

from collections import Counter

import pytest
from planted.torch_differences import difference
from planted.torch_faults import TORCH_FAULTS, TORCH_LAYERS
from planted.torch_hunting import hunt_torch

KINDS = {
    "accumulation", "complex", "double backward", "dtype", "eps", "flat", "formula", "frozen",
    "indices", "layout", "mask", "memory", "mode", "options", "plain", "random", "reduction",
    "results", "samples", "shape", "sign", "size", "special point", "state", "ties", "transpose",
}  # fmt: skip
# A fault of each kind; all of them, with 25 and 100 examples, are for the nightly run.
SAMPLE = list({fault.kind: fault for fault in reversed(TORCH_FAULTS)}.values())


@pytest.fixture
def torch():
    found = pytest.importorskip("torch")
    found.set_num_threads(1)
    return found


def named(faults):
    return [pytest.param(fault, id=f"{fault.kind}-{fault.name}") for fault in faults]


def test_there_are_enough_faults_of_every_kind():
    assert len(TORCH_FAULTS) >= 200
    assert {fault.kind for fault in TORCH_FAULTS} == KINDS
    assert min(Counter(fault.kind for fault in TORCH_FAULTS).values()) >= 3
    assert len({fault.name for fault in TORCH_FAULTS}) == len(TORCH_FAULTS)


def test_every_layer_has_a_fault():
    assert {fault.twin for fault in TORCH_FAULTS} == set(TORCH_LAYERS)


def test_every_fault_is_python():
    for fault in TORCH_FAULTS:
        compile(fault.wrong.sources(), fault.name, "exec")


def test_a_text_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="is there 0 times"):
        TORCH_LAYERS["tanh"].changed([("x.cosh()", "x")])


# Each takes a second; `python -m tests.nightly planted_torch` hunts all of them.
@pytest.mark.extra
@pytest.mark.parametrize("fault", named(TORCH_FAULTS[::6]))
def test_a_fault_shows_in_what_the_layer_does(fault, torch):
    assert difference(fault), "the wrong layer does what the right one does"


@pytest.mark.planted
@pytest.mark.extra
@pytest.mark.parametrize("fault", named(SAMPLE))
def test_a_fault_in_a_torch_layer_is_found(fault, torch):
    hunt = hunt_torch(fault.wrong, examples=25)
    assert hunt.verdict == "broken", hunt


@pytest.mark.planted
@pytest.mark.extra
@pytest.mark.parametrize("name", [*TORCH_LAYERS][::9])
def test_a_right_torch_layer_is_not_accused(name, torch):
    hunt = hunt_torch(TORCH_LAYERS[name], examples=25)
    assert hunt.verdict == "holds", hunt
