"""What to write instead: words of PyTorch and Keras that optimizers do not have."""

from __future__ import annotations

from typing import Any

__all__ = ["OF_OPTIMIZERS", "PAIR_OF_LISTS", "POSITIONAL", "unknown_word"]

OF_OPTIMIZERS = {
    "add_param_group": "add_group(params, lr=…)",
    "apply_gradients": "step(), after loss.backward() has put the gradients into the parameters",
    "learning_rate": "lr",
    "minimize": "optimizer.zero_grad(), loss.backward(), optimizer.step()",
    "param_groups": "groups, each with its `options`: optimizer.groups[0].options['lr'] = 0.1",
    "state": "state_dict() returns it",
    "zeroGradParameters": "zero_grad()",
}
PAIR_OF_LISTS = (
    "parameter {name} is {found}, not a Parameter: parameters() is a pair of lists, so give the "
    "module itself, or parameters()[0]"
)
POSITIONAL = (
    "{name}: options are given by name, such as {name}(model, lr={value!r}); {count} by position"
)


def unknown_word(optimizer: Any, name: str) -> AttributeError:
    """The error for an attribute that an optimizer does not have, with what to write instead."""
    text = f"{type(optimizer).__name__!r} object has no attribute {name!r}"
    if name in OF_OPTIMIZERS:
        text += f": use {OF_OPTIMIZERS[name]}"
    return AttributeError(text, name=name, obj=optimizer)
