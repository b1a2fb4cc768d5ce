"""TrainingMode: the mode of a module, a bool that can be called.

Layers ask ``if self.train:`` (Torch7) or ``if self.training:`` (PyTorch), and training loops call
``model.train()`` or ``model.training()``.  All four must work, none may be wrong in silence.
nn/methods/conflicts.md, note 1, has what was rejected.
"""

from __future__ import annotations

from typing import Any

__all__ = ["TrainingMode"]

NO_MODE = (
    "{name}.train({given}): the argument is a mode, True or False. To train a model on data use "
    "optim.Trainer or nn.StochasticGradient"
)


class TrainingMode(int):
    """1 in training mode and 0 in evaluation mode; called, it sets the mode of the module.

    It is a value of its moment: a later `evaluate()` does not change it.
    """

    module: Any

    def __new__(cls, value: bool, module: Any = None) -> TrainingMode:  # noqa: PYI034  # no subclass
        mode = super().__new__(cls, bool(value))
        mode.module = module
        return mode

    def __call__(self, *mode: Any) -> Any:
        """Set training mode, or the given one, here and in all modules below; returns the module.

        Raises TypeError for what is no bool.
        """
        wanted = mode[0] if mode else True
        if len(mode) > 1 or not isinstance(wanted, (bool, TrainingMode)):
            shown = ", ".join(type(each).__name__ for each in mode)
            raise TypeError(NO_MODE.format(name=type(self.module).__name__, given=shown))
        for part in self.module.listModules():
            part.train = bool(wanted)
        return self.module

    def __repr__(self) -> str:
        return repr(bool(self))

    __str__ = __repr__

    def __reduce__(self) -> Any:
        return bool, (int(self),)  # a copy does not take the module along

    def __deepcopy__(self, _: Any) -> bool:
        return bool(self)
