"""check_torch takes PyTorch's subjects as they are written, and leaves them as they were."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

from tapegrad.autograd.check import (
    LawError,
    UsageError,
    array,
    booleans,
    check_torch,
    indices,
    ints,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.extra
GRADIENT = "its_gradient_is_the_derivative"
SECOND = "its_second_derivative_is_right"
FIRST = "equal_calls_give_equal_results"


def asked(law, subject, *inputs, **spec):
    """The outcome of one law."""
    summary = check_torch(subject, *inputs, law=law, raise_error=False, **spec)
    [(_, outcome)] = summary.outcomes
    assert str(summary)
    return outcome


class Positive(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x / torch.sqrt(self.s)


class OwnTensors(nn.Module):
    """A weight that is no buffer, and a tensor of the default precision."""

    def __init__(self):
        super().__init__()
        self.weight = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, x):
        return x * self.weight + torch.zeros(3)


class EmbeddedAndNormalized(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.norm = nn.Embedding(5, 3), nn.BatchNorm1d(3)

    def forward(self, i):
        return self.norm(self.rows(i))


class DetachedByChance(nn.Module):
    def forward(self, x, *, random=False):
        return x * (np.random.rand() if random else 2.0)  # noqa: NPY002  # as users draw


@dataclass
class Output:
    y: object
    size: int
    cache: object = None


def nested(p):
    return {
        "a": Output(p["w"] * p["b"][0], 3),
        "c": (p["w"].exp(), [p["b"][1]]),
        "d": p["w"].argmax(),
    }


def scripted(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that scripts are deprecated
        return torch.jit.script(module)


def complex_vector(d):
    return d.normal((3,)) + 1j * d.normal((3,))


# What is handed over -> (subject, inputs, options): its gradient is proved.
PROVED = {
    "a builtin without a signature": (torch.special.erf, ["N C"], {}),
    "a function with an option": (F.elu, ["N C"], {"alpha": 0.5}),
    "a function with a choice": (F.normalize, ["N C"], {"p": [2.0, 3.0]}),
    "a maker with a default": (lambda act="relu": nn.RNN(3, 2, nonlinearity=act), ["T+1 N 3"], {}),
    "a maker named like sizes": (lambda C, N: nn.Linear(C, 2), ["N C"], {"C": ints(1, 3), "N": 2}),
    "a list": (lambda a: a[0] * a[1], [["N C", "N C"]], {}),
    "a nest, a dict, a dataclass": (nested, [{"w": "N", "b": ["N", "N M"]}], {}),
    "None among the results": (lambda x: (x * x, None), ["N C"], {}),
    "indices among the results": (
        nn.MaxPool1d, ["C H+3"], {"kernel_size": 2, "return_indices": True},
    ),
    "a complex result": (torch.fft.fft, ["N C"], {}),
    "a complex argument": (lambda z: z.abs() ** 2, [complex_vector], {}),
    "a lazy module": (nn.LazyLinear, ["N 3"], {"out_features": 2}),
    "a sparse gradient": (
        nn.Embedding, [indices("N", below=5)],
        {"num_embeddings": 5, "embedding_dim": 2, "sparse": True},
    ),
    "a constant": (
        F.binary_cross_entropy, [array("N", 0, 1), array("N", 0, 1)], {"constant": "target"},
    ),
    "a positive parameter": (Positive, ["N 3"], {"domains": {"s": (0, None)}}),
    "tensors that are no buffers": (OwnTensors, ["N 3"], {}),
    "an integer input before buffers": (EmbeddedAndNormalized, [indices("N+1", below=5)], {}),
    "in place": (nn.ELU, ["N C"], {"inplace": True}),
    "half precision": (lambda: nn.Linear(3, 2).half(), ["N 3"], {}),
    "a scripted module": (lambda: scripted(nn.Linear(3, 2)), ["N 3"], {}),
    "random numbers of NumPy": (DetachedByChance, ["N 3"], {"forward": {"random": True}}),
    "LSTM": (nn.LSTM, ["T+1 N 2"], {"input_size": 2, "hidden_size": ints(1, 2)}),
    "attention": (
        nn.MultiheadAttention, ["L N 4", "S N 4", "S N 4"],
        {"embed_dim": 4, "num_heads": 2, "forward": {"need_weights": booleans()}},
    ),
    "a transformer's layer": (
        nn.TransformerEncoderLayer, ["S N 4"], {"d_model": 4, "nhead": 2, "dim_feedforward": 5},
    ),
    "CTC": (
        nn.CTCLoss,
        ["S+4 N 4", lambda d: d.integers((d.size("N"), 2), 1, 4),
         lambda d: np.full(d.size("N"), d.size("S") + 4), lambda d: np.full(d.size("N"), 2)],
        {"through": {"log_probs": lambda x: x.log_softmax(-1)}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PROVED)
def test_what_is_handed_over_as_it_is_written_is_proved(what):
    subject, inputs, spec = PROVED[what]
    outcome = asked(GRADIENT, subject, *inputs, **spec)
    assert outcome.verdict == "holds", outcome.error
    assert sum(report.ok for report in outcome.reports) > 12


# What PyTorch has no derivative of -> (law, subject, inputs, its words).
NOT_COVERED = {
    "no double backward": (SECOND, nn.Hardsigmoid, ["N C"], "hardsigmoid_backward is not impl"),
    "no derivative": (
        GRADIENT, torch.special.modified_bessel_k0, [array("N C", 0, None)],
        "no result requires a gradient",
    ),
    "integers": (GRADIENT, lambda x: x.argmax(-1), ["N C"], "integers or booleans"),
    "a constant of the library": (
        GRADIENT, lambda x, w: F.binary_cross_entropy(x, x.detach(), w),
        [array("N", 0, 1), array("N", 0, 1)], "not differentiable with respect to",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_COVERED)
def test_what_the_library_has_not_is_not_covered_in_its_words(what):
    law, subject, inputs, words = NOT_COVERED[what]
    outcome = asked(law, subject, *inputs)
    assert outcome.verdict == "not covered"
    assert words in "; ".join(outcome.reasons)
    assert not outcome.reports


WRONG_USES = {
    "an option": (
        lambda: check_torch(nn.Linear, "N i", in_feature=3, out_features=2),
        "Linear takes no option 'in_feature'; its arguments are: in_features, out_features",
    ),
    "a missing option": (
        lambda: check_torch(nn.Linear, "N 3", in_features=3), "needs the option 'out_features'",
    ),
    "an option of a module": (
        lambda: check_torch(nn.Linear(3, 2), "N 3", bias=False), "made already, so it takes no opt",
    ),
    "values that do not fit": (
        lambda: check_torch(nn.MultiheadAttention, "L N 3", embed_dim=3, num_heads=2),
        r"MultiheadAttention\(embed_dim=3, num_heads=2\) cannot be made: .*divisible",
    ),
    "a constant": (
        lambda: check_torch(F.mse_loss, "N", "N", constant="label"),
        "mse_loss has no argument or parameter 'label'; it has: input, target",
    ),
    "what goes through": (
        lambda: check_torch(F.mse_loss, "N", "N", through={"x": torch.exp}), "parameter 'x'",
    ),
    "keyword arguments by position": (
        lambda: check_torch(
            lambda: nn.MultiheadAttention(4, 2), "L N 4", "L N 4", "L N 4", {"need_weights": False}
        ),
        r"passed as 'key_padding_mask': .* by name, forward=\{'need_weights': False\}",
    ),
    "no layer": (lambda: check_torch(3, "N"), "3 is no torch.nn.Module"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_USES)
def test_a_wrong_use_is_a_type_error_that_names_it(what):
    use, match = WRONG_USES[what]
    with pytest.raises(UsageError, match=match) as caught:
        use()
    assert isinstance(caught.value, TypeError)


def test_a_parameter_that_left_its_domain_is_told_with_what_to_do():
    outcome = asked(GRADIENT, Positive, "N 3", domains={"s": (-2, -1)})
    assert outcome.verdict == "not covered"
    assert "not finite" in "; ".join(outcome.reasons)


def test_the_model_stays_as_it_was():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.LazyLinear(2))
    model[0].bias.requires_grad_(False)
    model[0].weight.grad = torch.ones(2, 3)
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    model[1].eval()
    before = {name: value.clone() for name, value in model[:2].state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    check_torch(model, "N+1 3", law=GRADIENT)
    assert [m.training for m in model] == [True, False, True, True]
    assert {p.dtype for p in model[:2].parameters()} == {torch.float32}
    assert all(torch.equal(before[name], v) for name, v in model[:2].state_dict().items())
    assert not model[0].bias.requires_grad
    assert torch.equal(model[0].weight.grad, torch.ones(2, 3))
    assert nn.parameter.is_lazy(model[3].weight)
    assert handle.id in model._forward_hooks
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert (states[2] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize("made", [nn.LazyBatchNorm1d, lambda: nn.BatchNorm1d(3)])
@pytest.mark.parametrize("training", [None, True])
def test_a_batch_of_one_row_is_refused_by_a_normalization_in_training(made, training):
    summary = check_torch(made, "N 3", training=training, law=GRADIENT)
    [(_, outcome)] = summary.outcomes
    assert outcome.verdict == "holds"
    assert training is None or "a batch without a variance is refused" in outcome.reasons


def test_frozen_parameters_are_constants():
    class Cut(nn.Linear):
        def forward(self, x):
            return x @ self.weight.T + self.bias.detach()

    model = Cut(3, 2)
    assert asked(GRADIENT, model, "N 3").verdict == "broken"
    model.bias.requires_grad_(False)
    assert asked(GRADIENT, model, "N 3").verdict == "holds"


def test_a_layer_that_is_wrong_in_training_mode_alone_is_found():
    class Half(nn.Module):
        def forward(self, x):
            return x + x.detach() if self.training else 2 * x

    outcome = asked(GRADIENT, Half, "N C")
    assert outcome.verdict == "broken"
    assert "Half in training mode" in outcome.example
    assert asked(GRADIENT, Half, "N C", training=False).verdict == "holds"


def test_no_internal_name_is_in_a_report():
    with pytest.raises(LawError) as caught:
        check_torch(lambda: nn.Linear(3, 2), "N 4")
    assert "<" not in str(caught.value).replace("<lambda>", "!")
    assert "shapes cannot be multiplied" in str(caught.value)
    assert "what to do: call it once by hand" in str(caught.value)


def lines_of(error):
    """The lines of a report under "see it without tapegrad"."""
    text = str(error).split("see it without tapegrad:\n")[1]
    return "\n".join(line[8:] for line in text.split("\n    reproduce it:")[0].split("\n"))


class Cropped(nn.Conv1d):
    def forward(self, x):
        y = super().forward(x)
        return torch.cat([y[..., :1].detach(), y[..., 1:]], -1)


def run_by_itself(lines, definitions=""):
    """What lines print in a process of their own, as numbers by the word before them."""
    head, _, rest = lines.partition("\n")
    code = f"{head}\n{definitions}\n{rest}"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tapegrad" not in code
    return {word: float(n) for word, n in re.findall(r"^(\w+) +(\S+)$", done.stdout, re.MULTILINE)}


def test_the_lines_of_a_report_run_by_themselves_and_show_both_numbers():
    with pytest.raises(LawError) as caught:
        check_torch(
            lambda x: torch.where(x > 0, x.detach(), 2 * x), "N", law=GRADIENT
        )  # fmt: skip
    shown = run_by_itself(lines_of(caught.value))
    assert shown["analytic"] == 0.0
    assert shown["numeric"] == pytest.approx(1.0, rel=1e-6)


def test_the_lines_of_a_module_have_its_parameters():
    with pytest.raises(LawError) as caught:
        check_torch(Cropped, "N in_channels L+3", in_channels=1, out_channels=1, kernel_size=2,
                    training=False, law=GRADIENT)  # fmt: skip
    lines = lines_of(caught.value)
    assert "torch.func.functional_call(f, {'weight': weight, 'bias': bias}" in lines
    definitions = (
        "class Cropped(torch.nn.Conv1d):\n    def forward(self, x):\n"
        "        y = super().forward(x)\n"
        "        return torch.cat([y[..., :1].detach(), y[..., 1:]], -1)\n"
    )
    own = "\n".join(line for line in lines.split("\n") if "import Cropped" not in line)
    shown = run_by_itself(own, definitions)
    assert shown["analytic"] == 0.0
    assert abs(shown["numeric"]) > 1e-3


def test_how_sure_and_what_to_do_are_said():
    with pytest.raises(LawError) as caught:
        check_torch(lambda x: x * x.detach(), "N", law=GRADIENT)
    text = str(caught.value)
    assert re.search(
        r"how sure: certain, analytic and numeric value are \S+ error bars apart", text
    )
    assert "what to do: derive the entry above by hand" in text
