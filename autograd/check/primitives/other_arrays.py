"""Laws of arrays of other libraries: results and gradients are those of NumPy's arrays."""

from __future__ import annotations

from typing import Any

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.laws import Laws, must
from tapegrad.autograd.check.primitives.trial import PrimitiveTrial, floating_results, must_agree
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.transforms.products import jvp, vjp

__all__ = ["LAWS", "agree_on_device"]

LAWS = Laws("primitive")


@LAWS()
def strict_arrays_agree_with_numpy(trial: PrimitiveTrial) -> None:
    """The body and the rules use only the array namespace that they get as `xp`."""
    agree_on_device(trial, "strict")


def agree_on_device(trial: PrimitiveTrial, device: str) -> None:
    """Values, gradients and tangents on `device` are those of NumPy arrays, and stay there."""
    home = devices.device(device)

    def on_device(x: Any) -> Tensor:
        return Tensor(x, device=home) if not isinstance(x, Tensor) else x

    expected = trial.values()
    results = leaves(trial.run(wrap=on_device))
    for i, (result, e) in enumerate(zip(results, expected, strict=True)):
        if isinstance(result, Tensor):
            must(result.device == home, f"result {i} came back from {device} to {result.device}")
            must_agree(result.numpy(), e, f"result {i} on {device}")
    if not trial.derives:
        return
    v = trial.cotangents()
    point = tuple(map(on_device, trial.point))

    def run(*x: Tensor) -> Any:
        return floating_results(trial.run(x, wrap=on_device))

    _, pull = vjp(run, point)
    for i, (g, e) in enumerate(
        zip(pull([on_device(c) for c in v]), trial.gradients(v), strict=True)
    ):
        must(g.device == home, f"gradient {i} came back from {device} to {g.device}")
        must_agree(g.numpy(), e, f"gradient {i} on {device}")
    u = [gaussian(trial.rng, x.shape).astype(x.dtype) for x in trial.point]
    _, moved = jvp(lambda *x: floating_results(trial.on_tensors(*x)), tuple(trial.point), tuple(u))
    _, pushed = jvp(run, point, tuple(map(on_device, u)))
    for i, (t, e) in enumerate(zip(pushed, moved, strict=True)):
        must(t.device == home, f"tangent {i} came back from {device} to {t.device}")
        must_agree(t.numpy(), e, f"tangent {i} on {device}")
