"""docs/contributing.md is true: what each recipe declares is found, with nothing else told of it.

A recipe's code is written to a module of its own, outside the package, and imported by a process of
its own, so that no toy outlives its test. PROOFS then use what it declares as everybody would.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
# "A layer", "An optimizer"; what is no recipe has another heading
RECIPES = dict(re.findall(r"^## (An? .+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
CODE = re.compile(r"^```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)

FOUND_BY_LAWS = """
from tapegrad.autograd.check import LawProfile, check, discover
subjects = list(discover(toy))
assert [s.short for s in subjects] == [{name!r}], subjects
summary = check(subjects, LawProfile(3, derandomize=True))
assert summary.ok, summary
assert len(summary.outcomes) > {laws}, summary
"""

PROOFS = {
    "A primitive": """
        import numpy as np, tapegrad as tg
        from scipy import special
        from tapegrad.autograd import Tensor, primitives
        assert primitives()["pseudo_huber"] is toy.pseudo_huber
        d, r = np.array([0.5, 2.0]), np.array([1.5, -0.3])

        def loss(d, r):
            return np.sum(special.pseudo_huber(d, r))  # SciPy's own: it dispatches

        step = 1e-6
        for i, slope in enumerate(tg.grad(loss, (0, 1))(d, r)):
            ends = [[d, r], [d, r]]
            ends[0][i], ends[1][i] = ends[0][i] + step, ends[1][i] - step
            sides = [special.pseudo_huber(*end) for end in ends]
            assert np.allclose(slope, (sides[0] - sides[1]) / (2 * step), atol=1e-7)
        assert np.allclose(tg.vmap(special.pseudo_huber)(Tensor(d), Tensor(r)).numpy(),
                           special.pseudo_huber(d, r))

        @tg.replay
        def step(d, r):
            return tg.grad(loss)(d, r)

        for scale in (1.0, 2.0, 3.0, 4.0):
            expected = tg.grad(loss)(scale * d, r)
            assert np.array_equal(np.asarray(step(Tensor(scale * d), Tensor(r)).numpy()), expected)
    """,
    "A layer": """
        import numpy as np
        from tapegrad import nn, replay
        from tapegrad.autograd import Tensor
        model = nn.Sequential(nn.Linear(3, 4), toy.Swish(4))
        model.get(1).beta.data[...] = [0.5, 1, 2, 3]
        x = Tensor(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3))
        y = model.forward(x).numpy().copy()
        model.backward(x, Tensor(np.ones_like(y)))
        assert np.any(model.get(1).beta.grad.numpy() != 0)  # a Parameter that nobody listed
        model.save("model.safetensors")
        again = nn.load("model.safetensors", classes=[toy.Swish])
        assert np.array_equal(again.forward(x).numpy(), y)
        assert np.array_equal(again.clone().forward(x).numpy(), y)
        run = replay(again)
        for _ in range(3):
            assert np.array_equal(run(x).numpy(), y)
    """,
    "An optimizer": """
        import numpy as np
        from tapegrad import nn, optim, replay
        from tapegrad.autograd import Tensor
        x, _ = toy.heavy_ball(lambda x: ((x * x).sum(), 2 * x), np.ones(3), {"lr": 0.05}, {})
        assert np.allclose(x, 0.9)  # Torch7's functional form
        weight = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
        target = Tensor(np.ones((4, 2), np.float32))
        inputs = Tensor(np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3))

        def trained(steps, recorded=False, path=None):
            model = nn.Linear(3, 2)
            model.weight.data[...], model.bias.data[...] = weight, 0
            optimizer = toy.HeavyBall(model, lr=0.05)

            def step(x):
                optimizer.zero_grad()
                loss = ((model(x) - target) ** 2).mean()
                loss.backward()
                optimizer.step()
                return loss

            run = replay(step) if recorded else step
            for i in range(steps):
                if path and i == 2:  # go on from a file
                    optim.save_checkpoint(optimizer.state_dict(), path)
                    optimizer = toy.HeavyBall(model, lr=0.05)
                    optimizer.load_state_dict(optim.load_checkpoint(path))
                run(inputs)
            return model.weight.numpy().copy()

        expected = trained(5)
        assert not np.array_equal(expected, weight)
        assert np.array_equal(trained(5, recorded=True), expected)
        assert np.array_equal(trained(5, path="optimizer.checkpoint"), expected)
        try:
            toy.HeavyBall(nn.Linear(3, 2), momentum=1.0)
        except ValueError as error:
            assert "momentum" in str(error), error
        else:
            raise AssertionError("momentum 1")
    """,
    "A file format": """
        from tapegrad import nn
        from tapegrad.nn.formats import FormatError
        model = nn.Sequential(nn.Tanh(), nn.ReLU())
        model.save("model.chain")
        with open("model.chain", "rb") as file:
            data = file.read()
        assert data == b"chain: Tanh ReLU"
        assert str(nn.load("model.chain")) == str(nn.load(data)) == str(model)
        with open("renamed", "wb") as file:
            file.write(data)
        assert str(nn.load("renamed")) == str(model)  # known by its first bytes
        for wrong in (b"chain: Tanh/", b"chain: Linear"):
            try:
                nn.load(wrong)
            except FormatError as error:
                assert "found" in str(error), error
            else:
                raise AssertionError(wrong)
    """,
    "A law": """
        from tapegrad.autograd.check import LAWS, check_module
        from tapegrad import nn
        law = LAWS["module"]["its_text_names_its_class"]
        assert law.check.__wrapped__ is toy.its_text_names_its_class
        report = check_module(nn.Tanh, input="N? n", law="its_text_names_its_class")
        assert report.ok, report
    """,
}
LAWS = {
    "A primitive": ("pseudo_huber", 15),
    "A layer": ("Swish", 30),
    "An optimizer": ("heavy_ball", 6),
}


@pytest.mark.extra
@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_declares_is_found(recipe, tmp_path):
    code = "".join(CODE.findall(RECIPES[recipe]))
    (tmp_path / "toy.py").write_text(code, encoding="utf-8")
    proof = "import toy\n" + textwrap.dedent(PROOFS[recipe])
    if recipe in LAWS:
        name, laws = LAWS[recipe]
        proof += FOUND_BY_LAWS.format(name=name, laws=laws)
    (tmp_path / "proof.py").write_text(proof, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "proof.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_there_is_a_recipe_for_everything_that_is_declared_once():
    assert list(RECIPES) == list(PROOFS)


@pytest.mark.parametrize("page", ["architecture.md", "contributing.md"])
def test_every_file_that_a_page_names_is_there(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+/[\w./]*|\w+\.(?:py|md|toml))`", text))
    named = {name for name in named if not re.search("NAME|FAMILY", name)}
    assert len(named) > 10
    rooms = [ROOT, *(ROOT / folder for folder in ("autograd", "nn", "optim"))]
    missing = [
        name
        for name in named
        if not any((room / name).exists() for room in rooms)
        and ("/" in name or not any(any(room.rglob(name)) for room in rooms[1:]))
    ]
    assert missing == [], f"docs/{page} names files that are not there"
