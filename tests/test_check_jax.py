"""check_jax: JAX's functions of arrays and pytrees under the laws of functions."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tapegrad.autograd.check import LawError, UsageError, check_jax, indices

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy
pytestmark = pytest.mark.extra
GRADIENT = "its_gradient_is_the_derivative"
SECOND = "its_second_derivative_is_right"


@jax.custom_vjp
def half(x):
    return x * x


half.defvjp(lambda x: (x * x, x), lambda x, g: (g * x,))


def asked(law, subject, *inputs, **spec):
    [(_, outcome)] = check_jax(subject, *inputs, law=law, raise_error=False, **spec).outcomes
    return outcome


def tree(p, x):
    return {"y": x @ p["w"] + p["b"][0], "none": None, "largest": jnp.argmax(x)}


def cross_entropy(x, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()


PROVED = {
    "an option by choice": (jax.nn.gelu, ["C"], {"approximate": [True, False]}),
    "a pytree": (tree, [{"w": "3 O", "b": ["O"]}, "2 3"], {}),
    "labels": (cross_entropy, ["2 C", indices("2", below="C")], {}),
    "a complex result": (jnp.fft.fft, ["C"], {}),
    "a constant": (lambda x, y: x * y, ["C", "C"], {"constant": "y"}),
    "a maker": (lambda: jnp.sinh, ["C"], {}),
}


@pytest.mark.parametrize("what", PROVED)
def test_right_functions_are_proved_and_64_bits_stay_off(what):
    subject, inputs, spec = PROVED[what]
    outcome = asked(GRADIENT, subject, *inputs, **spec)
    assert outcome.verdict == "holds", outcome.error
    assert sum(report.ok for report in outcome.reports) > 12
    assert not jax.config.jax_enable_x64


def test_the_second_derivative_is_checked():
    assert asked(SECOND, jnp.tanh, "C").verdict == "holds"


def test_what_jax_has_not_is_not_covered_in_its_words():
    def looped(x):
        return jax.lax.while_loop(lambda s: s.sum() < 9, lambda s: s * s + 1, x)

    outcome = asked(GRADIENT, looped, "C")
    assert outcome.verdict == "not covered"
    assert "everse-mode differentiation does not work for" in "; ".join(outcome.reasons)
    assert asked(GRADIENT, jnp.argmax, "C").verdict == "not covered"


def test_a_wrong_gradient_is_refuted_and_its_lines_run_by_themselves():
    with pytest.raises(LawError, match="analytic is half of numeric everywhere") as caught:
        check_jax(half, "N? C", law=GRADIENT)
    text = str(caught.value).split("see it without tapegrad:\n")[1].split("\n    reproduce it:")[0]
    lines = [line[8:] for line in text.split("\n")]
    own = (
        "import jax\nhalf = jax.custom_vjp(lambda x: x * x)\n"
        "half.defvjp(lambda x: (x * x, x), lambda x, g: (g * x,))"
    )
    code = "\n".join([own, *(line for line in lines if "import half" not in line)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = dict(re.findall(r"^(\w+) +(\S+)$", done.stdout, re.MULTILINE))
    assert float(shown["numeric"]) == pytest.approx(2 * float(shown["analytic"]), rel=1e-5)


def test_a_wrong_option_is_a_wrong_use():
    with pytest.raises(UsageError, match="gelu takes no option 'aproximate'"):
        check_jax(jax.nn.gelu, "N? C", aproximate=True)
