"""PyTorch's modules: `check_torch` on each, with its options drawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from others.tables import Row, rows
from tapegrad.autograd.check import check_torch

__all__ = ["SUBJECTS"]

torch.set_num_threads(1)

# ruff: noqa: E501  # a subject is one line of a table

ACTIVATIONS = """
{Hardsigmoid,Hardswish,LogSigmoid,PReLU,ReLU,ReLU6,SELU,Sigmoid,SiLU,Mish,Softsign,Tanh,Tanhshrink,Identity,RReLU} | | N? C L
ELU | | N? C L | alpha=[1.0, 0.5, 2.0]
CELU | | N? C L | alpha=[1.0, 0.5, 2.0]
GELU | | N? C L | approximate=["none", "tanh"]
Hardshrink | | N? C L | lambd=[0.5, 0.3]
Softshrink | | N? C L | lambd=[0.5, 0.3]
Hardtanh | | N? C L | min_val=[-1.0, -0.3], max_val=[1.0, 0.7]
LeakyReLU | | N? C L | negative_slope=[0.01, 0.3, -0.5]
Softplus | | N? C L | beta=[1.0, 2.0, 0.3], threshold=[20.0, 2.0]
Threshold | | N? C L | threshold=[0.1, -0.3], value=[20.0, 0.0]
{Softmin,Softmax,LogSoftmax} | | N? C L | dim=[-1, 0, 1]
Softmax2d | | N? C H W
GLU | | N 2*C 2*L | dim=[-1, 1]
PReLU per channel | nn.PReLU(C) | N C L | C=range(1, 5)
Flatten | | N? C L | start_dim=[0, 1]
{ELU,Hardsigmoid,Hardtanh,Hardswish,LeakyReLU,ReLU,ReLU6,SELU,CELU,SiLU,Mish,RReLU} inplace | nn.$(inplace=True) | N? C L | training=True
Threshold inplace | nn.Threshold(0.1, 0.5, inplace=True) | N? C L
Dropout inplace | nn.Dropout(inplace=True) | N? C L | training=True
{Dropout,AlphaDropout,Dropout1d,FeatureAlphaDropout} | nn.$(p) | N? C L | p=[0.0, 0.3, 0.8]
{Dropout,AlphaDropout,Dropout1d,FeatureAlphaDropout} training | nn.$(p) | N? C L | p=[0.0, 0.3, 0.8], training=True
RReLU training | nn.RReLU() | N? C L | training=True
Dropout2d training | nn.Dropout2d(0.3) | N C H W | training=True
Dropout3d training | nn.Dropout3d(0.3) | N C D H W | training=True
"""

LINEAR = """
Linear | nn.Linear(i, o, bias) | N? T i | i=range(1, 6), o=range(1, 6), bias=[True, False]
Bilinear | nn.Bilinear(i, j, o) | N? i; N? j | i=range(1, 5), j=range(1, 5), o=range(1, 5)
LazyLinear | nn.LazyLinear(o) | N 3 | o=range(1, 5)
Unflatten | nn.Unflatten(1, shape) | N 6 | shape=[(2, 3), (3, 2)]
Conv1d | nn.Conv1d(g * c, g * o, k, s, p, d, g, bias) | N? g*c L+k*d | g=range(1, 4), c=range(1, 3), o=range(1, 3), k=range(1, 4), s=range(1, 4), p=[0, 1, 2], d=range(1, 3), bias=[True, False]
Conv2d | nn.Conv2d(g * c, g * o, k, s, p, d, g, bias) | N? g*c H+k*d W+k*d | g=range(1, 4), c=range(1, 3), o=range(1, 3), k=range(1, 4), s=range(1, 4), p=[0, 1, 2], d=range(1, 3), bias=[True, False]
Conv3d | nn.Conv3d(g * c, g * o, k, s, p, d, g) | N? g*c H+k*d W+k*d D+k*d | g=range(1, 3), c=range(1, 3), o=range(1, 3), k=range(1, 3), s=range(1, 3), p=[0, 1], d=range(1, 3)
Conv1d {reflect,replicate,circular} | nn.Conv1d(2, 2, k, padding=1, padding_mode="$") | N? 2 L+k | k=range(1, 4)
Conv2d {reflect,replicate,circular} | nn.Conv2d(2, 2, k, padding=1, padding_mode="$") | N? 2 H+k W+k | k=range(1, 4)
Conv1d same | nn.Conv1d(c, o, k, padding="same", dilation=d) | N? c L+k*d | c=range(1, 3), o=range(1, 3), k=range(1, 5), d=range(1, 3)
Conv2d same | nn.Conv2d(c, o, k, padding="same", dilation=d) | N? c H+k*d W+k*d | c=range(1, 3), o=range(1, 3), k=range(1, 5), d=range(1, 3)
Conv2d anisotropic | nn.Conv2d(2, 4, (k, m), (s, t), (p, q)) | N? 2 H+k W+m | k=range(1, 4), m=range(1, 4), s=range(1, 4), t=range(1, 4), p=[0, 1], q=[0, 1]
ConvTranspose1d | nn.ConvTranspose1d(g * c, g * o, k, s, p, min(r, max(s, d) - 1), g, True, d) | N? g*c L+k*d+1 | g=range(1, 4), c=range(1, 3), o=range(1, 3), k=range(1, 4), s=range(1, 4), p=[0, 1], d=range(1, 3), r=[0, 1]
ConvTranspose2d | nn.ConvTranspose2d(g * c, g * o, k, s, p, min(r, max(s, d) - 1), g, True, d) | N? g*c H+k*d+1 W+k*d+1 | g=range(1, 3), c=range(1, 3), o=range(1, 3), k=range(1, 4), s=range(1, 4), p=[0, 1], d=range(1, 3), r=[0, 1]
ConvTranspose3d | nn.ConvTranspose3d(c, o, k, s, p) | N? c H+k+1 W+k+1 D+k+1 | c=range(1, 3), o=range(1, 3), k=range(1, 3), s=range(1, 3), p=[0, 1]
LazyConv1d | nn.LazyConv1d(2, 2) | N 2 5
Unfold | nn.Unfold(k, d, p, s) | N? C H+k*d W+k*d | k=range(1, 4), d=range(1, 3), p=[0, 1], s=range(1, 3)
Fold | nn.Fold((5, 4), 2) | N? 4*C 12
"""

POOLING = """
MaxPool1d | nn.MaxPool1d(k, s, k // 2 if half else 0, ceil_mode=ceil) | N? C L+k | k=range(1, 4), s=range(1, 4), half=[False, True], ceil=[False, True]
MaxPool2d | nn.MaxPool2d(k, s, k // 2 if half else 0, ceil_mode=ceil) | N? C H+k W+k | k=range(1, 4), s=range(1, 4), half=[False, True], ceil=[False, True]
MaxPool3d | nn.MaxPool3d(k, s, ceil_mode=ceil) | N? C H+k W+k D+k | k=range(1, 3), s=range(1, 3), ceil=[False, True]
MaxPool1d indices | nn.MaxPool1d(2, return_indices=True) | N? C L+2
MaxPool2d indices | nn.MaxPool2d(2, return_indices=True) | N? C H+2 W+2
MaxPool3d indices | nn.MaxPool3d(2, return_indices=True) | N? C H+2 W+2 D+2
MaxUnpool1d | Unpool(nn.MaxPool1d, nn.MaxUnpool1d) | N? C 2*L
MaxUnpool2d | Unpool(nn.MaxPool2d, nn.MaxUnpool2d) | N? C 2*H 2*W
MaxUnpool3d | Unpool(nn.MaxPool3d, nn.MaxUnpool3d) | N? C 2*H 2*W 2*D
AvgPool1d | nn.AvgPool1d(k, s, k // 2 if half else 0, ceil, pad) | N? C L+k | k=range(1, 4), s=range(1, 4), half=[False, True], ceil=[False, True], pad=[False, True]
AvgPool2d | nn.AvgPool2d(k, s, k // 2 if half else 0, ceil, pad, div) | N? C H+k W+k | k=range(1, 4), s=range(1, 4), half=[False, True], ceil=[False, True], pad=[False, True], div=[None, 5]
AvgPool3d | nn.AvgPool3d(k, s, ceil_mode=ceil) | N? C H+k W+k D+k | k=range(1, 3), s=range(1, 3), ceil=[False, True]
LPPool1d p={1.0,2.0,3.0,1.5} | nn.LPPool1d($, k, s) | N? C L+k | k=range(1, 4), s=range(1, 4)
LPPool2d p={1.0,2.0,3.0,1.5} | nn.LPPool2d($, k, s) | N? C H+k W+k | k=range(1, 4), s=range(1, 4)
LPPool3d p={1.0,2.0} | nn.LPPool3d($, k, s) | N? C H+k W+k D+k | k=range(1, 3), s=range(1, 3)
LPPool1d positive | nn.LPPool1d(1.5, k, s) | N? C L+k > 0.1 | k=range(1, 4), s=range(1, 4)
LPPool2d positive | nn.LPPool2d(1.5, k, s) | N? C H+k W+k > 0.1 | k=range(1, 4), s=range(1, 4)
FractionalMaxPool2d | nn.FractionalMaxPool2d(k, output_ratio=r) | N? C H+5 W+5 | k=range(1, 4), r=[0.5, 0.7]
FractionalMaxPool3d | nn.FractionalMaxPool3d(2, output_ratio=0.5) | N? C H+5 W+5 D+5
{AdaptiveMaxPool1d,AdaptiveAvgPool1d} | nn.$(n) | N? C L | n=range(1, 6)
{AdaptiveMaxPool2d,AdaptiveAvgPool2d} | nn.$(n) | N? C H W | n=range(1, 5)
{AdaptiveMaxPool3d,AdaptiveAvgPool3d} | nn.$(n) | N? C H W D | n=range(1, 4)
{ReflectionPad1d,ReplicationPad1d,ZeroPad1d,CircularPad1d} | nn.$(p) | N? C L+2 | p=[(1, 0), (1, 2), (0, 1)]
{ReflectionPad2d,ReplicationPad2d,ZeroPad2d,CircularPad2d} | nn.$(p) | N? C H+2 W+2 | p=[1, (1, 0, 2, 1)]
{ReflectionPad3d,ReplicationPad3d,ZeroPad3d,CircularPad3d} | nn.$(1) | N? C H+1 W+1 D+1
{ConstantPad1d,ConstantPad2d} | nn.$(p, 2.5) | N? C H+2 W+2 | p=[1, 2, -1]
"""

NORMS = """
BatchNorm1d | nn.BatchNorm1d(C, e, m, affine, track) | N+1 C L | C=range(1, 5), e=[1e-5, 0.1], m=[0.1, None], affine=[True, False], track=[True, False]
BatchNorm1d training | nn.BatchNorm1d(C, e, m, affine, track) | N+1 C L | C=range(1, 5), e=[1e-5, 0.1], m=[0.1, None], affine=[True, False], track=[True, False], training=True
BatchNorm1d of rows | nn.BatchNorm1d(C) | N+1 C | C=range(1, 5)
BatchNorm1d of rows training | nn.BatchNorm1d(C) | N+2 C | C=range(1, 5), training=True
BatchNorm2d | nn.BatchNorm2d(C, 0.1, affine=affine) | N+1 C H W | C=range(1, 5), affine=[True, False]
BatchNorm2d training | nn.BatchNorm2d(C, 0.1, affine=affine) | N+1 C H W+1 | C=range(1, 5), affine=[True, False], training=True
BatchNorm3d | nn.BatchNorm3d(C, 0.1) | N+1 C D H W | C=range(1, 4)
BatchNorm3d training | nn.BatchNorm3d(C, 0.1) | N+1 C D H W+1 | C=range(1, 4), training=True
LazyBatchNorm1d | nn.LazyBatchNorm1d() | N+1 3
SyncBatchNorm | nn.SyncBatchNorm(C) | N+1 C H W | C=range(1, 4)
InstanceNorm1d | nn.InstanceNorm1d(C, affine=affine, track_running_stats=track) | N? C L+1 | C=range(1, 5), affine=[False, True], track=[False, True]
InstanceNorm1d training | nn.InstanceNorm1d(C, affine=affine, track_running_stats=track) | N? C L+1 | C=range(1, 5), affine=[False, True], track=[False, True], training=True
InstanceNorm2d | nn.InstanceNorm2d(C, affine=affine, track_running_stats=track) | N? C H+1 W | C=range(1, 5), affine=[False, True], track=[False, True]
InstanceNorm2d training | nn.InstanceNorm2d(C, affine=affine, track_running_stats=track) | N? C H+1 W | C=range(1, 5), affine=[False, True], track=[False, True], training=True
InstanceNorm3d | nn.InstanceNorm3d(C, affine=affine, track_running_stats=track) | N? C D+1 H W | C=range(1, 4), affine=[False, True], track=[False, True]
GroupNorm | nn.GroupNorm(g, g * c, affine=affine) | N g*c L+1 | g=range(1, 4), c=range(1, 4), affine=[True, False]
LayerNorm | nn.LayerNorm(a, elementwise_affine=affine, bias=bias) | N? L a | a=range(2, 6), affine=[True, False], bias=[True, False]
LayerNorm of one | nn.LayerNorm(1) | N? L 1
LayerNorm of matrices | nn.LayerNorm((a, b)) | N? a b | a=range(2, 5), b=range(1, 5)
RMSNorm | nn.RMSNorm(a, elementwise_affine=affine) | N? L a | a=range(1, 6), affine=[True, False]
LocalResponseNorm | nn.LocalResponseNorm(n, alpha, beta, k) | N C H | n=range(1, 5), alpha=[1e-4, 0.5], beta=[0.75, 0.5], k=[1.0, 2.0]
CrossMapLRN2d | nn.CrossMapLRN2d(n, alpha, beta, k) | N C H W | n=range(1, 5), alpha=[1e-4, 0.5], beta=[0.75, 0.5], k=[1.0, 2.0]
weight_norm | P.weight_norm(nn.Linear(3, 2), dim=dim) | N 3 | dim=[0, None]
spectral_norm | P.spectral_norm(nn.Linear(3, 2)) | N 3
spectral_norm training | P.spectral_norm(nn.Linear(3, 2)) | N 3 | training=True
orthogonal {matrix_exp,cayley,householder} | P.orthogonal(nn.Linear(3, 3), orthogonal_map="$") | N 3
"""

SEQUENCES = """
{RNN,GRU,LSTM} as it is | nn.$(i, h) | T+1 N? i | i=range(1, 4), h=range(1, 4)
{RNN,GRU,LSTM} | States(nn.$(i, h, n, bias=bias, batch_first=first, bidirectional=both)) | S N+1 i | i=range(1, 4), h=range(1, 4), n=range(1, 3), bias=[True, False], first=[False, True], both=[False, True]
{RNN,GRU,LSTM} unbatched | States(nn.$(i, h)) | S i | i=range(1, 4), h=range(1, 4)
{RNN,GRU} with a state | States(nn.$(i, h)) | S N i; 1 N h | i=range(1, 4), h=range(1, 4)
{RNN,GRU,LSTM} dropout training | States(nn.$(i, h, 2, dropout=0.4)) | S N i | i=range(1, 4), h=range(1, 4), training=True
LSTM projected | States(nn.LSTM(i, h + 1, proj_size=1)) | S N i | i=range(1, 4), h=range(1, 4)
RNNCell | nn.RNNCell(i, h, bias, f) | N? i; N? h | i=range(1, 4), h=range(1, 4), bias=[True, False], f=["tanh", "relu"]
GRUCell | nn.GRUCell(i, h, bias) | N? i; N? h | i=range(1, 4), h=range(1, 4), bias=[True, False]
LSTMCell | nn.LSTMCell(i, h) | N? i | i=range(1, 4), h=range(1, 4)
MultiheadAttention | nn.MultiheadAttention(e * n, n, bias=bias, add_bias_kv=kv, add_zero_attn=zero) | L N? e*n; S N? e*n; S N? e*n | e=range(1, 4), n=range(1, 3), bias=[True, False], kv=[False, True], zero=[False, True]
MultiheadAttention of other sizes | nn.MultiheadAttention(4, 2, kdim=k, vdim=v) | L N 4; S N k; S N v | k=range(1, 4), v=range(1, 4)
MultiheadAttention training | nn.MultiheadAttention(4, 2, dropout=0.3) | L N 4; S N 4; S N 4 | training=True
MultiheadAttention without weights | WithoutWeights() | L N 4
TransformerEncoderLayer {relu,gelu} | nn.TransformerEncoderLayer(4, 2, 5, 0.0, "$", norm_first=first) | S N? 4 | first=[False, True]
TransformerDecoderLayer {relu,gelu} | nn.TransformerDecoderLayer(4, 2, 5, 0.0, "$") | S N? 4; R N? 4
TransformerEncoderLayer training | nn.TransformerEncoderLayer(4, 2, 5, 0.2) | S N? 4 | training=True
TransformerEncoderLayer batch first | nn.TransformerEncoderLayer(4, 2, 5, batch_first=True) | N S 4
TransformerEncoder | nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 5, 0.0), 2) | S N? 4
TransformerDecoder | nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 5, 0.0), 2) | S N? 4; R N? 4
Transformer | nn.Transformer(4, 2, 1, 1, 5, 0.0) | S N? 4; R N? 4
Embedding | nn.Embedding(n, d) | N T below n | n=range(2, 6), d=range(1, 4)
Embedding padding_idx | nn.Embedding(n, d, padding_idx=1) | N T below n | n=range(2, 6), d=range(1, 4)
Embedding scale_grad_by_freq | nn.Embedding(n, d, scale_grad_by_freq=True) | N T below n | n=range(2, 6), d=range(1, 4)
Embedding max_norm | nn.Embedding(n, d, max_norm=0.5) | N T below n | n=range(2, 6), d=range(1, 4)
Embedding sparse | nn.Embedding(n, d, sparse=True) | N T below n | n=range(2, 6), d=range(1, 4)
EmbeddingBag {sum,mean,max} | nn.EmbeddingBag(n, d, mode="$") | N+1 S below n | n=range(2, 6), d=range(1, 4)
Embedding then BatchNorm1d | nn.Sequential(nn.Embedding(5, 3), nn.BatchNorm1d(3)) | N below 5
"""

DISTANCES = """
CosineSimilarity | nn.CosineSimilarity(dim) | N C L; N C L | dim=[1, -1, 0]
PairwiseDistance p={1.0,2.0,3.0,float("inf")} | nn.PairwiseDistance($, keepdim=keep) | N? C; N? C | keep=[False, True]
PixelShuffle | nn.PixelShuffle(r) | N? r*r*C H W | r=range(1, 4)
PixelUnshuffle | nn.PixelUnshuffle(r) | N? C r*H r*W | r=range(1, 4)
ChannelShuffle | nn.ChannelShuffle(g) | N g*C H | g=range(1, 4)
Upsample {nearest,nearest-exact,area} | nn.Upsample(scale_factor=s, mode="$") | N C H W | s=[1.0, 2.0, 1.5, 3.0]
Upsample {bilinear,bicubic} | nn.Upsample(scale_factor=s, mode="$", align_corners=a) | N C H W | s=[1.0, 2.0, 1.5, 3.0], a=[False, True]
Upsample {bilinear,bicubic} to a size | nn.Upsample(size=s, mode="$", align_corners=a) | N C H W | s=range(1, 7), a=[False, True]
Upsample linear | nn.Upsample(size=s, mode="linear", align_corners=a) | N C L | s=range(1, 7), a=[False, True]
Upsample trilinear | nn.Upsample(size=s, mode="trilinear", align_corners=a) | N C D H W | s=range(1, 4), a=[False, True]
UpsamplingNearest2d | nn.UpsamplingNearest2d(scale_factor=s) | N C H W | s=[1, 2, 3]
UpsamplingBilinear2d | nn.UpsamplingBilinear2d(scale_factor=s) | N C H W | s=[1, 2, 3]
"""

LOSSES = """
{L1Loss,MSELoss} | nn.$(reduction=r) | N? C; N? C | r=["mean", "sum", "none"]
HuberLoss | nn.HuberLoss(r, delta) | N? C; N? C | r=["mean", "sum", "none"], delta=[1.0, 0.3]
SmoothL1Loss | nn.SmoothL1Loss(reduction=r, beta=beta) | N? C; N? C | r=["mean", "sum", "none"], beta=[1.0, 0.3, 0.0]
CrossEntropyLoss | nn.CrossEntropyLoss(reduction=r, label_smoothing=s) | N? C; N? below C | r=["mean", "sum", "none"], s=[0.0, 0.1]
CrossEntropyLoss weighted | nn.CrossEntropyLoss(torch.tensor([0.3, 1.0, 2.0]), reduction=r, ignore_index=1) | N 3; N below 3 | r=["sum", "none"]
CrossEntropyLoss of probabilities | nn.CrossEntropyLoss(reduction=r, label_smoothing=s) | N C; N C in 0 1 | r=["mean", "sum", "none"], s=[0.0, 0.1]
CrossEntropyLoss of pictures | nn.CrossEntropyLoss(reduction=r) | N C H W; N H W below C | r=["mean", "sum", "none"]
NLLLoss | nn.NLLLoss(reduction=r) | N? C; N? below C | r=["mean", "sum", "none"]
NLLLoss weighted | nn.NLLLoss(torch.tensor([0.3, 1.0, 2.0]), reduction=r) | N 3 H; N H below 3 | r=["mean", "sum", "none"]
PoissonNLLLoss | nn.PoissonNLLLoss(log, full, reduction=r) | N C in 0.1 3; N C in 0.1 5 | log=[True, False], full=[False, True], r=["mean", "sum", "none"]
GaussianNLLLoss | nn.GaussianNLLLoss(full=full, reduction=r) | N C; N C; N C > 0 | full=[False, True], r=["mean", "sum", "none"]
GaussianNLLLoss clamped | nn.GaussianNLLLoss(eps=0.5) | N C; N C; N C > 0
KLDivLoss | nn.KLDivLoss(reduction=r, log_target=log) | N C; N C in 0 1 | log=[False, True], r=["sum", "none", "batchmean"]
BCELoss | nn.BCELoss(reduction=r) | N C in 0 1; N C in 0 1 | r=["mean", "sum", "none"]
BCEWithLogitsLoss | nn.BCEWithLogitsLoss(reduction=r) | N C; N C | r=["mean", "sum", "none"]
BCEWithLogitsLoss weighted | nn.BCEWithLogitsLoss(reduction=r, pos_weight=torch.tensor([2.0])) | N C; N C in 0 1 | r=["mean", "sum", "none"]
MarginRankingLoss | nn.MarginRankingLoss(m, reduction=r) | N; N; N integer signs | m=[0.0, 0.3], r=["mean", "sum", "none"]
HingeEmbeddingLoss | nn.HingeEmbeddingLoss(m, reduction=r) | N C; N C integer signs | m=[1.0, 0.3], r=["mean", "sum", "none"]
MultiLabelSoftMarginLoss | nn.MultiLabelSoftMarginLoss(reduction=r) | N C; N C in 0 1 | r=["mean", "sum", "none"]
MultiLabelMarginLoss | nn.MultiLabelMarginLoss(reduction=r) | N 2; N 2 below 2 | r=["mean", "sum", "none"]
SoftMarginLoss | nn.SoftMarginLoss(reduction=r) | N C; N C integer signs | r=["mean", "sum", "none"]
SoftMarginLoss of floats | nn.SoftMarginLoss(reduction=r) | N C; N C signs | r=["mean", "sum", "none"]
CosineEmbeddingLoss | nn.CosineEmbeddingLoss(m, reduction=r) | N C; N C; N integer signs | m=[0.0, 0.3], r=["mean", "sum", "none"]
MultiMarginLoss | nn.MultiMarginLoss(p, m, reduction=r) | N? C; N? below C | p=[1, 2], m=[1.0, 0.3], r=["mean", "sum", "none"]
TripletMarginLoss | nn.TripletMarginLoss(m, p, swap=swap, reduction=r) | N C; N C; N C | m=[1.0, 0.3], p=[2.0, 1.0, 3.0], swap=[False, True], r=["mean", "sum", "none"]
TripletMarginWithDistanceLoss | nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance(), swap=swap) | N C; N C; N C | swap=[False, True]
CTCLoss | CTC(r, soft=True) | S+4 N 4; N 2 below 4 | r=["mean", "sum", "none"]
CTCLoss of raw numbers | CTC(r, soft=False) | S+4 N 4; N 2 below 4 | r=["mean", "sum", "none"]
AdaptiveLogSoftmaxWithLoss | Listed(nn.AdaptiveLogSoftmaxWithLoss(4, 7, [2, 4])) | N 4; N below 7
"""

CHAINS = """
chain | Chain() | N+1 2 3 4
chain training | Chain() | N+1 2 3 4 | training=True
tied weights | Tied() | N 3
dict of results | DictResult() | N 3
"""


class Unpool(nn.Module):
    """Pooling and back again."""

    def __init__(self, pool: Any, unpool: Any) -> None:
        super().__init__()
        self.pool, self.unpool = pool(2, return_indices=True), unpool(2)

    def forward(self, x: Any) -> Any:
        """The largest of each window, doubled, at its place."""
        y, i = self.pool(x)
        return self.unpool(y * 2, i)


class States(nn.Module):
    """A recurrent layer whose results are one list."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *x: Any) -> Any:
        """The outputs and the last states."""
        y, h = self.layer(*x)
        return [y, *(h if isinstance(h, tuple) else [h])]


