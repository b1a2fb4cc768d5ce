"""Small networks of the kinds that people keep in files, for the tests of all file formats.

ARCHITECTURES: name -> function without arguments -> (module in evaluate mode, shape of its input
with the batch).  Weights and running statistics are drawn anew in each call, from a fixed seed, so
that nothing that a file must hold is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tapegrad import nn, no_grad
from tapegrad.nn import (
    ELU,
    CAddTable,
    CMulTable,
    Concat,
    ConcatTable,
    Dropout,
    Identity,
    JoinTable,
    LeakyReLU,
    Linear,
    PReLU,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    SoftMax,
    SpatialAveragePooling,
    SpatialBatchNormalization,
    SpatialConvolution,
    SpatialCrossMapLRN,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
    SpatialMaxPooling,
    Tanh,
    View,
)

Shape = tuple[int, ...]
Architecture = Callable[[], "tuple[nn.Module, Shape]"]
ARCHITECTURES: dict[str, Architecture] = {}


def architecture(make: Callable[[], tuple[nn.Module, Shape]]) -> Architecture:
    def made() -> tuple[nn.Module, Shape]:
        nn.manual_seed(3)
        module, shape = make()
        return prepared(module), shape

    ARCHITECTURES[make.__name__] = made
    return made


def prepared(module: nn.Module) -> nn.Module:
    """The module in evaluate mode, with drawn running statistics and biases."""
    random = np.random.default_rng(5)
    with no_grad():
        for each in module.listModules():
            if isinstance(each, nn.BatchNormalization):
                size = each.running_mean.shape
                each.running_mean.assign(random.normal(0, 0.3, size).astype(np.float32))
                each.running_var.assign(random.uniform(0.5, 2, size).astype(np.float32))
                if each.bias is not None:
                    each.bias[...] = random.normal(0, 0.3, size).astype(np.float32)
            if isinstance(each, PReLU):
                each.weight[...] = random.uniform(0.1, 0.4, each.weight.shape).astype(np.float32)
    return module.evaluate()


def conv(n_in: int, n_out: int, k: int, stride: int = 1, pad: int = 0, **more: int) -> nn.Module:
    return SpatialConvolution(n_in, n_out, k, k, stride, stride, pad, pad, **more)


def max_pool(k: int, stride: int, pad: int = 0) -> SpatialMaxPooling:
    return SpatialMaxPooling(k, k, stride, stride, pad, pad)


def batch_norm(planes: int, **more: bool) -> nn.Module:
    return SpatialBatchNormalization(planes, **more)


def unbiased(*arguments: int) -> nn.Module:
    return conv(*arguments).noBias()


@architecture
def mlp():
    return Sequential(Linear(12, 9), Tanh(), Linear(9, 4), SoftMax()), (3, 12)


@architecture
def lenet():
    features = Sequential(conv(1, 4, 5), Tanh(), max_pool(2, 2), conv(4, 6, 5), Tanh())
    tail = (max_pool(2, 2), View(6 * 4 * 4).setNumInputDims(3), Linear(96, 10), Tanh())
    return Sequential(*features.modules, *tail, Linear(10, 5), SoftMax()), (2, 1, 28, 28)


@architecture
def vgg_block():
    module = Sequential(conv(3, 4, 3, 1, 1), ReLU(), conv(4, 4, 3, 1, 1), ReLU(), max_pool(2, 2))
    module.add(View(4 * 8 * 8).setNumInputDims(3)).add(Linear(256, 7)).add(ReLU())
    return module.add(Dropout(0.5)).add(Linear(7, 5)).add(SoftMax()), (2, 3, 16, 16)


@architecture
def resnet_block():
    inner = Sequential(unbiased(4, 4, 3, 1, 1), batch_norm(4), ReLU())
    inner.add(unbiased(4, 4, 3, 1, 1)).add(batch_norm(4))
    block = Sequential(ConcatTable(inner, Identity()), CAddTable(), ReLU())
    return Sequential(conv(3, 4, 3, 1, 1), batch_norm(4), ReLU(), block), (2, 3, 8, 8)


@architecture
def resnet_downsampling():
    inner = Sequential(unbiased(4, 8, 3, 2, 1), batch_norm(8), ReLU(), unbiased(8, 8, 3, 1, 1))
    short = Sequential(unbiased(4, 8, 1, 2), batch_norm(8))
    block = Sequential(ConcatTable(inner.add(batch_norm(8)), short), CAddTable(), ReLU())
    tail = (SpatialAveragePooling(4, 4), View(8).setNumInputDims(3), Linear(8, 3))
    return Sequential(block, *tail), (2, 4, 8, 8)


@architecture
def inception_block():
    module = Concat(
        1,
        Sequential(conv(3, 2, 1), ReLU()),
        Sequential(conv(3, 3, 1), ReLU(), conv(3, 4, 3, 1, 1), ReLU()),
        Sequential(conv(3, 2, 1), ReLU(), conv(2, 3, 5, 1, 2), ReLU()),
        Sequential(max_pool(3, 1, 1), conv(3, 2, 1), ReLU()),
    )
    return module, (2, 3, 9, 9)


@architecture
def depthwise():
    module = Sequential(conv(6, 6, 3, 1, 1, nGroup=6), batch_norm(6), ReLU(), conv(6, 4, 1))
    return module.add(batch_norm(4)).add(ReLU()), (2, 6, 8, 8)


@architecture
def depthwise_strided():
    module = Sequential(conv(3, 4, 3, 2, 1), batch_norm(4), ReLU())
    return module.add(conv(4, 4, 3, 2, 1, nGroup=4)).add(conv(4, 6, 1)), (1, 3, 16, 16)


@architecture
def dilated():
    module = Sequential(SpatialDilatedConvolution(3, 4, 3, 3, 1, 1, 2, 2, 2, 2), ReLU())
    return module.add(SpatialDilatedConvolution(4, 2, 3, 3, 1, 1, 0, 0, 3, 3)), (2, 3, 14, 14)


@architecture
def grouped():
    return Sequential(conv(4, 6, 3, 1, 1, nGroup=2), ReLU(), conv(6, 4, 3, 2, 1)), (2, 4, 9, 9)


@architecture
def deconvolution():
    module = Sequential(conv(3, 4, 3, 2, 1), ReLU(), SpatialFullConvolution(4, 2, 4, 4, 2, 2, 1, 1))
    return module, (2, 3, 8, 8)


@architecture
def lrn_across():
    module = Sequential(conv(3, 6, 3), ReLU(), SpatialCrossMapLRN(5, 1e-2, 0.75, 1))
    return module.add(max_pool(3, 2)), (2, 3, 11, 11)


@architecture
def prelu():
    return Sequential(conv(3, 4, 3), PReLU(4), conv(4, 2, 1), PReLU(2)), (2, 3, 7, 7)


@architecture
def elu_and_leaky():
    module = Sequential(conv(3, 4, 3), ELU(1.0), conv(4, 4, 3), LeakyReLU(0.2))
    return module, (2, 3, 8, 8)


@architecture
def sigmoid_gate():
    gates = ConcatTable(Sequential(conv(3, 4, 1), Sigmoid()), Sequential(conv(3, 4, 1), Tanh()))
    return Sequential(gates, CMulTable()), (2, 3, 6, 6)


@architecture
def average_pooling():
    module = Sequential(conv(2, 3, 3, 1, 1), SpatialAveragePooling(2, 2, 2, 2), ReLU())
    return module.add(SpatialAveragePooling(2, 2, 2, 2)), (2, 2, 8, 8)


@architecture
def ceil_pooling():
    return Sequential(conv(2, 3, 3), max_pool(3, 2).ceil(), conv(3, 2, 1)), (2, 2, 12, 12)


@architecture
def global_pooling():
    module = Sequential(conv(3, 5, 3, 1, 1), ReLU())
    pool = SpatialAveragePooling(1, 1, globalPooling=True)
    return module.add(pool).add(View(5).setNumInputDims(3)).add(SoftMax()), (2, 3, 6, 6)


@architecture
def squeezenet_fire():
    expand = Concat(1, Sequential(conv(3, 4, 1), ReLU()), Sequential(conv(3, 4, 3, 1, 1), ReLU()))
    return Sequential(conv(6, 3, 1), ReLU(), expand, conv(8, 5, 1)), (2, 6, 7, 7)


@architecture
def mobilenet_v2_block():
    inner = Sequential(unbiased(4, 12, 1), batch_norm(12), ReLU())
    inner.add(conv(12, 12, 3, 1, 1, nGroup=12).noBias()).add(batch_norm(12)).add(ReLU())
    inner.add(unbiased(12, 4, 1)).add(batch_norm(4))
    return Sequential(ConcatTable(Identity(), inner), CAddTable()), (2, 4, 7, 7)


@architecture
def dense_block():
    first = Sequential(batch_norm(4), ReLU(), unbiased(4, 3, 3, 1, 1))
    second = Sequential(batch_norm(7), ReLU(), unbiased(7, 3, 3, 1, 1))
    blocks = [Sequential(ConcatTable(Identity(), f), JoinTable(1)) for f in (first, second)]
    return Sequential(*blocks), (2, 4, 6, 6)


@architecture
def plain_batch_norm():
    module = Sequential(conv(3, 4, 3), batch_norm(4, affine=False), ReLU(), conv(4, 2, 1))
    return module, (2, 3, 6, 6)


@architecture
def rectangular():
    module = Sequential(SpatialConvolution(2, 3, 5, 3, 2, 1, 2, 1), ReLU())
    return module.add(SpatialMaxPooling(3, 2, 1, 2)), (2, 2, 9, 12)


@architecture
def graph_of_branches():
    data = nn.Input("data")
    left = ReLU()(conv(3, 4, 3, 1, 1).setName("left")(data))
    right = Sigmoid()(conv(3, 4, 3, 1, 1).setName("right")(data))
    joined = JoinTable(1).setName("joined")(left, right)
    summed = CAddTable().setName("summed")(left, right)
    last = JoinTable(1)(joined, conv(4, 2, 1).setName("last")(summed))
    return nn.gModule(data, last), (2, 3, 6, 6)


@architecture
def two_outputs():
    data = nn.Input("image")
    trunk = ReLU()(conv(3, 4, 3, 1, 1).setName("trunk")(data))
    classes = conv(4, 3, 1).setName("classes")(trunk)
    boxes = conv(4, 8, 1).setName("boxes")(trunk)
    return nn.gModule(data, [classes, boxes]), (2, 3, 5, 5)


@architecture
def fully_connected_reshape():
    module = Sequential(Linear(6, 16), ReLU(), Reshape(4, 2, 2, batchMode=True), conv(4, 3, 1))
    return module, (2, 6)
