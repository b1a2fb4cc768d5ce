"""PyTorch's layers under the laws of functions; skipped, and counted, where PyTorch is missing."""

from __future__ import annotations

import pytest

from tapegrad.autograd.check import LawError, check_torch, indices, ints

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.extra


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


class Halved(Squared):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x


class WritesToItsInput(Squared):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.clone())
        y = x * x
        x.fill_(0.5)
        return y


class DetachedBias(torch.nn.Linear):
    def forward(self, x):
        return x @ self.weight.T + self.bias.detach()


RIGHT = {
    "a Function": (Squared, ["N? C"], {}),
    "a function": (lambda x: torch.softmax(x, -1), ["N? C"], {}),
    "a module": (
        torch.nn.Linear, ["N? in_features"],
        {"in_features": ints(1, 4), "out_features": ints(1, 3)},
    ),
    "indices": (
        torch.nn.Embedding, [indices("N", below="num_embeddings")],
        {"num_embeddings": ints(1, 4), "embedding_dim": ints(1, 2)},
    ),
    "several results": (lambda c: torch.nn.GRU(c, 2), ["L N+1 c"], {"c": ints(1, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
def test_right_layers_pass(what):
    subject, inputs, options = RIGHT[what]
    summary = check_torch(subject, *inputs, **options)
    second = [o for _, o in summary.outcomes if o.law.name == "its_second_derivative_is_right"]
    assert second[0].verdict == "holds"


def test_a_wrong_backward_is_refuted():
    with pytest.raises(LawError, match="analytic is half of numeric everywhere"):
        check_torch(Halved, "N? C")


def test_a_parameter_without_gradient_is_named():
    with pytest.raises(LawError, match="bias: analytic is zero everywhere, numeric is not"):
        check_torch(DetachedBias, "N in_features", in_features=ints(1, 3), out_features=ints(1, 3))


def test_writing_into_the_input_is_noticed():
    with pytest.raises(LawError):
        check_torch(WritesToItsInput, "N C")
