"""Examples for nn/recurrent/; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd import Tensor
from tapegrad.autograd.check import Layer


def sequences(make, least=1):
    """(T, N, D), samples apart along N, which is not the first axis."""

    def draw(d):
        t, n, size = d.size("T", least, 3), d.size("N"), d.size("D", 1, 3)
        shape = (t, n, size)
        return Layer(make(d, size), d.array(shape, large=3.0), d.array((t, n, size + 1)))

    return draw


def one_step(make):
    def draw(d):
        n, size = d.size("N"), d.size("D", 1, 3)
        x = d.array((n, size), large=3.0)
        return Layer(make(d, size), x, d.array((n, size + 1)), "always")

    return draw


def of_sizes(kind):
    return lambda d, size: kind(size, d.size("H", 1, 3))


def projected(kind):
    def make(d, size):
        output = d.choice([(), (2,)])
        return kind(size, d.size("H", 1, 3), *output)

    return make


def step_lstm(d):
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    o = d.choice([h, h + 1])
    x = [d.array((n, k), large=3.0) for k in (size, o, h)]
    return Layer(nn.StepLSTM(size, h, o), x, [x[0], x[1], d.array((n, h + 1))], "always")


def step_gru(d):
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    x = [d.array((n, k), large=3.0) for k in (size, h)]
    return Layer(nn.StepGRU(size, h), x, x[:1], "always")


def masked_sequence(kind):
    """Sometimes with padding, said by a mask."""

    def draw(d):
        layer = sequences(projected(kind) if kind is nn.SeqLSTM else of_sizes(kind))(d)
        if d.choice([False, True]):
            layer.module.setZeroMask(d.rng.random(layer.input.shape[:2]) < 0.4)
        if kind in (nn.SeqLSTM, nn.SeqGRU) and d.choice([False, True]):
            states = first_states(d, layer.module, layer.input.shape[1])
            layer.input, layer.wrong = [layer.input, states], [layer.wrong, states]
        return layer

    return draw


def first_states(d, module, n):
    h = d.array((n, module.outputsize))
    return [h, d.array((n, module.hiddensize))] if isinstance(module, nn.SeqLSTM) else h


def stepped(d, size):
    """What a Sequencer may hold."""
    h = d.size("H", 1, 3)
    kind = d.choice([nn.RecGRU, nn.LSTM, nn.FastLSTM, nn.Linear])
    if d.choice([True, False]):
        return kind(size, h)
    return nn.Sequential(kind(size, h), nn.Linear(h, 2))


def listed_steps(d):
    """A list of steps instead of an array."""
    layer = sequences(lambda d, size: nn.Sequencer(stepped(d, size)))(d)
    if d.choice([True, False]):
        layer.input, layer.wrong = list(layer.input), list(layer.wrong)
        layer.input = [np.array(step) for step in layer.input]
    return layer


def lookup_rnn(d):
    n, h = d.size("N"), d.size("H", 1, 3)
    return Layer(nn.LookupRNN(4, h), d.integers((n,), 0, 4), d.integers((n, 2), 0, 4))


def lookup(make):
    def draw(d):
        shape = d.shape("N A?")
        module, low, high = make(d)
        wrong = np.full(shape, 5)
        return Layer(module, d.integers(shape, low, high), None if 0 in shape else wrong)

    return draw


def embedding(d):
    """Never at the padding: that its row gets no gradient is no derivative, and tested apart."""
    padding = d.choice([None, -1])
    return nn.Embedding(5, 3, padding), 0, 5 if padding is None else 4


def mask_zero(d):
    n, size = d.size("N"), d.size("D", 1, 3)
    v1 = d.choice([True, False])
    module = nn.MaskZero(nn.Linear(size, 2), v1, d.choice([True, False]))
    if not v1:
        module.setZeroMask(d.booleans((n,)))
    x = d.array((n, size))
    return Layer(module, x, d.array((n, size + 1)), "always" if v1 else None)


def recurrence(d):
    """A network of an input and the last output, joined along their last axis."""
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    step = nn.Sequential(nn.JoinTable(0, 1), nn.Linear(size + h, h), nn.Tanh())
    shape = d.choice([(n, size), (size,)])
    x = d.array(shape, large=3.0)
    return Layer(nn.Recurrence(step, h, 1), x, d.array((*shape[:-1], size + 1)))


def with_states(d):
    """A run over time, or a layer over entire sequences, with its first and last states."""
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    if d.choice([False, True]):
        module, states = nn.SeqBGRU(size, h), [d.array((n, h)) for _ in range(2)]
    else:
        cells = nn.Sequential(nn.FastLSTM(size, h), nn.Tanh(), nn.RecGRU(h, h))
        hidden = [d.array((n, h)) for _ in range(3)]
        module, states = nn.Sequencer(cells), [[hidden[:2], hidden[2]]]
    x = d.array((d.size("T", 1, 3), n, size), large=3.0)
    return Layer(nn.WithStates(module), [x, states], [x, states[:-1]])


def rnn_layer(d):
    """Every cell and option; sometimes with states in and out."""
    cell, first, both = d.choice(["lstm", "gru", "tanh"]), d.choice([0, 1]), d.choice([0, 1])
    layers, size, h = d.choice([1, 2]), d.size("D", 1, 3), d.size("H", 1, 3)
    t, n = d.size("T", 1, 3), d.size("N")
    module = nn.RNNLayer(
        cell, size, h, layers, d.choice([True, False]), bool(first), d.choice([0.0, 0.25]), both
    )
    x = d.array((n, t, size) if first else (t, n, size), large=3.0)
    wrong = d.array((*x.shape[:2], size + 1))
    if d.choice([True, False]):
        return Layer(module, x, wrong, "evaluate" if first else None)
    h, c = (d.array((layers * (1 + both), n, h)) for _ in range(2))
    states = [h, c] if cell == "lstm" else h
    return Layer(module, [x, states], [wrong, states])


def tanh_or_none(d):
    return d.choice([None, nn.Sigmoid()])


def any_cell(d, size, hidden):
    kind = d.choice(["rnn", "lstm", "peephole", "gru"])
    if kind == "rnn":
        return nn.RnnCell(size, hidden, tanh_or_none(d), d.choice([True, False]))
    if kind == "peephole":
        return nn.LSTMPeephole(size, hidden)
    return {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[kind](size, hidden, 0, tanh_or_none(d))


def cell_step(make):
    """One step, from a state or from zeros."""

    def draw(d):
        n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
        module = make(d, size, h)
        x, wrong = d.array((n, size), large=3.0), d.array((n, size + 1))
        batch = "evaluate" if getattr(module, "p", 0) else "always"
        if d.choice([True, False]):
            return Layer(module, x, wrong, batch)
        state = module.start(Tensor(x))
        state = [d.array((n, h)) for _ in state] if isinstance(state, list) else d.array((n, h))
        return Layer(module, [x, state], [wrong, state], batch)

    return draw


def rate(d):
    return d.choice([0, 0, 0.25])


def stacked_cells(d, size, h):
    return nn.MultiRNNCell([nn.LSTMCell(size, 2), nn.GRUCell(2, h)])


def stacked_step(d):
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    module = stacked_cells(d, size, h)
    return Layer(module, d.array((n, size), large=3.0), d.array((n, size + 1)), "always")


def image_cell(kind, sides):
    def draw(d):
        n, planes, h = d.size("N"), d.size("C", 1, 2), d.size("H", 1, 2)
        own = tuple(d.integer(2, 3) for _ in range(sides))
        peeps = d.choice([True, False])
        module = kind(planes, h, d.choice([1, 3]), d.choice([1, 3]), withPeephole=peeps)
        wrong = d.array((n, planes + 1, *own))
        return Layer(module, d.array((n, planes, *own), large=3.0), wrong, "always")

    return draw


def recurrent(d):
    n, t, size, h = d.size("N"), d.size("T", 1, 3), d.size("D", 1, 3), d.size("H", 1, 3)
    if d.choice([False, False, True]):
        module = nn.Recurrent({"eps": 1e-2}).add(nn.LSTMCell(size, h))
        return Layer(module, d.array((n + 1, t, size)), d.array((n, t, size + 1)), "evaluate")
    masked = d.choice([True, False])
    module = nn.Recurrent(maskZero=masked).add(any_cell(d, size, h))
    x = d.array((n, t, size), large=3.0)
    if masked and t > 1:
        x[:, -1] = 0
    return Layer(module, x, d.array((n, t, size + 1)), "always")


def decoder(d):
    n, size = d.size("N"), d.size("D", 1, 3)
    cells = [nn.LSTMCell(size, size), stacked_cells(d, size, size)]
    module = nn.RecurrentDecoder(d.integer(1, 3)).add(d.choice(cells))
    return Layer(module, d.array((n, size), large=3.0), d.array((n, size + 1)), "always")


def both_ways(d):
    n, t, size, h = d.size("N"), d.size("T", 1, 3), d.size("D", 1, 2), d.size("H", 1, 3)
    split, joined = d.choice([True, False]), d.choice([True, False])
    module = nn.BiRecurrent(nn.JoinTable(2) if joined else None, None, split)
    module.add(any_cell(d, size, h))
    size *= 1 + split
    x = d.array((n, t, size), large=3.0)
    return Layer(module, x, d.array((n, t, size + 2)), "always")


def distributed(d):
    n, t, size = d.size("N"), d.size("T", 1, 3), d.size("D", 1, 3)
    module = nn.TimeDistributed(nn.Linear(size, 2), d.choice([True, False]))
    return Layer(module, d.array((n, t, size)), d.array((n, t, size + 1)), "always")


TREES = [
    [[1, 2, -1], [-1, -1, 0], [-1, -1, 1]],
    [[-1, -1, 0], [-2, -2, -2], [-2, -2, -2]],
    [[-1, -1, 1], [-1, -1, 0], [0, 1, -1]],
]


def tree(d):
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    module = nn.BinaryTreeLSTM(size, h, d.choice([True, False]))
    trees = np.array([d.choice(TREES) for _ in range(n)]).reshape((n, 3, 3))
    x = d.array((n, 2, size))
    return Layer(module, [x, trees], [d.array((n, 2, size + 1)), trees])


MODULES = {
    "BiRecurrent": both_ways,
    "BinaryTreeLSTM": tree,
    "ConvLSTMPeephole": image_cell(nn.ConvLSTMPeephole, 2),
    "ConvLSTMPeephole3D": image_cell(nn.ConvLSTMPeephole3D, 3),
    "GRUCell": cell_step(lambda d, size, h: nn.GRUCell(size, h, rate(d), tanh_or_none(d))),
    "LSTMCell": cell_step(lambda d, size, h: nn.LSTMCell(size, h, rate(d), tanh_or_none(d))),
    "LSTMPeephole": cell_step(lambda d, size, h: nn.LSTMPeephole(size, h, rate(d))),
    "MultiRNNCell": stacked_step,
    "Recurrent": recurrent,
    "RecurrentDecoder": decoder,
    "RnnCell": cell_step(
        lambda d, size, h: nn.RnnCell(size, h, tanh_or_none(d), d.choice([True, False]))
    ),
    "TimeDistributed": distributed,
    "RNNLayer": rnn_layer,
    "WithStates": with_states,
    "BiSequencer": sequences(lambda d, size: nn.BiSequencer(stepped(d, size))),
    "Embedding": lookup(embedding),
    "FastLSTM": one_step(of_sizes(nn.FastLSTM)),
    "GRU": one_step(of_sizes(nn.GRU)),
    "LSTM": one_step(of_sizes(nn.LSTM)),
    "LinearRNN": one_step(of_sizes(nn.LinearRNN)),
    "LookupRNN": lookup_rnn,
    "LookupTableMaskZero": lookup(lambda d: (nn.LookupTableMaskZero(5, 3), -1, 5)),
    "MaskZero": mask_zero,
    "MuFuRu": one_step(
        lambda d, size: nn.MuFuRu(
            size,
            d.size("H", 1, 3),
            d.choice([None, ["keep", "replace"], ["mul", "forget", "diff"]]),
        )
    ),
    "RecGRU": one_step(of_sizes(nn.RecGRU)),
    "RecLSTM": one_step(projected(nn.RecLSTM)),
    "Recurrence": recurrence,
    "Recursor": one_step(lambda d, size: nn.Recursor(nn.Linear(size, 2))),
    "Repeater": one_step(
        lambda d, size: nn.Repeater(nn.Sequential(nn.RecGRU(size, 2), nn.Tanh()), d.integer(1, 3))
    ),
    "SeqBGRU": masked_sequence(nn.SeqBGRU),
    "SeqBLSTM": masked_sequence(nn.SeqBLSTM),
    "SeqGRU": masked_sequence(nn.SeqGRU),
    "SeqLSTM": masked_sequence(nn.SeqLSTM),
    "Sequencer": listed_steps,
    "StepGRU": step_gru,
    "StepLSTM": step_lstm,
}
