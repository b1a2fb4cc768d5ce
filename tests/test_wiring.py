"""Pictures of modules whose wiring only their forward code says; names on tapes; summaries."""

import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn.core.wiring import boxes_of_trace, run_for_picture


class Block(nn.Module):
    def __init__(self, width):
        self.inner = nn.Linear(width, width)
        self.scale = tg.Parameter(np.ones(1, np.float32))

    def forward(self, x):
        return np.tanh(self.inner(x)) * self.scale + x


class Net(nn.Module):
    def __init__(self):
        self.stem = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.blocks = [Block(4), Block(4)]
        self.head = nn.Linear(4, 2)
        self.unused = nn.Tanh()

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


X = np.ones((5, 3), np.float32)


def attributes_of(net):
    return [{"_training": True, **vars(part)} for part in net.listModules()]


def arrows(module, *inputs):
    """Arrows of the picture by the first lines of their boxes: "a -> b"."""
    boxes = boxes_of_trace(module, run_for_picture(module, inputs, {}))
    assert all(parent < i for i, box in enumerate(boxes) for parent in box.parents)
    return {f"{boxes[p].lines[0]} -> {box.lines[0]}" for box in boxes for p in box.parents}


def texts(picture):
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)


def test_a_picture_shows_modules_and_residual_arrows():
    assert arrows(Net(), X) == {
        "input -> stem.0", "stem.0 -> stem.1", "stem.1 -> blocks.0.inner", "stem.1 -> add",
        "blocks.0.inner -> tanh", "tanh -> multiply", "blocks.0.scale -> multiply",
        "multiply -> add", "add -> blocks.1.inner", "add -> add", "blocks.1.inner -> tanh",
        "blocks.1.scale -> multiply", "add -> head", "head -> output",
    }  # fmt: skip


def test_before_a_run_a_module_lists_what_is_inside():
    net = Net()
    shown = texts(nn.picture(net))
    assert "blocks.1.inner: Linear(4 -&gt; 4)" in shown
    assert "stem.1: ReLU" in shown
    assert nn.picture(net).svg.count("<rect") == 3


def test_the_last_forward_is_drawn_with_shapes_and_a_plain_call_leaves_nothing():
    net = Net()
    before = attributes_of(net)
    modes = [bool(part.train) for part in net.listModules()]
    with_input = nn.picture(net, X)
    assert attributes_of(net) == before
    assert [bool(part.train) for part in net.listModules()] == modes
    net.forward(X)
    assert nn.picture(net).svg == with_input.svg
    assert "5×4" in texts(with_input)
    assert "blocks.0.inner" in net._repr_html_()


def test_a_long_run_is_drawn_when_somebody_asks_for_it():
    class Loop(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            for _ in range(120):
                x = np.tanh(self.layer(x))
            return x

    net = Loop()
    net.forward(X)
    assert nn.picture(net).svg.count("<rect") == 3
    assert nn.picture(net, X).svg.count("<rect") == 242


def test_several_inputs_and_outputs_shared_modules_and_modules_that_do_nothing():
    class Twice(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 3)
            self.same = nn.Identity()

        def forward(self, x, y):
            return [self.layer(self.layer(self.same(x))), self.layer(y)]

    found = arrows(Twice(), X, X + 1)
    assert found == {
        "input 0 -> same", "same -> layer", "layer -> layer", "layer -> output 0",
        "input 1 -> layer", "layer -> output 1",
    }  # fmt: skip


def test_integers_go_into_a_table_of_vectors():
    class Words(nn.Module):
        def __init__(self):
            self.table, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, i):
            return self.out(self.table(i).mean(axis=1))

    expected = {"input -> table", "table -> mean", "mean -> out", "out -> output"}
    assert arrows(Words(), np.array([[1, 2]])) == expected


def test_a_layer_written_by_hand_is_one_box():
    class Doubled(nn.Linear):
        def accGradParameters(self, input, gradOutput, scale=1):
            super().accGradParameters(input, gradOutput, 2 * scale)

    class Outer(nn.Module):
        def __init__(self):
            self.one = Doubled(3, 3)

        def forward(self, x):
            return self.one(x) + 1

    assert arrows(Outer(), X) == {"input -> one", "one -> add", "add -> output"}


