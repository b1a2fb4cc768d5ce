"""Single layers and criterions against PyTorch eager: forward and backward, one thread, float32.

    python benchmarks/layers.py [--rounds 30] [--seconds 0.004] [NAME ...]

Each line of the tables is one layer or criterion beside its counterpart.  Both compute an output and
the gradients of its sum (of a criterion: of itself) with regard to the inputs and the parameters.
The outputs must agree, or there is no figure.  Targets: no ratio above 2.  NAMEs choose lines by
the start of their names; without any, the table is written to benchmarks/LAYERS.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import _timing

# ruff: noqa: E501  # a pair is one line of a table

_timing.one_thread()

import numpy as np  # noqa: E402  # after the number of threads is set

from tapegrad import nn  # noqa: E402  # as above
from tapegrad.autograd import Parameter, Tensor  # noqa: E402  # as above

WIDE = ((64, 1024),)
ROWS = ((256, 100),)
IMAGES = ((16, 32, 16, 16),)

Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray | None]


# What inputs and targets are drawn from; shape: that of the first input ---------------------------


def normal(rng, shape):
    """Normal numbers, float32."""
    return rng.normal(size=shape).astype(np.float32)


def positive(rng, shape):
    """Numbers in [0.05, 0.95), float32."""
    return (0.05 + 0.9 * rng.random(shape)).astype(np.float32)


def signs(rng, shape):
    """-1 and 1, float32."""
    return np.sign(rng.normal(size=shape)).astype(np.float32)


def signs_of_rows(rng, shape):
    """A sign for each row."""
    return signs(rng, shape[:1])


def bits(rng, shape):
    """0 and 1, float32."""
    return (rng.random(shape) < 0.3).astype(np.float32)


def distributions(rng, shape):
    """Rows that sum to 1, float32."""
    x = 0.1 + rng.random(shape)
    return (x / x.sum(-1, keepdims=True)).astype(np.float32)


def labels(rng, shape):
    """A label for each row."""
    return rng.integers(0, shape[1], shape[:1])


def labels_of_points(rng, shape):
    """A label for each point of a picture (N, C, H, W)."""
    return rng.integers(0, shape[1], shape[:1] + shape[2:])


def some_labels(rng, shape):
    """Rows of up to five labels, and -1 behind them."""
    target = np.full(shape, -1)
    for row in target:
        some = rng.permutation(shape[1])[: rng.integers(1, 6)]
        row[: len(some)] = some
    return target


def sequences(rng, shape):
    """Ten labels for each sample of (T, N, C), none of them 0."""
    return rng.integers(1, shape[2], (shape[1], 10))


def nothing(_rng, _shape):
    """No target: a criterion of its inputs alone."""


# Pairs --------------------------------------------------------------------------------------------

# A line: name | ours | PyTorch's, a function | shape of each input | target | how inputs are drawn.

TRANSFER_FUNCTIONS = """
Abs | nn.Abs() | torch.abs | WIDE
Abs, Sqrt | nn.Sequential(nn.Abs(), nn.Sqrt()) | lambda x: x.abs().sqrt() | WIDE
Add | nn.Add(1024) | learned(lambda x, bias: x + bias, bias=(1024,)) | WIDE
AddConstant | nn.AddConstant(0.5) | lambda x: x + 0.5 | WIDE
CAdd | nn.CAdd(1024) | learned(lambda x, bias: x + bias, bias=(1024,)) | WIDE
CMul | nn.CMul(1024) | learned(lambda x, weight: x * weight, weight=(1024,)) | WIDE
CReLU | nn.CReLU(1) | lambda x: torch.cat((x, -x), 1).relu() | WIDE
Clamp | nn.Clamp(-0.5, 0.5) | lambda x: x.clamp(-0.5, 0.5) | WIDE
ELU | nn.ELU() | F.elu | WIDE
Exp | nn.Exp() | torch.exp | WIDE
GELU | nn.GELU() | F.gelu | WIDE
GatedLinearUnit | nn.GatedLinearUnit() | F.glu | WIDE
HardShrink | nn.HardShrink() | F.hardshrink | WIDE
HardSigmoid | nn.HardSigmoid() | lambda x: (0.2 * x + 0.5).clamp(0, 1) | WIDE
HardTanh | nn.HardTanh() | F.hardtanh | WIDE
Identity | nn.Identity() | torch.clone | WIDE
LeakyReLU | nn.LeakyReLU(0.01) | F.leaky_relu | WIDE
Log | nn.Log() | torch.log | WIDE | None | positive
LogSigmoid | nn.LogSigmoid() | F.logsigmoid | WIDE
LogSoftMax | nn.LogSoftMax() | lambda x: F.log_softmax(x, -1) | WIDE
Mish | nn.Mish() | F.mish | WIDE
Mul | nn.Mul() | learned(lambda x, weight: x * weight, weight=(1,)) | WIDE
MulConstant | nn.MulConstant(0.5) | lambda x: x * 0.5 | WIDE
Negative | nn.Negative() | torch.neg | WIDE
PReLU | nn.PReLU() | torch.nn.PReLU() | WIDE
Power | nn.Power(3) | lambda x: x**3 | WIDE
Power, no whole number | nn.Power(1.7) | lambda x: x**1.7 | WIDE | None | positive
RReLU | nn.RReLU(0.2, 0.2) | lambda x: F.rrelu(x, 0.2, 0.2, True) | WIDE
ReLU | nn.ReLU() | F.relu | WIDE
ReLU6 | nn.ReLU6() | F.relu6 | WIDE
SAdd | nn.SAdd(0.5) | lambda x: x + 0.5 | WIDE
Scale | nn.Scale(1024) | learned(lambda x, weight, bias: x * weight + bias, weight=(1024,), bias=(1024,)) | WIDE
SiLU | nn.SiLU() | F.silu | WIDE
Sigmoid | nn.Sigmoid() | torch.sigmoid | WIDE
SoftMax | nn.SoftMax() | lambda x: F.softmax(x, -1) | WIDE
SoftMin | nn.SoftMin() | lambda x: F.softmin(x, -1) | WIDE
SoftPlus | nn.SoftPlus() | F.softplus | WIDE
SoftShrink | nn.SoftShrink() | F.softshrink | WIDE
SoftSign | nn.SoftSign() | F.softsign | WIDE
SpatialLogSoftMax | nn.SpatialLogSoftMax() | lambda x: F.log_softmax(x, 1) | IMAGES
SpatialSoftMax | nn.SpatialSoftMax() | lambda x: F.softmax(x, 1) | IMAGES
Sqrt | nn.Sqrt() | torch.sqrt | WIDE | None | positive
Square | nn.Square() | torch.square | WIDE
Tanh | nn.Tanh() | torch.tanh | WIDE
TanhShrink | nn.TanhShrink() | F.tanhshrink | WIDE
Threshold | nn.Threshold(0.1, 0.0) | lambda x: F.threshold(x, 0.1, 0.0) | WIDE
"""

CRITERIONS = """
AbsCriterion | nn.AbsCriterion() | F.l1_loss | ROWS | normal
BCECriterion | nn.BCECriterion() | F.binary_cross_entropy | ROWS | bits | positive
BCEWithLogitsCriterion | nn.BCEWithLogitsCriterion() | F.binary_cross_entropy_with_logits | ROWS | bits
CTCCriterion of scores | nn.ModuleCriterion(nn.CTCCriterion(), nn.Bottle(nn.LogSoftMax())) | ctc_of_scores | ((50, 8, 20),) | sequences
ClassNLLCriterion | nn.ClassNLLCriterion() | F.nll_loss | ROWS | labels
CosineDistanceCriterion | nn.CosineDistanceCriterion() | lambda x, y: (1 - F.cosine_similarity(x, y)).mean() | ROWS | normal
CosineEmbeddingCriterion | nn.CosineEmbeddingCriterion() | F.cosine_embedding_loss | ROWS + ROWS | signs_of_rows
CrossEntropyCriterion | nn.CrossEntropyCriterion() | F.cross_entropy | ROWS | labels
DistKLDivCriterion | nn.DistKLDivCriterion() | lambda x, y: F.kl_div(x, y, reduction="sum") / x.numel() | ROWS | distributions
GaussianNLLCriterion | nn.GaussianNLLCriterion() | lambda m, v, y: F.gaussian_nll_loss(m, y, v) | ROWS + ROWS | normal | positive
HingeEmbeddingCriterion | nn.HingeEmbeddingCriterion() | F.hinge_embedding_loss | ROWS | signs
HuberCriterion | nn.HuberCriterion(0.5) | lambda x, y: F.huber_loss(x, y, delta=0.5) | ROWS | normal
KullbackLeiblerDivergenceCriterion | nn.KullbackLeiblerDivergenceCriterion() | lambda x, y: F.kl_div(x.log(), y, reduction="batchmean") | ROWS | distributions | distributions
L1Cost | nn.L1Cost() | lambda x: x.abs().sum() | ROWS | nothing
MSECriterion | nn.MSECriterion() | F.mse_loss | ROWS | normal
MarginRankingCriterion | nn.MarginRankingCriterion() | lambda a, b, y: F.margin_ranking_loss(a, b, y, 1.0) | ((256,), (256,)) | signs_of_rows
MultiLabelMarginCriterion | nn.MultiLabelMarginCriterion() | F.multilabel_margin_loss | ROWS | some_labels
MultiLabelSoftMarginCriterion | nn.MultiLabelSoftMarginCriterion() | F.multilabel_soft_margin_loss | ROWS | bits
MultiMarginCriterion | nn.MultiMarginCriterion() | F.multi_margin_loss | ROWS | labels
PoissonCriterion | nn.PoissonCriterion() | lambda x, y: F.poisson_nll_loss(x, y, log_input=False, eps=1e-7) | ROWS | positive | positive
PoissonNLLCriterion | nn.PoissonNLLCriterion() | F.poisson_nll_loss | ROWS | positive
SmoothL1Criterion | nn.SmoothL1Criterion() | F.smooth_l1_loss | ROWS | normal
SoftMarginCriterion | nn.SoftMarginCriterion() | F.soft_margin_loss | ROWS | signs
SoftmaxWithCriterion | nn.SoftmaxWithCriterion() | F.cross_entropy | ((4, 10, 32, 32),) | labels_of_points
SpatialClassNLLCriterion | nn.SpatialClassNLLCriterion() | F.nll_loss | ((4, 10, 32, 32),) | labels_of_points
TripletMarginCriterion | nn.TripletMarginCriterion() | F.triplet_margin_loss | ROWS + ROWS + ROWS | nothing
"""

LAYERS = """
BatchNormalization | nn.BatchNormalization(1024) | torch.nn.BatchNorm1d(1024) | WIDE
Bilinear | nn.Bilinear(64, 64, 32) | torch.nn.Bilinear(64, 64, 32) | ((64, 64), (64, 64))
CosineDistance | nn.CosineDistance() | F.cosine_similarity | ROWS + ROWS
GroupNorm | nn.GroupNorm(8, 32) | torch.nn.GroupNorm(8, 32) | IMAGES
InstanceNorm | nn.InstanceNorm(32) | torch.nn.InstanceNorm2d(32) | IMAGES
LayerNorm | nn.LayerNorm(1024) | torch.nn.LayerNorm(1024) | WIDE
Linear | nn.Linear(1024, 256) | torch.nn.Linear(1024, 256) | WIDE
MultiHeadAttention | nn.MultiHeadAttention(64, 4) | attention(64, 4) | ((8, 32, 64),)
Normalize | nn.Normalize(2) | F.normalize | WIDE
PairwiseDistance | nn.PairwiseDistance(2) | F.pairwise_distance | ROWS + ROWS
RMSNorm | nn.RMSNorm(1024) | torch.nn.RMSNorm(1024, eps=1e-6) | WIDE
SeqGRU, 20 steps of 32 × 64 | nn.SeqGRU(64, 64) | over_time(torch.nn.GRU(64, 64)) | ((20, 32, 64),)
SeqLSTM, 20 steps of 32 × 64 | nn.SeqLSTM(64, 64) | over_time(torch.nn.LSTM(64, 64)) | ((20, 32, 64),)
SeqLSTM, 20 steps of 8 × 16 | nn.SeqLSTM(16, 16) | over_time(torch.nn.LSTM(16, 16)) | ((20, 8, 16),)
SeqLSTM, 100 steps of 8 × 16 | nn.SeqLSTM(16, 16) | over_time(torch.nn.LSTM(16, 16)) | ((100, 8, 16),)
SeqLSTM, 400 steps of 8 × 16 | nn.SeqLSTM(16, 16) | over_time(torch.nn.LSTM(16, 16)) | ((400, 8, 16),)
Sequencer of FastLSTM, 20 steps of 32 × 64 | nn.Sequencer(nn.FastLSTM(64, 64)) | over_time(torch.nn.LSTM(64, 64)) | ((20, 32, 64),)
SpatialAveragePooling | nn.SpatialAveragePooling(2, 2, 2, 2) | lambda x: F.avg_pool2d(x, 2) | IMAGES
SpatialBatchNormalization | nn.SpatialBatchNormalization(32) | torch.nn.BatchNorm2d(32) | IMAGES
SpatialConvolution 1 × 1 | nn.SpatialConvolution(32, 64, 1, 1) | torch.nn.Conv2d(32, 64, 1) | IMAGES
SpatialConvolution 3 × 3 | nn.SpatialConvolution(32, 32, 3, 3, 1, 1, 1, 1) | torch.nn.Conv2d(32, 32, 3, padding=1) | IMAGES
SpatialCrossMapLRN | nn.SpatialCrossMapLRN(5) | torch.nn.LocalResponseNorm(5) | IMAGES
SpatialDepthWiseConvolution | nn.SpatialDepthWiseConvolution(32, 1, 3, 3, 1, 1, 1, 1) | torch.nn.Conv2d(32, 32, 3, padding=1, groups=32) | IMAGES
SpatialMaxPooling | nn.SpatialMaxPooling(2, 2) | lambda x: F.max_pool2d(x, 2) | IMAGES
TemporalConvolution | nn.TemporalConvolution(64, 64, 3) | temporal(torch.nn.Conv1d(64, 64, 3)) | ((16, 64, 64),)
"""

# Classes of transfer functions and criterions that are in no line, and why.
WITHOUT_PEER = {
    "PyTorch has nothing of the kind": """
        BinaryThreshold CategoricalCrossEntropy ClassSimplexCriterion Constant
        CosineProximityCriterion DiceCoefficientCriterion DistanceRatioCriterion
        DotProductCriterion FocalCriterion GaussianCriterion KLDCriterion
        L1HingeEmbeddingCriterion MarginCriterion MeanAbsolutePercentageCriterion
        MeanSquaredLogarithmicCriterion PGCriterion SReLU SmoothL1CriterionWithWeights
        WeightedMSECriterion
    """,
    "it is another criterion, of a part of its target": "SpatialAutoCropMSECriterion",
    "it runs other criterions": """
        CriterionTable MaskZeroCriterion MultiCriterion ParallelCriterion RepeaterCriterion
        SampleWeightedCriterion SequencerCriterion TimeDistributedCriterion
        TimeDistributedMaskCriterion TransformerCriterion
    """,
    "others are made from it": "Criterion",
}


@dataclass(frozen=True)
class Pair:
    """A layer or criterion, how PyTorch computes the same, and what both are given."""

    name: str
    ours: Callable[[], nn.Module | nn.Criterion]
    theirs: Callable[[], Callable]  # a function of tensors
    inputs: tuple[tuple[int, ...], ...]
    target: Values | None
    draw: Values


def pairs(torch) -> Iterator[Pair]:
    """All lines of the tables."""
    names = globals() | ({"torch": torch, "F": torch.nn.functional} if torch else {})

    def value(text: str) -> object:
        return eval(text, names)  # the tables are ours

    for line in (TRANSFER_FUNCTIONS + CRITERIONS + LAYERS).split("\n"):
        if line:
            name, ours, theirs, inputs, target, draw = (*line.split(" | "), "", "")[:6]
            yield Pair(
                name,
                partial(value, ours),
                partial(value, theirs),
                value(inputs),
                value(target or "None"),
                value(draw or "normal"),
            )


def temporal(layer):
    """A convolution of (N, T, F), as Torch7's."""
    return _like(layer, lambda x: layer(x.transpose(1, 2)).transpose(1, 2))


