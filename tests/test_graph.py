"""Graphs of modules: how they are described, run, copied and drawn."""

import pickle
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tapegrad import nn

RNG = np.random.default_rng(4)


def skip_connection():
    """y = W₂·(x + tanh W₁x), and x + tanh W₁x."""

    class Add(nn.Module):
        def updateOutput(self, x):
            return x[0] + x[1]

    x = nn.node(nn.Identity())
    h = nn.Tanh()(nn.Linear(4, 4)(x))
    total = Add()([x, h])
    return nn.gModule(x, [nn.Linear(4, 2)(total), total]).double()


def test_a_graph_computes_what_its_modules_compute():
    g = skip_connection()
    x = RNG.standard_normal((3, 4))
    first, second = (m for m in g.modules if isinstance(m, nn.Linear))
    y, total = g.forward(x)
    hidden = x + np.tanh(x @ first.weight.numpy().T + first.bias.numpy())
    np.testing.assert_allclose(total.numpy(), hidden, rtol=1e-13)
    np.testing.assert_allclose(
        y.numpy(), hidden @ second.weight.numpy().T + second.bias.numpy(), rtol=1e-13
    )


def test_gradients_of_several_uses_of_a_node_add_up():
    x = nn.node(nn.Identity())
    g = nn.gModule(x, [x, x, nn.Square()(x)])
    value = np.array([1.0, -2.0])
    g.forward(value)
    found = g.backward(value, [np.ones(2), np.ones(2), np.ones(2)])
    np.testing.assert_array_equal(found.numpy(), 2 + 2 * value)


def test_a_module_on_two_nodes_is_listed_once_among_the_parameters():
    x, y, shared = nn.node(nn.Identity()), nn.node(nn.Identity()), nn.Linear(2, 2)
    g = nn.gModule([x, y], [shared(x), shared(y)])
    assert len(g.parameters()[0]) == 2
    clone = g.clone()
    linears = [m for m in clone.modules if isinstance(m, nn.Linear)]
    assert linears[0] is linears[1]


def test_chains_read_from_the_left():
    x = nn.node(nn.Identity())
    g = nn.gModule(x, x - nn.Linear(3, 2) - nn.Tanh())
    assert [type(m).__name__ for m in g.modules] == ["Identity", "Linear", "Tanh"]


def test_a_deep_graph_needs_no_recursion():
    x = node = nn.node(nn.Identity())
    for _ in range(5000):
        node = nn.Tanh()(node)
    g = nn.gModule(x, node)
    assert g.size() == 5001
    again = pickle.loads(pickle.dumps(g))
    value = np.ones(2)
    np.testing.assert_array_equal(again.forward(value).numpy(), g.forward(value).numpy())


def test_a_forgotten_input_is_named():
    x, y = nn.node(nn.Identity()), nn.node(nn.Identity())
    with pytest.raises(ValueError, match="not among the inputs"):
        nn.gModule(x, nn.Identity()([x, y]))
    with pytest.raises(TypeError, match="no node"):
        nn.gModule([x], [nn.Tanh()])
    with pytest.raises(TypeError, match="one list of nodes"):
        nn.Tanh()([x, np.ones(2)])
    with pytest.raises(ValueError, match="2 inputs"):
        nn.gModule([x, y], nn.Identity()([x, y])).forward(np.ones(2))


def test_a_call_without_an_input_is_an_error_that_says_how_to_describe_a_graph():
    with pytest.raises(TypeError, match=r"Linear .* takes \(x\)\. .* nn\.node\(module\)"):
        nn.Linear(2, 3)()
    with pytest.raises(TypeError, match=r"takes \(x, target\)"):
        nn.MSECriterion()()

    class Source(nn.Module):
        def updateOutput(self):
            return np.ones(2)

    np.testing.assert_array_equal(Source()(), np.ones(2))  # its forward code needs no input


def test_a_node_is_made_of_a_module_and_of_nodes():
    x = nn.node(nn.Identity())
    assert x.parents == ()
    assert nn.node(nn.CAddTable(), x, x).parents == (x, x)
    assert nn.node(nn.CAddTable(), [x, x]).parents == nn.CAddTable()([x, x]).parents
    with pytest.raises(TypeError, match="takes a module"):
        nn.node(np.ones(2))
    with pytest.raises(TypeError, match="CriterionTable"):
        nn.MSECriterion()(x)


