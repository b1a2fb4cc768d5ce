"""apply_operator: a new node from an operator, its inputs and its attributes.

Inputs that are not given become variables, named by the node: "fc1" makes "fc1_weight" and
"fc1_bias", which carry the node's attributes, as MXNet's do.  A variable of an input that the
operator has first values for (`Operator.initial`) gets them as its `__init__`, unless it has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.attributes import attributes_of_inputs, texts_of
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.graph import Output, SymbolNode
from tapegrad.nn.mxnet.symbol.naming import current_attributes, current_names

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.declaration import Operator

__all__ = ["apply_operator"]


def apply_operator(
    op: Operator,
    positional: Sequence[Output],
    named: Mapping[str, Output],
    settings: Mapping[str, Any],
    *,
    name: str | None = None,
    hint: str = "",
    attributes: dict[str, str] | None = None,
) -> SymbolNode:
    """The node of a call.

    positional, named: inputs by position and by name
    settings:          attributes as Python values; None means "not given"
    name:              the node's name; when omitted, the current NameManager counts `hint`
    attributes:        attributes for the user (`attr=`), beside those of the current AttrScope
    Raises MXNetError for an unknown input or attribute, too many inputs, or an input given twice.
    """
    texts = texts_of(op.kinds, settings)
    counted = op.variadic or ("num_args" if "num_args" in op.kinds else "")
    if counted:
        texts.setdefault(counted, str(len(positional) + len(named)))
    extra = {_dunder(k): v for k, v in current_attributes(attributes).items()}
    full = current_names().get(name, hint or op.hint)
    own, of_inputs = attributes_of_inputs({**texts, **extra})
    node = SymbolNode(op, full, own)
    if op.variadic:
        node.inputs = [*positional, *named.values()]
        _ = node.read  # what is wrong is an error here, where it is written
        return node
    names = op.input_names(node.read)
    given = dict(zip(names, positional, strict=False))
    if len(positional) > len(names):
        raise MXNetError(
            f"{op.name} {full!r} takes {len(names)} inputs ({', '.join(names)}), not "
            f"{len(positional)}"
        )
    for key, output in named.items():
        if key not in names:
            raise MXNetError(f"{op.name} {full!r} has no input {key!r}; it has {', '.join(names)}")
        if key in given:
            raise MXNetError(f"{op.name} {full!r}: input {key!r} is given twice")
        given[key] = output
    for key in names:
        output = given[key] if key in given else (_variable(node, key), 0)
        if key in op.initial and output[0].op is None:
            output[0].attrs.setdefault("__init__", op.initial[key])
        node.inputs.append(output)
    for key, value in of_inputs.items():
        node.pass_on(key, value)
    return node


def _variable(node: SymbolNode, key: str) -> SymbolNode:
    return SymbolNode(None, f"{node.name}_{key}", dict(node.attrs))


def _dunder(key: str) -> str:
    return key if key.startswith("__") and key.endswith("__") else f"__{key}__"
