"""MXNet's example of 2016, a LeNet on handwritten digits, from arrays and from idx files."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tapegrad.nn import mxnet as mx

pytestmark = pytest.mark.extra  # scikit-learn has the digits
BATCH = 50


def digits():
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = np.repeat(np.repeat(found.images[order] * 15.9, 2, 1), 2, 2).astype(np.uint8)
    return images, found.target[order].astype(np.uint8)  # (1797, 16, 16), (1797,)


def write_idx(path, values):
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(head + values.tobytes())


def from_arrays(folder, images, labels, shuffle):
    data = images[:, None].astype(np.float32) / 255
    return mx.io.NDArrayIter(data, labels, BATCH, shuffle=shuffle)


def from_idx(folder, images, labels, shuffle):
    name = "train" if shuffle else "t10k"
    image, label = folder / f"{name}-images-idx3-ubyte", folder / f"{name}-labels-idx1-ubyte"
    write_idx(image, images)
    write_idx(label, labels)
    return mx.io.MNISTIter(
        image=str(image), label=str(label), batch_size=BATCH, shuffle=shuffle, flat=False
    )


# MNISTIter is asked for by its name where this tree has it.
SOURCES = {"NDArrayIter": from_arrays, "MNISTIter": from_idx}


def lenet():
    y = mx.sym.Variable("data")
    for count in (8, 16):
        y = mx.sym.Convolution(y, kernel=(3, 3), num_filter=count)
        y = mx.sym.Activation(y, act_type="tanh")
        y = mx.sym.Pooling(y, pool_type="max", kernel=(2, 2), stride=(2, 2))
    y = mx.sym.FullyConnected(mx.sym.Flatten(y), num_hidden=64)
    y = mx.sym.Activation(y, act_type="tanh")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(y, num_hidden=10), name="softmax")


@pytest.mark.parametrize("source", [name for name in SOURCES if hasattr(mx.io, name)])
def test_lenet_learns_the_digits(source, tmp_path):
    np.random.seed(0)  # noqa: NPY002  # NDArrayIter shuffles with it, as MXNet's
    mx.random.seed(0)
    images, labels = digits()
    train = SOURCES[source](tmp_path, images[:1500], labels[:1500], True)
    held_out = SOURCES[source](tmp_path, images[1500:], labels[1500:], False)
    module = mx.mod.Module(lenet())
    module.fit(
        train, eval_data=held_out, num_epoch=12, initializer=mx.init.Xavier(),
        optimizer_params={"learning_rate": 0.1, "momentum": 0.9},
    )  # fmt: skip
    assert module.score(held_out, "acc")[0][1] > 0.95