def over_time(layer):
    """The outputs of a recurrent layer, without its last state."""
    return _like(layer, lambda x: layer(x)[0])


def attention(width: int, heads: int):
    """Attention of a sequence to itself, without the weights."""
    import torch

    layer = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    return _like(layer, lambda x: layer(x, x, x, need_weights=False)[0])


def learned(function, **shapes):
    """A function of an input and of parameters of these shapes."""
    import torch

    parameters = {name: torch.nn.Parameter(torch.empty(shape)) for name, shape in shapes.items()}

    def run(x):
        return function(x, **parameters)

    run.named_parameters = parameters.items
    return run


def ctc_of_scores(x, labels):
    """The loss of alignments with all labels, from scores of all steps."""
    import torch

    lengths = [torch.full((x.shape[1],), n) for n in (x.shape[0], labels.shape[1])]
    return torch.nn.functional.ctc_loss(x.log_softmax(-1), labels, *lengths)


def _like(layer, run):
    """A function that shows the parameters of a layer which it calls."""
    run.named_parameters = layer.named_parameters
    return run


# Running ------------------------------------------------------------------------------------------


def level(named_parameters) -> list:
    """Learned matrices all 0.02, vectors of biases 0 and of factors 0.5, so that no layout matters."""
    learned = []
    for name, p in named_parameters:
        learned.append(p)
        data = p.data if isinstance(p, Parameter) else p.detach()
        data[...] = 0 if "bias" in name else 0.02 if p.ndim > 1 else 0.5
    return learned


