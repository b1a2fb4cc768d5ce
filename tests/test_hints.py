"""Hints for words of other systems: what each of them says to write is written here, and runs.

Between backticks a hint has code, which is run with the names of `names_of_a_user`; what it leaves
out, "…", is looked up and not called.  A hint without any code is listed in `WORDS`.
"""

import importlib
import re

import numpy as np
import pytest

import tapegrad
from tapegrad import errors, nn, optim
from tapegrad.autograd.core.other_keywords import OTHER_KEYWORDS
from tapegrad.nn.core import arguments
from tapegrad.nn.methods import advice as of_nn
from tapegrad.optim.core import advice as of_optim
from tapegrad.optim.training.metrics import METRICS

OF_TAPEGRAD = importlib.import_module("tapegrad._advice").INSTEAD

# Hints that are words alone.
WORDS = {
    "OF_MODULES": {"build", "extra_repr", "share_memory"},
    "OF_TRAINERS": set(),
    "OF_OPTIMIZERS": {"register_step_pre_hook"},
    "INSTEAD": {"backends", "numpy", "special"},
}
TABLES = {
    "OF_MODULES": of_nn.OF_MODULES,
    "OF_OPTIMIZERS": of_optim.OF_OPTIMIZERS,
    "OF_TRAINERS": of_optim.OF_TRAINERS,
    "INSTEAD": OF_TAPEGRAD,
}
HINTS = [(table, word) for table, hints in TABLES.items() for word in hints]
PATH = re.compile(r"[A-Za-z_][\w.]*")


class Model(nn.Sequential):
    """A container, whose attributes can be set as those of any module."""


def names_of_a_user(folder, words):
    """What a hint may name; what takes long to make only if it is among its words."""
    tapegrad.manual_seed(0)
    model = Model(nn.Linear(3, 3), nn.Linear(3, 2))
    x = tapegrad.Tensor(np.eye(3, dtype=np.float32))
    target = np.array([0, 1, 0])
    criterion, optimizer = nn.CrossEntropyCriterion(), optim.SGD(model, lr=0.1)
    trainer, path = None, str(folder / "model.safetensors")
    if "trainer" in words:
        trainer = optim.Trainer(model, criterion, optimizer, folder=folder, progress=False)
        trainer.fit((x, target), steps=1)
    if "path" in words:
        nn.save(nn.Tanh(), path)

    def batches():
        yield x, target

    return {
        "np": np, "nn": nn, "optim": optim, "tapegrad": tapegrad, "model": model, "module": model,
        "container": model, "layer": nn.Tanh(), "layers": [nn.Tanh()], "x": x, "target": target,
        "criterion": criterion, "optimizer": optimizer, "trainer": trainer, "path": path,
        "loss": criterion(model(x), target), "callback": optim.Callback(), "name": "mean",
        "array": np.ones(3), "state": model.state_dict(), "hook": lambda *_: None, "seed": 0,
        "params": nn.Linear(2, 2), "step": lambda a: a * 2, "f": np.tanh,
        "function_that_makes_batches": batches,
    }  # fmt: skip


@pytest.mark.parametrize(("table", "word"), HINTS, ids=[f"{t}-{w}" for t, w in HINTS])
def test_what_a_hint_says_runs(table, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = TABLES[table][word]
    assert text.count("`") % 2 == 0
    codes = re.findall(r"`([^`]+)`", text)
    assert bool(codes) != (word in WORDS[table]), text
    names = names_of_a_user(tmp_path, set(re.findall(r"\w+", " ".join(codes)))) if codes else {}
    if word == "add_param_group":
        names["model"].later = names["params"]  # where a group is to come from
    for code in codes:
        if "…" in code:
            for path in PATH.findall(code):
                eval(path, names)
            continue
        try:
            exec(compile(code, code, "exec"), names)
        except errors.DeviceError:
            assert "cuda" in code


# Words that are names alone -----------------------------------------------------------------------


@pytest.mark.parametrize("word", of_optim.OF_OPTIONS)
def test_an_option_of_another_system_says_what_to_write_and_that_is_taken(word):
    hint = of_optim.OF_OPTIONS[word]
    with pytest.raises(TypeError, match=re.escape(f"no option {word!r} (write {hint})")):
        optim.Adam(nn.Linear(2, 2), **{word: 0.1})
    values = {"betas": "(0.9, 0.99)"}
    text = hint if "=" in hint else f"{hint}={values.get(hint, '0.1')}"
    eval(f"optim.Adam(nn.Linear(2, 2), {text})")


@pytest.mark.parametrize("word", of_optim.OF_METRICS)
def test_a_metric_of_another_system_says_its_name_here(word):
    hint = of_optim.OF_METRICS[word]
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=f"no metric '{word}': use '{hint}'"):
        optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=1), metrics=[word])
    assert hint in METRICS


