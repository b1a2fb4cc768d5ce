"""KNOWN: cases of the layers of libraries, for `tapegrad check torch:torch.nn.Conv2d`.

A layer that is not here is checked by one line that says its shapes.  What a library documents as
its own convention is not excepted here: conventions are data of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.cases import array, booleans, indices, ints, one_of

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["KNOWN"]


def _conv(axes: str) -> dict[str, Any]:
    return {
        "inputs": [f"N? in_channels {axes}"],
        "in_channels": ints(1, 3),
        "out_channels": ints(1, 3),
        "kernel_size": ints(1, 3),
        "stride": ints(1, 2),
        "padding": ints(0, 1),
        "bias": booleans(),
    }


def _norm(axes: str, size: str = "N+1") -> dict[str, Any]:
    return {"inputs": [f"{size} num_features {axes}"], "num_features": ints(1, 4)}


def _pool(axes: str) -> dict[str, Any]:
    return {"inputs": [f"N? C {axes}"], "kernel_size": ints(1, 3), "stride": ints(1, 2)}


def _recurrent() -> dict[str, Any]:
    return {
        "inputs": ["L N+1 input_size"],
        "input_size": ints(1, 3),
        "hidden_size": ints(1, 3),
        "num_layers": ints(1, 2),
        "bidirectional": booleans(),
    }


def _cell() -> dict[str, Any]:
    return {"inputs": ["N? input_size"], "input_size": ints(1, 3), "hidden_size": ints(1, 3)}


def _loss(*inputs: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), "reduction": one_of("mean", "sum", "none")}


def _targets(d: Draws) -> np.ndarray:
    return d.integers((d.size("N"), 2), 1, 4)


def _lengths_of_inputs(d: Draws) -> np.ndarray:
    return np.full(d.size("N"), d.size("S") + 4)


def _lengths_of_targets(d: Draws) -> np.ndarray:
    return np.full(d.size("N"), 2)


_SHARE = array("N C", 0, 1)
_ENCODER = {"d_model": 4, "nhead": 2, "dim_feedforward": 5}
_ELEMENTWISE = (
    "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish "
    "PReLU ReLU ReLU6 RReLU SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Dropout "
    "AlphaDropout"
)

# The path of a layer or function -> its case, in the words of `law_case`.
KNOWN: dict[str, dict[str, Any]] = {
    **{f"torch.nn.{name}": {"inputs": ["N? C L"]} for name in _ELEMENTWISE.split()},
    **{
        f"torch.nn.{name}": {"inputs": ["N? C L"], "dim": one_of(-1, 0)}
        for name in ("Softmax", "LogSoftmax", "Softmin")
    },
    "torch.nn.GLU": {"inputs": ["N? 2*C"]},
    "torch.nn.Threshold": {"inputs": ["N? C"], "threshold": 0.1, "value": one_of(20.0, 0.0)},
    "torch.nn.Linear": {
        "inputs": ["N? T in_features"],
        "in_features": ints(1, 5),
        "out_features": ints(1, 5),
        "bias": booleans(),
    },
    "torch.nn.LazyLinear": {"inputs": ["N 3"], "out_features": ints(1, 4)},
    "torch.nn.Bilinear": {
        "inputs": ["N? in1_features", "N? in2_features"],
        "in1_features": ints(1, 3),
        "in2_features": ints(1, 3),
        "out_features": ints(1, 3),
    },
    "torch.nn.Conv1d": _conv("L+3"),
    "torch.nn.Conv2d": _conv("H+3 W+3"),
    "torch.nn.Conv3d": _conv("D+3 H+3 W+3"),
    "torch.nn.ConvTranspose1d": _conv("L+3"),
    "torch.nn.ConvTranspose2d": _conv("H+3 W+3"),
    "torch.nn.BatchNorm1d": _norm("L"),
    "torch.nn.BatchNorm2d": _norm("H W"),
    "torch.nn.InstanceNorm1d": _norm("L+1", "N?"),
    "torch.nn.InstanceNorm2d": _norm("H+1 W", "N?"),
    "torch.nn.GroupNorm": {"inputs": ["N 4 L+1"], "num_groups": one_of(1, 2, 4), "num_channels": 4},
    "torch.nn.LayerNorm": {"inputs": ["N? L normalized_shape"], "normalized_shape": ints(2, 5)},
    "torch.nn.RMSNorm": {"inputs": ["N? L normalized_shape"], "normalized_shape": ints(1, 5)},
    "torch.nn.LocalResponseNorm": {"inputs": ["N C H"], "size": ints(1, 4)},
    "torch.nn.CrossMapLRN2d": {"inputs": ["N C H W"], "size": ints(1, 4)},
    "torch.nn.MaxPool1d": _pool("L+3"),
    "torch.nn.MaxPool2d": _pool("H+3 W+3"),
    "torch.nn.AvgPool1d": _pool("L+3"),
    "torch.nn.AvgPool2d": _pool("H+3 W+3"),
    "torch.nn.AdaptiveAvgPool2d": {"inputs": ["N? C H W"], "output_size": ints(1, 4)},
    "torch.nn.AdaptiveMaxPool2d": {"inputs": ["N? C H W"], "output_size": ints(1, 4)},
    "torch.nn.RNN": {**_recurrent(), "nonlinearity": one_of("tanh", "relu")},
    "torch.nn.GRU": _recurrent(),
    "torch.nn.LSTM": _recurrent(),
    "torch.nn.RNNCell": _cell(),
    "torch.nn.GRUCell": _cell(),
    "torch.nn.LSTMCell": _cell(),
    "torch.nn.MultiheadAttention": {
        "inputs": ["L N 4", "S N 4", "S N 4"],
        "embed_dim": 4,
        "num_heads": one_of(1, 2),
        "forward": {"need_weights": booleans()},
    },
    "torch.nn.TransformerEncoderLayer": {"inputs": ["S N 4"], **_ENCODER},
    "torch.nn.TransformerDecoderLayer": {"inputs": ["S N 4", "R N 4"], **_ENCODER},
    "torch.nn.Embedding": {
        "inputs": [indices("N T", below="num_embeddings")],
        "num_embeddings": ints(2, 5),
        "embedding_dim": ints(1, 3),
        "sparse": booleans(),
    },
    "torch.nn.L1Loss": _loss("N C", "N C"),
    "torch.nn.MSELoss": _loss("N C", "N C"),
    "torch.nn.SmoothL1Loss": _loss("N C", "N C"),
    "torch.nn.HuberLoss": _loss("N C", "N C"),
    "torch.nn.BCELoss": _loss(_SHARE, _SHARE),
    "torch.nn.BCEWithLogitsLoss": _loss("N C", _SHARE),
    "torch.nn.CrossEntropyLoss": _loss("N C", indices("N", below="C")),
    "torch.nn.NLLLoss": _loss("N C", indices("N", below="C")),
    "torch.nn.KLDivLoss": {**_loss("N C", _SHARE), "reduction": one_of("sum", "batchmean")},
    "torch.nn.CosineSimilarity": {"inputs": ["N C", "N C"]},
    "torch.nn.PairwiseDistance": {"inputs": ["N C", "N C"]},
    "torch.nn.CTCLoss": _loss("S+4 N 4", _targets, _lengths_of_inputs, _lengths_of_targets),
}
