"""The network between files and modules: taking modules apart, and putting them together again."""

import numpy as np
import pytest
from architectures import ARCHITECTURES, conv

from tapegrad import nn, no_grad
from tapegrad.nn.formats import FormatError, UnsupportedError
from tapegrad.nn.formats.common.network import Network, NetworkNode, NetworkValue, module_of
from tapegrad.nn.formats.common.operators import Operator, Operators
from tapegrad.nn.formats.common.taking_apart import network_of

CONTAINERS = (nn.Container,)


def arrays_of(result):
    parts = result if isinstance(result, list) else [result]
    return [np.asarray(part.detach()) for part in parts]


def run(module, x):
    with no_grad():
        return arrays_of(module(x))


def drawn(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("with_example", [True, False])
def test_what_is_taken_apart_and_put_together_gives_the_same_bits(name, with_example):
    module, shape = ARCHITECTURES[name]()
    network = network_of(module, *([shape] if with_example else []))
    assert not any(isinstance(node.layer, CONTAINERS) for node in network.nodes)
    again = module_of(network).evaluate()
    x = drawn(shape)
    for ours, theirs in zip(run(again, x), run(module, x), strict=True):
        assert np.array_equal(ours, theirs)
    assert all((value in network.types) == with_example for value in network.outputs)


def test_types_are_those_of_the_run():
    network = network_of(ARCHITECTURES["lenet"]()[0], (2, 1, 28, 28))
    assert network.types[NetworkValue("data")] == ((2, 1, 28, 28), "float32")
    assert network.types[network.outputs[0]] == ((2, 5), "float32")


def test_a_chain_becomes_a_sequential_and_keeps_names():
    module = nn.Sequential(nn.Linear(3, 2).setName("fc"), nn.Sequential(nn.Tanh()))
    network = network_of(module)
    assert [node.name for node in network.nodes] == ["fc", "Tanh1"]
    again = module_of(network)
    assert type(again) is nn.Sequential
    assert again[0] is module[0]


def test_modes_and_names_are_left_alone():
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    module[1].evaluate()
    network_of(module, (4, 3))
    assert [bool(m.train) for m in module.listModules()] == [True, True, False]
    assert not module[0].hasName()


def test_a_layer_in_two_places_is_two_nodes_with_one_layer():
    layer = nn.Linear(3, 3).setName("fc")
    network = network_of(nn.Sequential(layer, nn.Tanh(), layer))
    assert [node.name for node in network.nodes] == ["fc", "Tanh1", "fc_1"]
    again = module_of(network)
    assert again[0] is again[2]


def test_given_names_are_not_taken_by_numbers():
    network = network_of(nn.Sequential(nn.Tanh(), nn.Tanh().setName("Tanh1")))
    assert [node.name for node in network.nodes] == ["Tanh2", "Tanh1"]


TABLES = {
    "parallel": (nn.Sequential(nn.ParallelTable(nn.Linear(3, 2), nn.Linear(4, 2)), nn.CAddTable()),
                 [(5, 3), (5, 4)]),
    "map": (nn.Sequential(nn.MapTable(nn.Linear(3, 2)), nn.CMulTable()), [(5, 3), (5, 3)]),
    "split": (nn.Sequential(nn.SplitTable(1), nn.CAddTable()), [(5, 3, 2)]),
    "selected": (nn.Sequential(nn.SplitTable(1), nn.SelectTable(-1), nn.Linear(2, 2)), [(5, 3, 2)]),
    "narrowed": (nn.Sequential(nn.NarrowTable(1, 2), nn.CSubTable()), [(2, 3)] * 3),
    "one entry": (nn.Sequential(nn.NarrowTable(1, 1), nn.CAddTable()), [(2, 3)] * 2),
    "slices": (nn.Parallel(1, 0, nn.Linear(4, 2), nn.Linear(4, 2)), [(3, 2, 4)]),
    "bottle": (nn.Sequential(nn.Bottle(nn.Linear(4, 2)), nn.Tanh()), [(3, 5, 4)]),
    "zipped": (nn.Sequential(nn.ConcatTable(nn.SplitTable(1), nn.SplitTable(1)), nn.ZipTable(),
                             nn.MapTable(nn.CAddTable()), nn.JoinTable(1)), [(2, 3, 4)]),
    "flattened": (nn.Sequential(nn.ConcatTable(nn.Tanh(), nn.ConcatTable(nn.ReLU(), nn.Tanh())),
                                nn.FlattenTable(), nn.JoinTable(1)), [(2, 3)]),
    "weight norm": (nn.Sequential(nn.WeightNorm(nn.Linear(4, 3)), nn.Tanh()), [(2, 4)]),
    "spectral norm": (nn.SpectralNorm(nn.Linear(4, 3)), [(2, 4)]),
    "decorated": (nn.Checkpoint(nn.NaN(nn.Profile(nn.Linear(4, 3)))), [(2, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_and_decorators_flow_as_they_run(name):
    module, shapes = TABLES[name]
    inputs = [drawn(shape, seed) for seed, shape in enumerate(shapes)]
    x = inputs if len(inputs) > 1 else inputs[0]
    network = network_of(module, x)
    again = module_of(network)
    if name == "one entry":
        network.outputs = network.outputs[:1]
    kept = x if len(network.inputs) == len(shapes) else x[1]
    for ours, theirs in zip(run(again, kept), run(module, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["parallel", "narrowed"])
def test_inputs_of_a_table_are_found_without_an_example(name):
    module, shapes = TABLES[name]
    network = network_of(module)
    assert network.inputs == tuple(f"data{i}" for i in range(len(shapes)))


def test_inputs_are_called_what_the_graph_calls_them():
    first, second = nn.Input("left"), nn.Input("right")
    network = network_of(nn.gModule([first, second], nn.CAddTable()(first, second)))
    assert network.inputs == ("left", "right")
    assert network.nodes[0].inputs == (NetworkValue("left"), NetworkValue("right"))


class Plain(nn.Module):
    def __init__(self):
        self.inner = nn.Linear(3, 2)

    def updateOutput(self, x):
        return self.inner(x)


class Other(nn.Sequential):
    def updateOutput(self, x):
        return super().updateOutput(x) * 2


@pytest.mark.parametrize("made", [Plain, lambda: Other(nn.Tanh())])
def test_what_has_no_form_is_refused_with_class_and_place(made):
    module = nn.Sequential(nn.Tanh(), nn.Sequential(made()))
    with pytest.raises(UnsupportedError, match=r"model\[1\]\[0\].*nn\.(Plain|Other)"):
        network_of(module)


def test_hooks_are_refused():
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].register_forward_hook(lambda m, x, y: y * 2)
    with pytest.raises(UnsupportedError, match="hooks"):
        network_of(module)


def test_a_table_of_unknown_length_asks_for_an_example():
    module = nn.Sequential(nn.SplitTable(1), nn.MapTable(nn.Tanh()), nn.JoinTable(1))
    with pytest.raises(UnsupportedError, match="example"):
        network_of(module)
    assert len(network_of(module, (2, 3, 4)).nodes) == 5


def network(*nodes, inputs=("data",), outputs=None):
    made = [
        NetworkNode(name, nn.Identity(), tuple(map(NetworkValue, reads))) for name, *reads in nodes
    ]
    return Network(made, inputs, tuple(map(NetworkValue, outputs or [nodes[-1][0]])))


def test_nodes_may_come_in_any_order():
    again = module_of(network(("b", "a"), ("a", "data"), outputs=["b"]))
    assert [m.getName() for m in again.modules] == ["a", "b"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (network(("a", "b"), ("b", "a")), "cycle through a, b"),
        (network(("a", "data"), ("a", "data")), "two called 'a'"),
        (network(("data", "data")), "two called 'data'"),
        (network(("a", "nothing")), "a reads: nothing"),
        (network(("a", "data"), outputs=["c"]), "output c"),
    ],
)
def test_a_network_that_is_none_is_a_format_error(bad, message):
    with pytest.raises(FormatError, match=message):
        module_of(bad)


@pytest.mark.extra
def test_a_network_of_100_000_nodes_takes_no_recursion():
    layer = nn.Identity()
    nodes = [
        NetworkNode(f"n{i}", layer, (NetworkValue(f"n{i - 1}" if i else "data"),))
        for i in range(100_000)
    ]
    assert len(Network(nodes[::-1], ("data",), (NetworkValue("n99999"),)).sorted()) == 100_000


def test_a_table_of_operators_is_the_only_declaration():
    entry = Operator("Tanh", read=lambda: None, write={nn.Tanh: lambda: None}, aliases=("TanH",))
    table = Operators("Toy", [entry], unsafe={"Python": "it runs code"})
    assert table.reader("TanH", "net.layer[0]") is entry
    assert table.writer(nn.Tanh(), "model")[0] is entry
    with pytest.raises(UnsupportedError, match=r"net\.layer\[3\].*'Magic'"):
        table.reader("Magic", "net.layer[3]")
    with pytest.raises(FormatError, match="without code"):
        table.reader("Python", "net.layer[3]")
    with pytest.raises(UnsupportedError, match=r"nn\.ReLU"):
        table.writer(nn.ReLU(), "model")
    with pytest.raises(ValueError, match="two entries"):
        Operators("Toy", [entry, entry])


def test_the_shared_architectures_are_enough():
    assert len(ARCHITECTURES) >= 20
    assert conv(2, 3, 1).weight.shape == (3, 2, 1, 1)
