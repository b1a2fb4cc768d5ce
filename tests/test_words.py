"""Names of other systems that the front doors do not have say what to write, and that exists."""

import importlib
import re

import numpy as np
import pytest

import tapegrad
from tapegrad import nn, optim
from tapegrad.nn.methods import advice as of_nn
from tapegrad.optim.core import advice as of_optim

OF_TAPEGRAD = importlib.import_module("tapegrad._advice").INSTEAD
TABLES = [
    (tapegrad, OF_TAPEGRAD),
    (nn, of_nn.OF_CLASSES),
    (nn.data, of_nn.OF_DATA),
    (optim, of_optim.OF_CLASSES),
]
WORDS = [(home, name, text) for home, table in TABLES for name, text in table.items()]
# Words of advice that begin as a class does.
PROSE = {"True", "NumPy", "Tensors", "Module", "Trainer", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
CLASS = re.compile(r"(?<![\w.])[A-Z]\w*[A-Za-z]\w*")
PATH = re.compile(r"\b(tapegrad|nn|optim|np)((?:\.[A-Za-z_]\w*)+)")


@pytest.mark.parametrize(("home", "name", "text"), WORDS, ids=[w[1] for w in WORDS])
def test_a_name_of_another_system_says_what_to_write(home, name, text):
    with pytest.raises(AttributeError, match=f"{name!r}: use ") as caught:
        getattr(home, name)
    assert text in str(caught.value)


@pytest.mark.parametrize(("home", "name", "text"), WORDS, ids=[w[1] for w in WORDS])
def test_what_it_names_exists(home, name, text):
    for root, path in PATH.findall(text):
        found = {"tapegrad": tapegrad, "nn": nn, "optim": optim, "np": np}[root]
        for part in path[1:].split("."):
            found = getattr(found, part)
    if home in (nn, optim):
        classes = set(CLASS.findall(PATH.sub("", text))) - PROSE
        assert [word for word in classes if not hasattr(home, word)] == []
    if home is optim:
        words = re.findall(r"(?<![.\w])[a-z]+(?:_[a-z]+)+\b(?!=)", text)
        assert [word for word in words if not hasattr(optim, word)] in ([], ["looked_for"])


def test_other_names_have_the_nearest_or_nothing():
    with pytest.raises(AttributeError, match=r"is it nn\.Linear\?"):
        _ = nn.linear
    with pytest.raises(AttributeError, match=r"is it optim\.SGD\?"):
        _ = optim.SGDM
    with pytest.raises(AttributeError, match=r"is it tapegrad\.elementwise_grad\?"):
        _ = tapegrad.elemntwise_grad
    for home in (tapegrad, nn, optim):
        with pytest.raises(AttributeError, match=r"no attribute 'qqq'$"):
            _ = home.qqq


def test_functions_of_numpy_and_of_ops():
    for name, text in {"exp": "np.exp", "matmul": "np.matmul", "relu": "tapegrad.ops.relu"}.items():
        with pytest.raises(AttributeError, match=rf"use `{text}`"):
            getattr(tapegrad, name)


def test_words_on_optimizers():
    optimizer = optim.SGD(nn.Linear(1, 1), lr=0.1)
    for name, text in of_optim.OF_OPTIMIZERS.items():
        with pytest.raises(AttributeError, match=f"{name!r}: use ") as caught:
            getattr(optimizer, name)
        assert text in str(caught.value)
        with pytest.raises(AttributeError, match=f"{name!r}: use "):
            setattr(optimizer, name, 1)
        for word in re.findall(r"optimizer\.(\w+)", text):
            assert hasattr(optimizer, word), text