def competitors(pair: Pair, torch) -> dict[str, Callable[[], object]]:
    """Forward and backward, here and in PyTorch; each returns the output.

    Raises AssertionError where the outputs or the gradients of the inputs differ.
    """
    rng = np.random.default_rng(0)
    arrays = [pair.draw(rng, shape) for shape in pair.inputs]
    target = None if pair.target is None else pair.target(rng, pair.inputs[0])
    return {
        "tapegrad": _ours(pair, arrays, target),
        "PyTorch": _theirs(pair, arrays, target, torch),
    }


def _ours(pair: Pair, arrays: list, target: np.ndarray | None) -> Callable[[], object]:
    module = pair.ours()
    learned = level(module.named_parameters()) if isinstance(module, nn.Module) else []
    inputs = [Parameter(a) for a in arrays]
    x = inputs[0] if len(inputs) == 1 else inputs
    criterion = isinstance(module, nn.Criterion)
    given = (x, None if target is None else Tensor(target)) if criterion else (x,)

    def run():
        for p in (*inputs, *learned):
            p.grad = None
        y = module(*given)
        if criterion:
            y.backward()
        else:
            y.backward(ones)
        return y.numpy(), inputs[0].grad.numpy()

    y = module(*given)
    ones = Tensor(np.ones(y.shape, np.float32))
    return run