def test_layers_of_the_package_are_opened_when_they_are_drawn_themselves():
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    found = arrows(layer, np.ones((1, 3, 4), np.float32))
    assert {"input -> self_attn", "input -> add", "linear1 -> activation"} <= found
    outer = nn.Sequential(layer)
    assert nn.picture(outer).svg.count("<rect") == 3


def test_layers_of_the_package_inside_are_one_box():
    class Outer(nn.Module):
        def __init__(self):
            self.layer = nn.TransformerEncoderLayer(4, 2, 8)

        def forward(self, x):
            return self.layer(x) * 2

    expected = {"input -> layer", "layer -> multiply", "multiply -> output"}
    assert arrows(Outer(), np.ones((1, 3, 4), np.float32)) == expected


def test_the_run_is_one_of_evaluation_mode():
    class Normed(nn.Module):
        def __init__(self):
            self.norm = nn.BatchNormalization(3)

        def forward(self, x):
            return self.norm(x)

    net = Normed()
    before = net.state_dict()
    nn.picture(net, X)
    net.summary((5, 3))
    assert all(np.array_equal(before[name], now) for name, now in net.state_dict().items())
    assert net.train


def test_containers_are_drawn_as_before():
    net = nn.Sequential(nn.ConcatTable(nn.Linear(3, 2), nn.Linear(3, 2)), nn.CAddTable())
    net.forward(X)
    assert nn.picture(net).svg.count("<rect") == 5


def test_a_tape_calls_parameters_by_their_names():
    net = Net()
    loss = net(X).sum()
    assert "parameter 0" in texts(tg.Tape(loss).draw())
    shown = texts(tg.Tape(loss).draw(net))
    assert {"stem.0.weight", "blocks.1.scale", "head.bias"} <= set(shown)
    assert not [text for text in shown if text.startswith("parameter")]
    net.forward(X)
    assert "stem.0.weight" in texts(tg.Tape(net).draw())
    other = texts(tg.Tape(loss).draw(net.stem))
    assert "0.weight" in other
    assert any(text.startswith("parameter") for text in other)
    with pytest.raises(TypeError, match="list has none"):
        tg.Tape(loss).draw([net])


def test_a_tapes_table_has_the_names_too(capsys):
    net = Net()
    tg.Tape(net(X)).show(module=net)
    assert "blocks.0.inner.weight (4, 4)" in capsys.readouterr().out


def test_a_summary_of_a_shape_runs_nothing_that_stays():
    net = Net()
    assert "5×4" not in net.summary()
    before = attributes_of(net)
    text = net.summary((5, 3))
    assert attributes_of(net) == before
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert "5×2" in rows["(root)"]
    assert "5×4" in rows["stem"]
    assert "5×4" in rows["blocks.1"]
    assert "5×" not in rows["unused"]
    assert text == net.summary(X)
    with pytest.raises(nn.ShapeError):
        net.summary((5, 4))


def test_a_summary_takes_several_inputs_integers_and_names():
    both = nn.Sequential(nn.ParallelTable(nn.Linear(3, 2), nn.Linear(4, 2)), nn.CAddTable())
    assert "7×2" in both.summary([(7, 3), (7, 4)]).splitlines()[-2]
    table = nn.Embedding(9, 4)
    assert "1×2×4" in table.summary(np.array([[1, 2]]))
    layer = nn.MultiHeadAttention(4, 2)
    assert "1×3×4" in layer.summary((1, 3, 4), attn_mask=np.zeros((3, 3), bool))


def test_a_summary_says_what_is_trained_and_what_is_frozen():
    net = Net()
    assert "frozen" not in net.summary()
    net.stem.freeze()
    head, *rows, total = net.summary().splitlines()
    assert head.split()[-2:] == ["trained", "frozen"]
    found = {row.split()[0]: row.rstrip() for row in rows}
    assert found["0"].endswith("16")
    assert len(found["0"]) == len(head)  # in the last column
    assert found["head"].endswith("10")
    assert len(found["head"]) < len(head)
    assert "(52 trained, 16 frozen)" in total
    assert "<td style='text-align:right'>16</td></tr>" in net._repr_html_()
