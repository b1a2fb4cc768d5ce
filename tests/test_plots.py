"""Figures: what must be seen is looked for in their data, or in the pixels that they become."""

import builtins
import re
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd.core.figures import make_figure

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 1, 6, 6)).astype(np.float32)


class Net(nn.Module):
    def __init__(self):
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(144, 2)

    def forward(self, x):
        return self.head(self.features(x).reshape(len(x), -1))


def images_of(figure):
    """The arrays of all pictures in a figure, in order."""
    return [image.get_array() for axes in figure.axes for image in axes.images]


def pixels_of(figure):
    """The figure as it is seen: (height, width, 4), bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def state_of(model):
    return {
        **model.state_dict(),
        "modes": [bool(part.train) for part in model.listModules()],
        "run": [part._tapegrad_run is None for part in model.listModules()],
    }


# Filters ------------------------------------------------------------------------------------------


def test_filters_are_drawn_entry_by_entry_on_one_scale():
    layer = nn.Conv2d(2, 3, 2)
    layer.weight.data[...] = np.linspace(-1, 2, 24).reshape(3, 2, 2, 2)
    figure = nn.plot_filters(layer)
    shown = images_of(figure)
    assert len(shown) == 6
    np.testing.assert_allclose(np.array(shown), layer.weight.numpy().reshape(6, 2, 2))
    grid = [axes for axes in figure.axes if axes.images]
    assert all(axes.images[0].get_clim() == (-2, 2) for axes in grid)
    columns = {axes.get_subplotspec().colspan.start for axes in grid}
    assert columns == {0, 1}  # a column for each channel
    assert "3×2×2×2" in figure.get_suptitle()


def test_filters_of_three_channels_are_colours():
    layer = nn.Conv2d(3, 2, 1)
    layer.weight.data[...] = np.array([[0, 1, 0], [2, 2, 4]], np.float32).reshape(2, 3, 1, 1)
    green, blue = images_of(nn.plot_filters(layer))
    assert green.tolist() == [[[0, 1, 0]]]
    assert blue.tolist() == [[[0, 0, 1]]]


def test_rows_of_a_matrix_are_filters_of_a_shape_that_is_given():
    layer = nn.Linear(6, 5)
    shown = images_of(nn.plot_filters(layer, shape=(2, 3), most=4))
    np.testing.assert_array_equal(np.array(shown), layer.weight.numpy()[:4].reshape(4, 2, 3))
    with pytest.raises(ValueError, match=r"\(5, 6\).*shape=\(C, H, W\)"):
        nn.plot_filters(layer)
    with pytest.raises(ValueError, match=r"no module 'features.7'; there are features, features.0"):
        nn.plot_filters(Net(), "features.7")


# Feature maps -------------------------------------------------------------------------------------


def test_feature_maps_are_the_outputs_of_the_layer_and_leave_no_trace():
    model = Net()
    model.head.evaluate()
    before = state_of(model)
    figure = nn.plot_feature_maps(model, "features.1", IMAGES, sample=2)
    assert str(before) == str(state_of(model))
    expected = np.maximum(model.features[0](IMAGES).numpy()[2], 0)
    np.testing.assert_allclose(np.array(images_of(figure)), expected, rtol=1e-6)
    [axes] = nn.plot_feature_maps(model, "head", IMAGES, sample=-1).axes
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, model(IMAGES).numpy()[2], rtol=1e-6)
    for handle in model.features[1]._tapegrad_hooks.values():
        assert handle == []


def test_feature_maps_of_sequences_are_one_picture():
    model = nn.Sequential(nn.Conv1d(2, 5, 3))
    x = RNG.normal(size=(3, 2, 8)).astype(np.float32)
    figure = nn.plot_feature_maps(model, "0", x, sample=1)
    [shown] = images_of(figure)
    np.testing.assert_allclose(shown, model(x).numpy()[1], rtol=1e-6)
    cells = nn.Sequential(nn.WithStates(nn.SeqLSTM(2, 3)))
    with pytest.raises(ValueError, match=r"returns 8×3×3, .*: what is drawn"):
        nn.plot_feature_maps(cells, "0", [x.transpose(2, 0, 1), None])


def test_bad_input_of_feature_maps_is_an_error_that_changes_nothing():
    model = Net()
    before = state_of(model)
    with pytest.raises(ValueError, match="no sample 3; the batch has 3"):
        nn.plot_feature_maps(model, "head", IMAGES, sample=3)
    with pytest.raises(nn.ShapeError):
        nn.plot_feature_maps(model, "head", IMAGES[:, :, :5])
    model.unused = nn.Tanh()
    with pytest.raises(ValueError, match=r"did not call nn\.Tanh"):
        nn.plot_feature_maps(model, "unused", IMAGES)
    del model.unused
    assert str(before) == str(state_of(model))


# Attention ----------------------------------------------------------------------------------------


def test_attention_is_what_the_layer_averages_by():
    layer = nn.MultiHeadAttention(8, 2, causal=True, need_weights=True)
    x = RNG.normal(size=(2, 4, 8)).astype(np.float32)
    figure = nn.plot_attention(layer, x, sample=1, labels=list("abcd"))
    heads = np.array(images_of(figure))
    np.testing.assert_allclose(heads, layer(x)[1].numpy()[1], rtol=1e-5)
    assert heads[0][np.triu_indices(4, 1)].tolist() == [0] * 6  # nothing is seen ahead of time
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == list("abcd")
    # the picture's upper right corner has the colour of 0, the lower left one another
    box = first.get_window_extent()
    pixels = pixels_of(figure)[::-1]
    inside = pixels[int(box.y0) + 2 : int(box.y1) - 2, int(box.x0) + 2 : int(box.x1) - 2, :3]
    assert inside[-3, -3].tolist() == [68, 1, 84]  # viridis at 0
    assert inside[-3, 3].tolist() == [253, 231, 36]  # and at 1: the first step sees itself alone


def test_attention_inside_a_model_with_a_mask():
    model = nn.Sequential(nn.Linear(3, 8), nn.TransformerEncoderLayer(8, 4, 8))
    x = RNG.normal(size=(1, 5, 3)).astype(np.float32)
    assert len(images_of(nn.plot_attention(model, x))) == 4
    layer = model[1]
    hidden = np.array([[False, False, False, True, True]])
    heads = images_of(nn.plot_attention(layer, model[0](x), src_key_padding_mask=hidden))
    assert np.array(heads)[:, :, 3:].max() == 0
    np.testing.assert_allclose(np.array(heads).sum(axis=-1), 1, rtol=1e-5)
    for call, message in (
        (lambda: nn.plot_attention(nn.Tanh(), x), "holds no MultiHeadAttention"),
        (lambda: nn.plot_attention(model, x, "0"), "there are 1.self_attn"),
        (lambda: nn.plot_attention(model, x, labels=["a"]), "1 labels for 5 queries"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# Histograms ---------------------------------------------------------------------------------------


def test_histograms_count_every_entry_of_gradients_weights_and_updates():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"loss.backward"):
        nn.plot_histograms(model)
    before = model.state_dict()
    (model(np.ones((2, 3), np.float32)) ** 2).sum().backward()
    optim.SGD(model, lr=0.5).step()
    for of, name in (("gradients", "0.weight"), ("weights", "0.weight"), ("updates", "0.weight")):
        figure = nn.plot_histograms(model, of, before=before if of == "updates" else None, bins=8)
        assert [axes.get_ylabel() for axes in figure.axes] == [
            name, "0.bias", "1.weight", "1.bias",
        ]  # fmt: skip
        heights = [bar.get_height() for bar in figure.axes[0].patches]
        assert sum(heights) == 12
    left = figure.axes[0].patches[0].get_x()
    gradient = model[0].weight.grad.numpy()
    np.testing.assert_allclose(left, (-0.5 * gradient).min(), rtol=1e-4)
    with pytest.raises(ValueError, match="before="):
        nn.plot_histograms(model, "updates")
    with pytest.raises(ValueError, match="'grads'; it must be one of gradients"):
        nn.plot_histograms(model, "grads")


def test_histograms_of_many_parameters_are_the_first():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(4)))
    figure = nn.plot_histograms(model, "weights", most=3, bins=2)
    assert [axes.get_ylabel() for axes in figure.axes] == ["0.weight", "0.bias", "1.weight"]


def test_histograms_say_what_is_zero_or_not_finite():
    model = nn.Linear(2, 2)
    model.weight.data[...] = [[0, np.nan], [np.inf, 1]]
    texts = [t.get_text() for t in nn.plot_histograms(model, "weights").axes[0].texts]
    assert "1 are 0" in texts[0]
    assert "2 not finite" in texts[0]


# Training -----------------------------------------------------------------------------------------


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines}


def test_a_history_has_a_diagram_for_losses_and_for_each_metric():
    history = [
        {"loss": 1.0, "val_loss": 1.5, "val_top1": 0.5},
        {"loss": 0.5, "val_loss": 1.25, "val_top1": 0.75},
    ]
    figure = optim.plot_history(history, [2, 1.5, 1, 0.5])
    losses, accuracy = figure.axes
    assert losses.get_title() == "loss"
    found = lines_of(losses)
    assert list(found["val_loss"].get_ydata()) == [1.5, 1.25]
    assert list(found["val_loss"].get_xdata()) == [1, 2]
    assert list(found["loss of each step"].get_xdata()) == [0.5, 1, 1.5, 2]
    assert accuracy.get_title() == "top1"
    assert list(lines_of(accuracy)["val_top1"].get_ydata()) == [0.5, 0.75]
    with pytest.raises(ValueError, match="after fit"):
        optim.plot_history([])


def test_a_trainer_draws_its_own_history_into_a_figure_that_is_given():
    model = nn.Sequential(nn.Linear(2, 2))
    trainer = optim.Trainer(
        model, nn.CrossEntropyCriterion(), optim.SGD(model, lr=0.1), progress=False
    )
    x, y = np.eye(2, dtype=np.float32)[[0, 1] * 4], np.array([0, 1] * 4)
    trainer.fit((x, y), epochs=3, batch_size=4)
    mine = make_figure("a test", None, (4, 3))
    assert trainer.plot_history(mine) is mine
    found = lines_of(mine.axes[0])
    np.testing.assert_allclose(found["loss"].get_ydata(), [row["loss"] for row in trainer.history])
    assert len(found["loss of each step"].get_ydata()) == 6
    # drawn where the line is: its colour is among the pixels, and not in a figure without it
    blue = np.array([31, 119, 180])
    assert (np.abs(pixels_of(mine)[..., :3].astype(int) - blue).max(axis=-1) < 3).sum() > 50


def test_a_confusion_matrix_shows_its_counts():
    matrix = optim.ConfusionMatrix.from_predictions([0, 0, 1, 1, 1, -1], [0, 1, 1, 1, 0, 0])
    assert matrix.mat.tolist() == [[1, 1], [1, 2]]
    figure = matrix.render()
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "1", "1", "2"]
    [shares] = images_of(figure)[:1]
    np.testing.assert_allclose(shares, [[0.5, 0.5], [1 / 3, 2 / 3]])
    scores = np.eye(3)[[0, 2]]
    named = optim.ConfusionMatrix.from_predictions([0, 2], scores, ["cat", "dog", "owl"])
    labels = named.render().axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["cat", "dog", "owl"]


# Where it is shown --------------------------------------------------------------------------------


def test_a_notebook_shows_the_figure_itself():
    figure = nn.plot_filters(nn.Conv2d(1, 2, 2))
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []  # nothing to close


def test_without_matplotlib_the_message_names_the_extra(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **options):
        if name.startswith(("matplotlib", "tapegrad.autograd.core.matplotlib_figure")):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.delitem(sys.modules, "tapegrad.autograd.core.matplotlib_figure", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"plot_filters needs Matplotlib: .*'tapegrad\[plot\]'"):
        nn.plot_filters(nn.Conv2d(1, 2, 2))
    with pytest.raises(ImportError, match=r"ConfusionMatrix\.render needs Matplotlib"):
        optim.ConfusionMatrix(2).render()


def test_a_model_on_another_device_is_drawn_too():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MultiHeadAttention(4, 2)).to("strict")
    x = tg.Tensor(IMAGES, device="strict")
    nn.plot_filters(model, "0")
    nn.plot_feature_maps(model.get(0), "", x)
    steps = tg.Tensor(np.ones((1, 3, 4), np.float32), device="strict")
    nn.plot_attention(model.get(1), steps)
    (model.get(0)(x).sum() + model.get(1)(steps).sum()).backward()
    before = model.state_dict()
    nn.plot_histograms(model, bins=4)
    figure = nn.plot_histograms(model, "updates", before=before, bins=4)
    assert len(figure.axes) == len(before)
    assert model.get(0).summary((2, 1, 6, 6)).count("2×4×4×4") == 1
    scores = tg.Tensor(np.eye(2), device="strict")
    matrix = optim.ConfusionMatrix.from_predictions(tg.Tensor([0, 1], device="strict"), scores)
    assert matrix.mat.tolist() == [[1, 0], [0, 1]]


def test_matplotlib_on_a_tracked_tensor_names_the_users_line_and_function():
    import matplotlib.pyplot as plt

    y = nn.Linear(2, 2)(np.ones((2, 2), np.float32))
    try:
        for draw in (plt.imshow, lambda z: plt.scatter(z[:, 0], z[:, 1])):
            with pytest.raises(TypeError) as caught:
                draw(y)
            assert str(caught.value).startswith(__file__)
            assert re.search(r"For matplotlib\.pyplot\.(imshow|scatter): ", str(caught.value))
    finally:
        plt.close("all")