def test_splitting_too_far_names_the_entry():
    x = nn.node(nn.Identity())
    g = nn.gModule(x, x.split(3)[2])
    with pytest.raises(ValueError, match="entry 2"):
        g.forward([np.ones(2), np.ones(2)])


# The picture --------------------------------------------------------------------------------------


def drawn(module):
    """Texts, boxes and arrows of a picture."""
    root = ET.fromstring(nn.picture(module).svg)
    space = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(float(r.get(key)) for key in ("x", "y", "width", "height"))
        for r in root.iter(f"{space}rect")
    ]
    texts = [t.text for t in root.iter(f"{space}text")]
    arrows = [p for p in root.iter(f"{space}path") if p.get("marker-end")]
    return root, texts, boxes, arrows


def test_every_module_of_a_graph_is_a_box_and_every_edge_an_arrow():
    g = skip_connection()
    g.forward(np.ones((3, 4)))
    _, texts, boxes, arrows = drawn(g)
    assert len(boxes) == 5 + 1 + 2  # modules, the input, two outputs
    assert len(arrows) == 1 + 5 + 2  # into Identity; within; to the outputs
    assert "Linear(4 -> 4)" in texts
    assert "3×2" in texts  # an output shape


def test_boxes_do_not_overlap_and_stay_inside():
    branches = nn.ConcatTable(nn.Linear(3, 2), nn.Tanh(), nn.Sequential(nn.Tanh(), nn.ReLU()))
    root, _, boxes, _ = drawn(nn.Sequential(nn.Linear(3, 3), branches))
    left, top, width, height = map(float, root.get("viewBox").split())
    for i, (x, y, w, h) in enumerate(boxes):
        assert left <= x < x + w <= left + width
        assert top <= y < y + h <= top + height
        for ox, oy, ow, oh in boxes[:i]:
            assert x + w <= ox or ox + ow <= x or y + h <= oy or oy + oh <= y


def test_arrows_point_down():
    """Each box stands below the boxes that it takes its input from."""
    _, _, _, arrows = drawn(skip_connection())
    for arrow in arrows:
        words = arrow.get("d").replace("M", "").split()
        start, end = (float(word.split(",")[1]) for word in (words[0], words[-1]))
        assert start < end


def test_arrows_run_through_no_box():
    """Sampled along its curves, an arrow is inside a box at its ends only."""
    _, _, boxes, arrows = drawn(skip_connection())
    for arrow in arrows:
        points = [
            np.array([float(part) for part in word.strip("MLC").split(",")])
            for word in arrow.get("d").split()
        ]
        for first in range(0, len(points), 4):
            a, b, c, d = points[first : first + 4]
            for t in np.linspace(0.01, 0.99, 50):
                u = 1 - t
                x, y = u**3 * a + 3 * u * u * t * b + 3 * u * t * t * c + t**3 * d
                hit = [(p, q) for p, q, w, h in boxes if p < x < p + w and q < y < q + h]
                assert not hit


def test_names_given_to_nodes_are_shown_and_escaped():
    x = nn.node(nn.Identity()).annotate(name="<pixels>")
    svg = nn.picture(nn.gModule(x, nn.Tanh()(x))).svg
    assert "&lt;pixels&gt;" in svg


def test_a_notebook_shows_the_table_and_the_picture(tmp_path):
    page = skip_connection()._repr_html_()
    assert "<table>" in page
    assert "<svg" in page
    target = tmp_path / "graph.svg"
    nn.picture(nn.Linear(3, 2)).save(target)
    assert target.read_text(encoding="utf-8").startswith("<svg")


def test_a_container_of_ones_own_says_how_it_is_drawn():
    class Residual(nn.Container):
        drawn_as = "chain"

        def updateOutput(self, x):
            for module in self.modules:
                x = x + module(x)
            return x

    module = Residual(nn.Linear(3, 3), nn.Tanh())
    assert nn.picture(module).svg == nn.picture(nn.Sequential(*module.modules)).svg
    Residual.drawn_as = "box"
    _, texts, _, _ = drawn(module)
    assert "Tanh" not in texts
    Residual.drawn_as = "spiral"
    with pytest.raises(ValueError, match=r"Residual\.drawn_as is 'spiral'; it may be box, chain"):
        nn.picture(module)
