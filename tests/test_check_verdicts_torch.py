"""Verdicts on PyTorch's functions and layers: what is accused, what not, what is a convention."""

from __future__ import annotations

import pytest

from tapegrad.autograd.check import array, check_torch, indices

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.extra

GRADIENT = "its_gradient_is_the_derivative"
SECOND = "its_second_derivative_is_right"
nn, functional = torch.nn, torch.nn.functional


def outcomes(*subject, **more):
    summary = check_torch(*subject, raise_error=False, **more)
    return {outcome.law.name: outcome for _, outcome in summary.outcomes}


def broken(*subject, **more):
    return [law for law, outcome in outcomes(*subject, **more).items() if not outcome.ok]


# Right code that was accused ----------------------------------------------------------------------


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(5, 3), nn.BatchNorm1d(3)

    def forward(self, i):
        return self.norm(self.embedding(i))


RIGHT = {
    "what writes by its name": (functional.elu_, "N? C"),
    "variances of nearly equal numbers": (lambda x: functional.layer_norm(x, (2,)), "40 2"),
    "zero tensors": (nn.L1Loss, "N C", "N C"),
    "places among the results": (lambda: nn.MaxPool1d(2, return_indices=True), "C H+2"),
    "in place, twice the same": (lambda: nn.ReLU(inplace=True), "N C"),
    "in place, twice another": (lambda: nn.ELU(inplace=True), "N C"),
    "integers in": (Embedded, indices("N", below=5)),
    "NaN refused": (nn.BCELoss, array("N+1 C", 0, 1), array("N+1 C", 0, 1)),
    "a jump": (torch.atan2, "N C", "N C"),
    "another jump": (torch.copysign, "N C", "N C"),
    "order": (lambda x: x.sort(-1)[0], "N C"),
    "the smallest but one": (lambda x: x.kthvalue(1, -1)[0], "N C"),
    "values that are not finite": (lambda: nn.LPPool1d(3.0, 2), "N C L+2"),
    "singular": (torch.linalg.inv, "n n"),
    "QR of singular matrices": (lambda a: torch.linalg.qr(a)[1], "n n"),
    "nothing": (lambda a, b: torch.view_as_real(torch.complex(a, b).exp()), "N C", "N C"),
    "dropout": (nn.Dropout, "N C"),
    "windows by chance": (lambda: nn.FractionalMaxPool2d(2, output_size=2), "N C 4 4"),
    "an eps below": (lambda x: functional.normalize(x, p=3.0), "N C"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_is_not_accused(name):
    assert broken(*RIGHT[name]) == []


# Faults that were missed --------------------------------------------------------------------------


class SecondWrongInTheCotangent(torch.autograd.Function):
    """x³ whose backward forgets in its own backward what depends on the cotangent."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return Backward.apply(g, x)


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, g, x):
        ctx.save_for_backward(g, x)
        return 3 * g * x * x

    @staticmethod
    def backward(ctx, u):
        g, x = ctx.saved_tensors
        return 2 * u * x * x, 6 * u * g * x  # 3 u x² is right


def test_a_second_derivative_that_is_wrong_by_the_cotangent_only_is_found():
    found = outcomes(SecondWrongInTheCotangent, "N C", law=SECOND)[SECOND]
    assert found.verdict == "broken"
    assert "cotangent 0" in str(found.error)


class WrongWhereTheInputIsFrozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        of_w = x.mT @ g
        return g @ w.mT, of_w if ctx.needs_input_grad[0] else 2 * of_w


def test_a_gradient_that_is_wrong_where_the_input_is_frozen_is_found():
    law = "tracking_fewer_arguments_changes_no_gradient"
    found = outcomes(WrongWhereTheInputIsFrozen, "N C", "C D", law=law)[law]
    assert found.verdict == "broken"
    assert "argument" in str(found.error) or "gradient of w" in str(found.error)


class HalfInTraining(nn.Module):
    def forward(self, x):
        return x * x.detach() if self.training else x * x


def test_a_gradient_that_is_wrong_in_training_mode_only_is_found():
    assert outcomes(HalfInTraining, "N C", law=GRADIENT)[GRADIENT].verdict == "broken"
    assert outcomes(HalfInTraining, "N C", law=GRADIENT, training=False)[GRADIENT].ok


class SamplesMeet(nn.BatchNorm1d):
    def forward(self, x):
        if self.training or len(x) < 2:
            return super().forward(x)
        return (x - x.mean(0)) / (x.var(0, unbiased=False) + self.eps).sqrt()


def test_samples_that_meet_where_statistics_are_kept_are_found():
    law = "the_samples_of_a_batch_do_not_meet"
    assert outcomes(lambda: SamplesMeet(3), "N 3", law=law)[law].verdict == "broken"
    assert outcomes(lambda: nn.BatchNorm1d(3), "N 3", law=law)[law].verdict == "holds"
    assert outcomes(lambda: nn.Softmax(0), "N 3", law=law)[law].verdict == "not covered"


class MovesInEvaluation(nn.BatchNorm1d):
    """Batch normalization whose running mean moves in both modes."""

    def forward(self, x):
        mean, variance = self.running_mean, self.running_var
        y = functional.batch_norm(x, mean.clone(), variance, self.weight, self.bias, self.training)
        mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return y


class PutsInEvaluation(nn.BatchNorm1d):
    """The same by another tensor in the buffer's place."""

    def forward(self, x):
        mean = self.running_mean
        y = functional.batch_norm(x, mean, self.running_var, self.weight, self.bias, self.training)
        self.running_mean = 0.9 * mean + 0.1 * x.detach().mean(0)
        return y


@pytest.mark.parametrize("moves", [MovesInEvaluation, PutsInEvaluation])
def test_statistics_that_move_in_evaluation_mode_are_found(moves):
    law = "results_do_not_depend_on_earlier_calls"
    found = outcomes(lambda: moves(3), "N+2 3", law=law)[law]
    assert found.verdict == "broken"
    assert "a call in evaluation mode has changed running_mean" in str(found.error)
    assert outcomes(lambda: moves(3), "N+2 3", law=law, training=True)[law].ok
    assert outcomes(lambda: nn.BatchNorm1d(3), "N+2 3", law=law)[law].verdict == "holds"


# Conventions --------------------------------------------------------------------------------------

KNOWN = {
    "padding_idx": (GRADIENT, lambda: nn.Embedding(5, 3, padding_idx=1), indices("N+2", below=5)),
    "max_norm": (
        "inputs_are_left_alone", lambda: nn.Embedding(5, 3, max_norm=0.2), indices("N+2", below=5),
    ),
    "CTC of log-probabilities": (
        GRADIENT,
        lambda p: functional.ctc_loss(
            p, torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])
        ),
        "4 1 3",
    ),
    "spectral norm in training": (
        GRADIENT, lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)), "N 3",
    ),
    "spectral norm in training, as a hook": (
        GRADIENT, lambda: nn.utils.spectral_norm(nn.Linear(3, 2)), "N 3",
    ),
    "observers": (
        "results_do_not_depend_on_earlier_calls",
        torch.ao.quantization.MovingAverageMinMaxObserver, "N+2 3",
    ),
    "eps of the precision": (
        "float32_agrees_with_float64",
        lambda x: functional.rms_norm(1e-4 * x, (3,)), "N 3",
    ),
    "float_power": ("float32_agrees_with_float64", torch.float_power, array("N C", 0, 3), "N C"),
    "NaN is passed by": ("nan_stays_nan", torch.fmax, "N C", "N C"),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_a_convention_is_said_and_asked_for_with_strict(name):
    law, *subject = KNOWN[name]
    found = outcomes(*subject, law=law)[law]
    assert found.verdict == "convention"
    assert any(reason.startswith(name.partition(", as")[0]) for reason in found.conventions)
    assert outcomes(*subject, law=law, strict=True)[law].verdict in ("broken", "unchecked")


class Tripled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 3 * g


class WrongBehindEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(5, 3, padding_idx=1)
        self.last = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, labels):
        return self.last(self.rows(labels)) * Tripled.apply(self.scale)


def test_a_convention_of_a_part_hides_no_fault_of_another_part():
    found = outcomes(WrongBehindEmbedding, indices("N+2", below=5), law=GRADIENT, training=False)
    assert found[GRADIENT].verdict == "broken"
    assert "scale" in str(found[GRADIENT].error)


def test_a_convention_of_an_option_hides_no_fault_of_another_argument():
    def wrong(labels, rows, scale):
        return functional.embedding(labels, rows, padding_idx=1) * Tripled.apply(scale)

    def right(labels, rows, scale):
        return functional.embedding(labels, rows, padding_idx=1) * scale

    labels = indices("N+2", below=5)
    found = outcomes(wrong, labels, "5 3", "3", law=GRADIENT)[GRADIENT]
    assert found.verdict == "broken"
    assert outcomes(right, labels, "5 3", "3", law=GRADIENT)[GRADIENT].verdict == "convention"
