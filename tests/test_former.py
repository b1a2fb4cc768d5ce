"""Former spellings are taken, with a warning that says what to write, and do the same."""

import re
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.autograd.core.former import FORMER, FormerSpelling
from tapegrad.nn.formats import torch7

ROOT = Path(__file__).parents[1]
METRICS = import_module("tapegrad.optim.metrics")  # declares the spelling of a module
X, Y = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3), np.arange(8) % 2


def gradient_after(call: Callable[[Any], None]) -> Any:
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model, lr=0.5)
    (model(X) ** 2).sum().backward()
    call(optimizer)
    return model.weight.grad.numpy()


def trained(**size: int) -> Any:
    model = nn.Linear(3, 2)
    model.weight.data[...], model.bias.data[...] = 0.1, 0
    trainer = optim.Trainer(
        model, nn.CrossEntropyCriterion(), optim.SGD(model, lr=0.5), progress=False
    )
    trainer.fit((X, Y), epochs=2, **size)
    return [len(trainer.step_losses), trainer.step_losses[-1]]


def evaluated(**size: int) -> Any:
    seen: list[int] = []

    class Sizes(optim.Metric):
        def batch_sum(self, output: Any, target: Any) -> float:
            seen.append(len(target))
            return 0.0

    model = nn.Linear(3, 2)
    trainer = optim.Trainer(
        model, nn.CrossEntropyCriterion(), optim.SGD(model, lr=0.5), metrics=Sizes, progress=False
    )
    trainer.evaluate((X, Y), **size)
    return seen


def saved(path: Path, *, path_first: bool, **options: Any) -> Any:
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    torch7.save(*((path, model) if path_first else (model, path)), **options)
    return list(path.read_bytes())


# Each former spelling: what it does now and with the new spelling, which must be the same.
CASES: dict[FormerSpelling, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    FormerSpelling("Optimizer.zero()", "Optimizer.zero_grad()"): (
        lambda _: gradient_after(lambda optimizer: optimizer.zero()),
        lambda _: gradient_after(lambda optimizer: optimizer.zero_grad()),
    ),
    FormerSpelling("Batches(size=)", "Batches(batch_size=)"): (
        lambda _: [len(x) for (x,) in optim.Batches(X, size=3)],
        lambda _: [len(x) for (x,) in optim.Batches(X, batch_size=3)],
    ),
    FormerSpelling("Trainer.fit(batch=)", "Trainer.fit(batch_size=)"): (
        lambda _: trained(batch=3),
        lambda _: trained(batch_size=3),
    ),
    FormerSpelling("Trainer.evaluate(batch=)", "Trainer.evaluate(batch_size=)"): (
        lambda _: evaluated(batch=3),
        lambda _: evaluated(batch_size=3),
    ),
    FormerSpelling("save(path, obj)", "save(obj, path)"): (
        lambda folder: saved(folder / "a.t7", path_first=True, mode="ascii"),
        lambda folder: saved(folder / "b.t7", path_first=False, mode="ascii"),
    ),
    FormerSpelling(
        "tapegrad.optim.metrics.metric", "tapegrad.optim.training.metrics.make_metric"
    ): (
        lambda _: METRICS.metric("top1").name,
        lambda _: import_module("tapegrad.optim.training.metrics").make_metric("top1").name,
    ),
}


def test_each_has_a_case():
    assert set(FORMER) == set(CASES)
    assert len(FORMER) == len(CASES)


@pytest.mark.parametrize("spelling", CASES, ids=lambda spelling: spelling.old)
def test_a_former_spelling_warns_and_does_the_same(spelling, tmp_path):
    former, now = CASES[spelling]
    text = f"{spelling.old} is the former spelling of {spelling.new}"
    with pytest.warns(DeprecationWarning, match=re.escape(text)) as warned:
        result = former(tmp_path)
    assert [each.filename for each in warned] == [__file__]  # the user's line, and once
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(result, now(tmp_path))


def test_both_spellings_at_once_are_refused():
    with pytest.raises(TypeError, match="batch_size= is given twice, once as size="):
        optim.Batches(X, size=3, batch_size=3)


def test_a_path_alone_is_no_former_spelling(tmp_path):
    torch7.save("a string", tmp_path / "a.t7")
    assert torch7.load(tmp_path / "a.t7") == "a string"
    with pytest.raises(TypeError, match="takes a path, not a Sequential"):
        torch7.save(nn.Sequential(), nn.Sequential())


def test_a_subclass_with_its_own_method_is_called():
    class Mine(optim.SGD):
        called = False

        def zero_grad(self):
            self.called = True

    optimizer = Mine(nn.Linear(1, 1), lr=1)
    with pytest.warns(DeprecationWarning, match=r"^Optimizer.zero\(\) is"):
        optimizer.zero()
    assert optimizer.called


def test_a_module_of_former_names_has_no_others():
    with pytest.raises(AttributeError, match=r"'tapegrad.optim.metrics' has no attribute 'Metric'"):
        _ = METRICS.Metric


def test_the_changelog_lists_them():
    text = re.sub(r"\s+", " ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    [entry] = re.findall(r"- Former spellings [^→]*?DeprecationWarning: (.*?) - ", text)
    words = [re.sub(r"^(Optimizer|tapegrad\.optim\.metrics)\.", "", old) for old, _ in FORMER]
    assert [word for word in words if word not in entry] == []
