"""Random NumPy programs give NumPy's values and their derivatives, or are refused: none differs."""

import numpy as np
import numpy_programs
import pytest
from hypothesis import settings
from numpy_programs import Program, check_program, describe, make_program, run_programs

import tapegrad as tg
from tapegrad.autograd.core import tensor
from tapegrad.autograd.surface import flat, methods, numpy_protocol

PER_PART, PARTS = 8 * settings.default.max_examples, 5


@pytest.mark.parametrize("part", range(PARTS))
def test_programs_give_numpys_values_and_derivatives_or_are_refused(part):
    outcomes, faults = run_programs(PER_PART, part * PER_PART)
    assert not faults, describe(faults)
    assert outcomes["right"] > outcomes.total() / 2
    assert outcomes["invalid"] + outcomes["unclear"] < outcomes.total() / 20


def test_a_seed_makes_one_program():
    assert str(make_program(7)) == str(make_program(7))
    assert str(make_program(7)) != str(make_program(8))
    assert len({str(make_program(seed)) for seed in range(50)}) > 45


def test_programs_use_every_family():
    text = "\n".join(str(make_program(seed)) for seed in range(250))
    words = "np.linalg. math. copy. .flat[0] np.ma. out= np.pad np.fft np.asmatrix += [None] axis="
    assert [word for word in words.split() if word not in text] == []


# Faults of the kinds that the law is for, planted: each must be found.

X = np.array([0.3, -0.7, 1.1])


def _float_reads(self):
    return float(self._bare)


def _no_copy(self, memo=None):
    return tensor.untracked(self._bare.copy())


PLANTED = {
    "float cuts a gradient": (tg.Tensor, "__float__", _float_reads),
    "copy cuts a gradient": (tg.Tensor, "__copy__", _no_copy),
    "deepcopy cuts a gradient": (tg.Tensor, "__deepcopy__", _no_copy),
    "+x is x": (tg.Tensor, "__pos__", lambda x: x),
    "a flat index is off": (
        flat.Flat,
        "__getitem__",
        lambda self, index: flat.s.copy(flat.s.ravel(self.base)[index - 1]),
    ),
    "-= adds": (tg.Tensor, "__isub__", methods._inplace(np.add, "+")),
    "x @ y is y @ x": (tg.Tensor, "__matmul__", lambda x, y: np.matmul(y, x)),
    "a conversion is a copy": (
        tg.Tensor,
        "__array__",
        lambda self, dtype=None, copy=None: np.array(self._bare, dtype),
    ),
    "out= is not written": (numpy_protocol, "write_result", lambda out, y, name: out),
    "an astype keeps the dtype": (tg.Tensor, "astype", lambda x, dtype, **_: x * 1),
}


@pytest.mark.extra
@pytest.mark.planted
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name, monkeypatch):
    monkeypatch.setattr(*PLANTED[name])
    for seed in range(0, 4000, 50):
        _, faults = run_programs(50, seed)
        if faults:
            return
    pytest.fail(f"{name}: not found by 4,000 programs")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("v.append(np.sin(v[0]))", "right"),
        ("v.append(math.exp(v[0][0]))", "refused"),
        ("v.append(np.sum(np.ma.exp(v[0])))", "refused"),
        ("v.append(np.sqrt(v[0] - v[0]))", "unclear"),
        ("v.append(np.log(-v[0] * v[0]))", "invalid"),
    ],
)
def test_a_program_is_judged(line, kind):
    assert check_program(Program([X], [line])).kind == kind


def test_the_rest_of_a_program_is_compared_when_a_line_is_refused(monkeypatch):
    lines = ["v.append(math.exp(v[0][0]))", "v.append(v[0] @ v[0])"]
    assert check_program(Program([X], lines)).kind == "refused"
    monkeypatch.setattr(tg.Tensor, "__matmul__", lambda x, y: np.sum(x * y) * 2)
    assert check_program(Program([X], lines)).kind == "differs"
    assert numpy_programs.describe([(0, Program([X], lines), check_program(Program([X], lines)))])