def _theirs(pair: Pair, arrays: list, target: np.ndarray | None, torch) -> Callable[[], object]:
    function = pair.theirs()
    named = getattr(function, "named_parameters", tuple)()
    learned = level(named)
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    given = inputs if target is None else [*inputs, torch.tensor(target)]

    def run():
        for p in (*inputs, *learned):
            p.grad = None
        y = function(*given)
        if y.ndim:
            y.backward(ones)
        else:
            y.backward()
        return y.detach().numpy(), inputs[0].grad.numpy()

    ones = torch.ones_like(function(*given).detach())
    return run


def measured(pair: Pair, torch, rounds: int, seconds: float) -> dict[str, float]:
    """Milliseconds of one run of each, the minimum over rounds that take turns."""
    runs = competitors(pair, torch)
    y, dx = runs["tapegrad"]()
    z, dz = runs["PyTorch"]()
    np.testing.assert_allclose(y, z, rtol=2e-3, atol=2e-5, err_msg=pair.name)
    np.testing.assert_allclose(dx, dz, rtol=2e-3, atol=2e-4, err_msg=pair.name)
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            end = time.perf_counter() + seconds
            while (start := time.perf_counter()) < end:
                run()
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: 1e3 * value for name, value in best.items()}


def main() -> None:
    """Measure the lines that are asked for, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="the starts of names; all without any")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.004, help="of each competitor's turn")
    options = parser.parse_args()
    torch = _timing.torch_or_none()
    if torch is None:
        raise SystemExit("layers.py: PyTorch is not installed")
    chosen = tuple(options.names) or ("",)
    table = []
    for pair in pairs(torch):
        if not pair.name.startswith(chosen):
            continue
        times = measured(pair, torch, options.rounds, options.seconds)
        ratio = times["tapegrad"] / times["PyTorch"]
        table.append((ratio, pair.name, times["tapegrad"], times["PyTorch"]))
        print(f"{ratio:6.2f}  {pair.name:<40} {table[-1][2]:8.3f} {table[-1][3]:8.3f}", flush=True)
    if not options.names:
        write(table)


def write(table: list[tuple[float, str, float, float]]) -> None:
    """benchmarks/LAYERS.md: the table, the slowest lines first."""
    ratios = np.array([row[0] for row in table])
    lines = [
        "# Single layers and criterions against PyTorch eager",
        "",
        "Written by `python benchmarks/layers.py`: forward and backward, float32; ratios of the",
        "minima of interleaved rounds: smaller is faster here.",
        "",
        f"- {_timing.machine(1)}",
        f"- {len(table)} pairs: {np.sum(ratios > 2)} above 2, {np.sum(ratios > 3)} above 3;",
        f"  geometric mean {np.exp(np.log(ratios).mean()):.2f}",
        "",
        "| layer | ratio | ms | PyTorch's ms |",
        "| --- | ---: | ---: | ---: |",
    ]
    for ratio, name, ours, theirs in sorted(table, reverse=True):
        lines.append(f"| {name} | {ratio:.2f} | {ours:.3f} | {theirs:.3f} |")
    Path(__file__).with_name("LAYERS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
