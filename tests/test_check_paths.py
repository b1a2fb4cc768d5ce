"""`tapegrad check` and `pytest --laws` on PyTorch's, JAX's and NumPy's subjects by path."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tapegrad.autograd.check import Draws, Subject, check, check_vjp, find
from tapegrad.autograd.check.cases import case_of
from tapegrad.autograd.check.frameworks.known import KNOWN
from tapegrad.autograd.check.frameworks.named import named, resolved

LAW = "equal_calls_give_equal_results"
FUNCTIONS = """
import numpy as np
from tapegrad.autograd.check import check_vjp


def softplus(x):
    return np.logaddexp(0, x)


def softplus_vjp(g, x):
    return g / (1 + np.exp(-x))


def of_cube(g, x):
    return 2 * g * x * x


@check_vjp(of_cube, "N? C")
def cube(x):
    return x ** 3


def square(x):
    return x * x
"""
MODELS = """
import torch
from tapegrad.autograd.check import check_torch, ints


class Block(torch.nn.Module):
    law_case = {"input": "N n", "n": range(1, 4)}

    def __init__(self, n):
        super().__init__()
        self.inside = torch.nn.Linear(n, n)

    def forward(self, x):
        return torch.tanh(self.inside(x)) + x


@check_torch("N n", n=ints(1, 3))
class Detached(Block):
    def forward(self, x):
        return self.inside(x).detach() + x


class Bare(Block):
    pass


@check_torch("N 2", law="its_gradient_is_the_derivative")
def test_of_a_model():
    return Block(2)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    here = tmp_path_factory.mktemp("project")
    (here / "functions_of_mine.py").write_text(FUNCTIONS)
    (here / "models_of_mine.py").write_text(MODELS)
    return here


def run(project, *command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def checked(project, *arguments):
    return run(project, "tapegrad.cli", "check", "--quiet", "--law", LAW, *arguments)


@pytest.mark.extra
def test_functions_of_numpy_are_found_with_their_gradients(project):
    done = checked(project, "numpy:functions_of_mine.softplus", "functions_of_mine:cube")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 holds")
    again = checked(
        project, "numpy:functions_of_mine:square", "--vjp", "functions_of_mine.of_cube",
        "--input", "N 3",
    )  # fmt: skip
    assert again.stdout.startswith("1 holds")


@pytest.mark.extra
def test_a_function_without_a_gradient_says_how_to_give_one(project):
    done = checked(project, "numpy:functions_of_mine.square")
    assert done.returncode == 1
    assert "name the function square_vjp and put it beside square" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.extra
def test_a_declared_gradient_that_is_wrong_is_refuted_by_the_commands(project):
    law = ("--law", "its_gradient_is_the_derivative")
    done = run(project, "tapegrad.cli", "check", "--quiet", "functions_of_mine", *law)
    assert done.returncode == 1
    assert "BROKEN: functions_of_mine:cube" in done.stdout
    assert "find('functions_of_mine:cube')[0].rerun(" in done.stdout
    assert "from functions_of_mine import of_cube" in done.stdout


@pytest.mark.extra
def test_options_and_shapes_on_the_command_line(project):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    own = ("torch:models_of_mine.Bare", "--input", "N n", "--option", "n=1..4")
    assert checked(project, *own).stdout.startswith("1 holds")
    done = checked(project, "torch:torch.nn.Linear", "--option", "in_feature=3")
    assert done.returncode == 1
    assert "Linear takes no option 'in_feature'" in done.stderr
    done = checked(project, "torch:torch.special.erf", "--isolate")
    assert done.stdout.startswith("1 holds")
    assert "write NAME=VALUE" in checked(project, "torch:torch.nn.ELU", "--option", "x").stderr


@pytest.mark.extra
def test_pytest_finds_the_modules_of_a_users_own_file(project):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    done = run(
        project, "pytest", "--laws", "models_of_mine", "-v", "-p", "no:cacheprovider",
        "-k", "unchecked or derivative", "--laws-isolate",
    )  # fmt: skip
    for item in (
        "models_of_mine:Block::its_gradient_is_the_derivative PASSED",
        "models_of_mine:Detached::its_gradient_is_the_derivative FAILED",
        "models_of_mine:Bare::unchecked FAILED",
    ):
        assert item in done.stdout, done.stdout
    done = run(project, "pytest", "models_of_mine.py", "-p", "no:cacheprovider", "-q")
    assert "1 passed" in done.stdout


def test_the_decorator_of_a_function_leaves_it_as_it_is():
    @check_vjp(lambda g, x: g * np.cos(x), "N")
    def sine(x):
        return np.sin(x)

    assert sine(np.zeros(2)).tolist() == [0.0, 0.0]
    assert check([Subject("sine", "function", sine, case_of(sine))]).ok


def test_a_path_may_be_dotted_or_have_a_colon():
    for path in ("numpy.linalg.norm", "numpy.linalg:norm", "numpy:linalg.norm"):
        assert resolved(path)[2] is np.linalg.norm
    with pytest.raises(ValueError, match="numpy has no 'nothing'"):
        resolved("numpy.nothing")
    with pytest.raises(ValueError, match="are said for a path that begins with torch:"):
        find("tapegrad.nn:Linear", inputs=["N 3"])


def test_a_class_that_is_no_layer_of_a_framework_stays_refused():
    with pytest.raises(ValueError, match="is no module with forward code"):
        find("collections:OrderedDict")


@pytest.mark.extra
@pytest.mark.parametrize("path", KNOWN)
def test_a_known_case_fits_its_layer(path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    _, target, case = named("torch", path)
    assert target.__name__ == path.rpartition(".")[2]
    trial = Subject(path, "function", target, case).trial(Draws(3))
    assert trial.results()
