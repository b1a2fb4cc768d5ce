"""What an editor completes and a notebook shows: names that work, and texts that say something."""

import inspect
import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, ops, optim
from tapegrad.autograd.check import check_module

# Beside the attributes of NumPy's arrays: each of these is for users.
OF_TENSORS = {"backward", "detach", "full_like", "numpy", "ptp", "to", "tracked"}
OF_PARAMETERS = {"freeze", "frozen", "grad", "rebind", "unfreeze"}


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_tab_completion_on_a_tensor_has_what_is_for_users():
    x = tg.Tensor(np.ones((2, 2)))
    assert public(x) - set(dir(np.ndarray)) == OF_TENSORS
    assert public(tg.Parameter(np.ones(2))) - public(x) == OF_PARAMETERS
    for name in public(x):
        getattr(x, name)  # none raises


@pytest.mark.parametrize("home", [tg, nn, optim, ops], ids=lambda home: home.__name__)
def test_every_listed_name_of_a_front_door_is_there_and_public(home):
    for name in dir(home):
        getattr(home, name)
    rooms = {"bigdl", "data", "formats", "init", "schedules", "tables"}
    assert public(home) - set(home.__all__) <= rooms
    assert set(home.__all__) <= set(dir(home))


@pytest.mark.parametrize("make", [nn.Tanh, nn.Sequential, lambda: nn.Linear(2, 2)])
def test_tab_completion_on_a_module_lists_nothing_that_raises(make):
    module = make()
    for name in dir(module):
        getattr(module, name)
    assert ("gradBias" in dir(module)) == hasattr(module, "bias")


def test_the_result_of_a_check_reads_well_as_the_last_line_of_a_cell():
    law = "equal_calls_give_equal_tensors"
    summary = check_module(nn.Linear, input="N? inputSize", inputSize=2, outputSize=3, law=law)
    assert repr(summary) == str(summary)
    assert re.match(r"1 holds", repr(summary))


def test_large_tensors_show_their_shape_and_small_ones_do_not():
    large = tg.Tensor(np.zeros((2000, 2), np.float32))
    assert repr(large).endswith(", float32, shape=(2000, 2))")
    assert "shape" not in repr(tg.Tensor(np.zeros((500, 2))))


def test_objects_say_their_settings():
    model = nn.Linear(2, 2)
    trainer_parts = {
        optim.EarlyStopping(patience=3): "EarlyStopping(monitor='val_loss', patience=3",
        optim.CSVLog("a.csv"): "CSVLog(path='a.csv')",
        optim.Batches(np.ones((5, 2)), np.ones(5), batch_size=2): "Batches((5, 2), (5,); batch_siz",
        optim.ExponentialMovingAverage(model, decay=0.5): "ExponentialMovingAverage(decay=0.5",
        optim.Precision(average="micro"): "Precision(",
        tg.compile(np.sin): "<Compiled of sin>",
        tg.replay(np.sin): "<Replay of sin>",
    }
    for thing, text in trainer_parts.items():
        assert repr(thing).startswith(text)


def test_help_of_grad_reads_well_and_its_examples_are_true():
    text = inspect.getdoc(tg.grad)
    first = text.splitlines()[0]
    assert first.endswith(".")
    assert "∂fn/∂x" in first
    for word in ("argnums:", "strict:", "Raises ValueError", "array for an array"):
        assert word in text
    assert text.count(">>> ") == 3  # which the tests of docstrings run