class Listed(nn.Module):
    """A module whose result is a named tuple."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *x: Any) -> Any:
        """The results as a list."""
        return list(self.layer(*x))


class WithoutWeights(nn.Module):
    """Attention that returns None beside its result."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(4, 2)

    def forward(self, x: Any) -> Any:
        """(output, None)."""
        return self.layer(x, x, x, need_weights=False)


class CTC(nn.Module):
    """CTC over all frames, two labels each; a blank among the labels is made another label."""

    def __init__(self, reduction: str, *, soft: bool) -> None:
        super().__init__()
        self.reduction, self.soft = reduction, soft

    def forward(self, x: Any, t: Any) -> Any:
        """The loss."""
        x = x.log_softmax(-1) if self.soft else x
        frames = torch.full((x.shape[1],), x.shape[0])
        labels = torch.full((x.shape[1],), t.shape[1])
        return F.ctc_loss(x, t.clamp(min=1), frames, labels, reduction=self.reduction)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight

    def forward(self, x: Any) -> Any:
        """b(tanh(a(x)))."""
        return self.b(torch.tanh(self.a(x)))


class DictResult(nn.Module):
    """A module that returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        """The result under a name."""
        return {"y": self.a(x)}


def Chain() -> nn.Module:  # called as the classes beside it
    """A small network of convolutions."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip


# what the tables call by name
NAMES: dict[str, Any] = {**globals(), "P": parametrizations}


def _maker(row: Row, options: dict[str, Any]) -> Callable[..., Any]:
    code = row.code or f"nn.{row.name}({', '.join(f'{name}={name}' for name in options)})"
    # a maker with the options for parameters, which is how check_torch knows it for one
    return eval(f"lambda {', '.join(options)}: {code}", dict(NAMES))


def _subject(row: Row) -> Callable[[str], Any]:
    known = inspect.signature(check_torch).parameters
    own = {name: value for name, value in row.options.items() if name in known}
    options = {name: value for name, value in row.options.items() if name not in known}
    maker = _maker(row, options)
    maker.__name__ = row.name
    return lambda profile: check_torch(
        maker, *row.inputs, profile=profile, raise_error=False, **own, **options
    )


TABLES = (ACTIVATIONS, LINEAR, POOLING, NORMS, SEQUENCES, DISTANCES, LOSSES, CHAINS)
SUBJECTS = {f"nn.{row.name}": _subject(row) for table in TABLES for row in rows(table)}
