"""Hooks: functions of somebody's that run before and after a module's forward code, and with its
gradients.

They are kept in one attribute, which no file and no copy of the module contains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from tapegrad.autograd import Tensor, is_recording, ops
from tapegrad.autograd.core.tree import leaves, replace_leaves
from tapegrad.nn.core.timing import TIME, timed

__all__ = ["HOOKS", "HookHandle", "add_hook", "has_hooks", "with_hooks"]

# The attribute of modules that holds them: kind of hook -> the hooks, in order.
HOOKS = "_tapegrad_hooks"

BY_HAND = (
    "{name} has a hand-written gradient, which no hook is called for: delete updateGradInput and "
    "accGradParameters to have it from the forward code, or put the hook on a module around it"
)


class HookHandle:
    """A hook on a module, which `remove` takes away; as a context it does so at its end."""

    def __init__(self, hooks: dict[str, list[Any]], kind: str, hook: Any) -> None:
        self._hooks, self._kind, self._hook = hooks, kind, hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        kept = self._hooks[self._kind]
        position = next((i for i, hook in enumerate(kept) if hook is self._hook), None)
        if position is not None:
            # a new list, since one over which a call walks must stay as it is
            self._hooks[self._kind] = kept[:position] + kept[position + 1 :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add_hook(module: Any, kind: str, hook: Callable[..., Any]) -> HookHandle:
    """Add a hook; raises TypeError for what cannot be called, and where no gradient passes.

    kind: "before", "after", "gradOutput" or "gradInput"
    """
    name = type(module).__name__
    if not callable(hook):
        raise TypeError(f"{name}: a hook is a function, not {type(hook).__name__}")
    if kind.startswith("grad") and module._by_hand:
        raise TypeError(BY_HAND.format(name=name))
    hooks: dict[str, list[Any]] | None = module._tapegrad_hooks
    if hooks is None:
        hooks = module.__dict__[HOOKS] = {}
    hooks[kind] = [*hooks.get(kind, ()), hook]
    return HookHandle(hooks, kind, hook)


def has_hooks(module: Any) -> bool:
    """Whether anybody looks at the module's calls."""
    hooks: dict[str, list[Any]] | None = module._tapegrad_hooks
    return hooks is not None and any(hooks.values())


def with_hooks(module: Any, update: Callable[..., Any]) -> Callable[..., Any]:
    """`update`, with the module's hooks around it."""
    hooks: dict[str, list[Any]] = module._tapegrad_hooks
    if hooks.keys() == {TIME}:
        return timed(hooks[TIME][0], update, by_hand=module._by_hand)

    def run(*inputs: Any, **named: Any) -> Any:
        for hook in hooks.get("before", ()):
            changed = hook(module, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        gradients = None
        if (hooks.get("gradInput") or hooks.get("gradOutput")) and is_recording():
            gradients = _GradientHooks(module, hooks)
            inputs = tuple(gradients.pass_inputs(list(inputs)))
        output = update(*inputs, **named)
        for hook in hooks.get("after", ()):
            changed = hook(module, inputs, output)
            output = output if changed is None else changed
        return output if gradients is None else gradients.pass_outputs(output)

    return timed(hooks[TIME][0], run, by_hand=module._by_hand) if TIME in hooks else run


class _GradientHooks:
    """The hooks of one call that its gradients meet, first at the outputs, then at the inputs."""

    def __init__(self, module: Any, hooks: dict[str, list[Any]]) -> None:
        self.module = module
        self.before, self.after = hooks.get("gradOutput", ()), hooks.get("gradInput", ())
        self.grad_output: tuple[Any, ...] = ()
        self.inputs_are_tracked = False

    def pass_inputs(self, inputs: Any) -> Any:
        """The inputs, with the hooks at their gradients."""
        self.inputs_are_tracked = any(map(_is_tracked, leaves(inputs)))
        return _replace_gradients(inputs, self._at_inputs) if self.inputs_are_tracked else inputs

    def pass_outputs(self, output: Any) -> Any:
        """The output, with the hooks at its gradient."""
        return _replace_gradients(output, self._at_outputs)

    def _at_outputs(self, gradients: list[Any]) -> list[Any]:
        for hook in self.before:
            gradients = _changed(hook(self.module, tuple(gradients)), gradients)
        self.grad_output = tuple(gradients)
        if not self.inputs_are_tracked:
            self._at_inputs([])
        return gradients

    def _at_inputs(self, gradients: list[Any]) -> list[Any]:
        for hook in self.after:
            result = hook(self.module, tuple(gradients) or (None,), self.grad_output)
            gradients = _changed(result, gradients) if gradients else gradients
        return gradients


def _changed(result: Any, gradients: list[Any]) -> list[Any]:
    """What a hook returned for the gradients, or these themselves for None."""
    if result is None:
        return gradients
    found = list(result) if isinstance(result, (list, tuple)) else [result]
    if len(found) != len(gradients):
        raise ValueError(f"a hook returned {len(found)} gradients in place of {len(gradients)}")
    return found


def _is_tracked(x: Any) -> bool:
    return isinstance(x, Tensor) and x.tracked and x.dtype.kind in "fc"


def _replace_gradients(nest: Any, function: Callable[[list[Any]], list[Any]]) -> Any:
    flat = leaves(nest)
    tracked = [x for x in flat if _is_tracked(x)]
    if not tracked:
        return nest
    passed = iter(ops.replace_gradients(tracked, function=function))
    return replace_leaves(nest, [next(passed) if _is_tracked(x) else x for x in flat])