# A layer for each of our names of an argument, and how else it is made.
MADE = {
    "inputSize": (nn.Linear, {"outputSize": 2}), "outputSize": (nn.Linear, {"inputSize": 2}),
    "nInputPlane": (nn.SpatialConvolution, {"nOutputPlane": 2, "kW": 1, "kH": 1}),
    "nOutputPlane": (nn.SpatialConvolution, {"nInputPlane": 2, "kW": 1, "kH": 1}),
    "kW, kH": (nn.SpatialConvolution, {"nInputPlane": 2, "nOutputPlane": 2}),
    "kT, kW, kH": (nn.VolumetricConvolution, {"nInputPlane": 2, "nOutputPlane": 2}),
    "kW": (nn.TemporalMaxPooling, {}),
    "dW, dH": (nn.SpatialMaxPooling, {"kW": 2, "kH": 2}),
    "padW, padH": (nn.SpatialMaxPooling, {"kW": 2, "kH": 2}),
    "dilationW, dilationH": (nn.SpatialDilatedConvolution, {
        "nInputPlane": 2, "nOutputPlane": 2, "kW": 1, "kH": 1}),
    "nOutput": (nn.BatchNormalization, {}),
    "p": (nn.Dropout, {}), "bias": (nn.Linear, {
        "inputSize": 2, "outputSize": 2}),
    "negval": (nn.LeakyReLU, {}),
    "nIndex": (nn.LookupTable, {"nOutput": 2}),
    "hiddenSize": (nn.LSTMPeephole, {"inputSize": 2}), "outputsize": (nn.LSTM, {"inputsize": 2}),
    "inputsize": (nn.LSTM, {"outputsize": 2}), "embed_dim": (nn.Embedding, {"num_embeddings": 3}),
}  # fmt: skip
SPELLED = [(word, ours) for word, several in arguments.WORDS.items() for ours in several]


@pytest.mark.parametrize(("word", "ours"), SPELLED, ids=[f"{w}-{o}" for w, o in SPELLED])
def test_an_argument_of_another_system_says_what_it_is_called(word, ours):
    make, others = MADE[ours]
    with pytest.raises(TypeError, match=f"{word} is called {ours}$"):
        make(**others, **{word: 1})
    make(**others, **dict.fromkeys(ours.split(", "), 0.5 if ours == "p" else 1))


def test_what_no_layer_takes_has_a_hint_that_runs():
    names = {"layer": nn.Linear(2, 2), "dtype": np.float64, "device": "cpu", "nn": nn,
             "tapegrad": tapegrad}  # fmt: skip
    for word, hint in arguments.INSTEAD_OF.items():
        with pytest.raises(TypeError, match=re.escape(f". For {word}: {hint}")):
            nn.Linear(2, 2, **{word: 1})
        for code in re.findall(r"\w+\.[\w.]+(?:\([^)]*\))?", hint):
            eval(code, names)


def test_names_of_classes_are_found_from_the_front_door():
    for name, where in (("Linear", "nn.Linear"), ("Adam", "optim.Adam"), ("Trainer", "optim.Tr")):
        with pytest.raises(AttributeError, match=f"use `tapegrad.{where}"):
            getattr(tapegrad, name)


def test_lists_of_layers_and_an_optimizer_by_its_name():
    layers = [nn.Linear(2, 2), nn.Tanh()]
    with pytest.raises(TypeError, match=r"one by one: nn\.Sequential\(\*layers\)"):
        nn.Sequential(layers)
    assert len(nn.Sequential(*layers)) == 2
    with pytest.raises(TypeError, match=r"nn\.Sequential\(\*layers\.values\(\)\)"):
        nn.Sequential(dict(zip("ab", layers, strict=True)))
    with pytest.raises(TypeError, match=r"the optimizer is 'adam': .*optim\.Adam\(model\)"):
        optim.Trainer(layers[0], nn.MSECriterion(), "adam")


def test_keras_compile_and_pytorchs_set_to_none():
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model, lr=0.1)
    with pytest.raises(TypeError, match=r"no argument 'loss', 'metrics'.*Trainer") as caught:
        model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    [code] = re.findall("`(.*?)`", str(caught.value))
    eval(code, {"optim": optim, "model": model, "criterion": nn.MSECriterion(),
                "optimizer": optimizer})  # fmt: skip
    (model(np.ones((1, 2), np.float32)) ** 2).sum().backward()
    before = model.weight.grad.numpy().copy()
    for zero_grad in (model.zero_grad, optimizer.zero_grad):
        with pytest.raises(TypeError, match=r"Write zero_grad\(\)"):
            zero_grad(set_to_none=True)
    np.testing.assert_array_equal(model.weight.grad.numpy(), before)
    optimizer.zero_grad(set_to_none=False)
    assert not model.weight.grad.numpy().any()


@pytest.mark.parametrize("word", OTHER_KEYWORDS)
def test_a_keyword_of_another_library_says_what_numpy_calls_it(word):
    ours = OTHER_KEYWORDS[word]
    note = f"{word}= is called {ours}= here, as in NumPy"

    class Inner(nn.Module):
        def forward(self, x):
            return x.var(**{word: 1})

    outer, x = nn.Sequential(Inner()), np.ones((2, 3))
    for call in (lambda: outer(x), lambda: tapegrad.grad(lambda x: x.var(**{word: 1}))(x)):
        with pytest.raises(TypeError, match=f"keyword argument '{word}'") as caught:
            call()
        assert caught.value.__notes__.count(note) == 1
    tapegrad.Tensor(x).var(**{ours: 1})  # what it says is taken
    with pytest.raises(TypeError) as other:
        tapegrad.grad(lambda x: x.var(nosuch=1))(x)
    assert not getattr(other.value, "__notes__", [])
