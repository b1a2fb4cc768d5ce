"""Pictures of what a model has learned and does: filters, feature maps, attention, histograms.

Each function returns a Matplotlib figure (the extra `plot`) and changes nothing of the model.
`nn.picture` draws how a model is wired, and needs no Matplotlib.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.figures import (
    hide_rims,
    image_grid,
    make_figure,
    plain_array,
    show_image,
)
from tapegrad.nn.core.evaluation import evaluation_mode
from tapegrad.nn.core.part import Part
from tapegrad.nn.core.wiring import class_line, shapes_text
from tapegrad.nn.layers.attention import MultiHeadAttention

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from tapegrad.autograd.core.types import Nest

__all__ = ["plot_attention", "plot_feature_maps", "plot_filters", "plot_histograms"]

NO_LAYER = "{place}: {model} has no module {name!r}; there are {known}"
NO_FILTERS = (
    "plot_filters: the weight of {layer} has shape {shape}: filters are (n, C, H, W) or (n, H, W). "
    "shape=(C, H, W) says what the rows of a weight (n, C·H·W) are"
)
NO_MAPS = (
    "plot_feature_maps: {layer} returns {shape}: what is drawn is (N, C, H, W), (N, C, T) or (N, F)"
)
NEVER_CALLED = "{place}: the forward code did not call {layer} for this input"
NO_ATTENTION = "plot_attention: {model} holds no MultiHeadAttention"
NO_SAMPLE = "{place}: there is no sample {sample}; the batch has {count}"
KINDS = ("gradients", "weights", "updates")
NO_BEFORE = (
    "plot_histograms(of='updates') compares with before=, a module.state_dict() from before the "
    "step"
)
NO_GRADIENTS = "plot_histograms: no Parameter has a gradient; call it after loss.backward()"
NO_KIND = "plot_histograms: of is {found!r}; it must be one of {known}"
NO_PARAMETERS = "plot_histograms: {model} has no parameters"
SHOWN_NAMES = 12  # in an error


def plot_filters(
    module: Any,
    name: str = "",
    *,
    shape: Sequence[int] | None = None,
    most: int = 64,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw the filters of a layer's weight, each as a small picture.

    module, name: a layer, or a model and the dotted name of a layer in it
    weight (n, 3, H, W): n pictures in colour, each stretched to its own range.  (n, C, H, W): a row
    for each of n filters, a column for each channel, grey, with 0 in the middle of the range.
    shape: (C, H, W) or (H, W) of the rows of a weight (n, C·H·W), such as that of a Linear
    most:  how many pictures at most; the first are drawn
    figure: where to draw; a new one when omitted.  Returns the figure
    Raises ValueError for a name that the model does not have and a weight of another shape,
    ImportError where Matplotlib is not installed.
    """
    layer = _layer(module, name, "plot_filters")
    filters = _filters(layer, shape)
    count, channels = filters.shape[:2]
    if channels == 3:
        figure, grid = image_grid("plot_filters", min(count, most), figure)
        for axes, pixels in zip(grid, filters, strict=False):
            low, span = pixels.min(), np.ptp(pixels)
            show_image(axes, np.moveaxis((pixels - low) / (span or 1), 0, -1))
    else:
        columns = min(channels, most) if channels > 1 else None
        rows = max(most // columns, 1) if columns else most
        shown = filters[:rows, :columns].reshape(-1, *filters.shape[2:])
        figure, grid = image_grid("plot_filters", len(shown), figure, columns=columns)
        limit = float(np.abs(shown).max(initial=0)) or 1.0
        image = None
        for axes, pixels in zip(grid, shown, strict=True):
            image = show_image(axes, pixels, cmap="gray", vmin=-limit, vmax=limit)
        if image is not None:
            figure.colorbar(image, ax=grid, shrink=0.8)
    figure.suptitle(f"{_title(layer, name)}: weight {_times(np.shape(layer.weight))}")
    return figure


def _filters(layer: Any, shape: Sequence[int] | None) -> np.ndarray[Any, Any]:
    """The weight as (n, C, H, W).  Raises ValueError for another."""
    weight = getattr(layer, "weight", None)
    array: np.ndarray[Any, Any] = np.zeros(()) if weight is None else plain_array(weight)
    if shape is not None and array.ndim == 2 and array.shape[1] == np.prod(shape):
        array = array.reshape(len(array), *shape)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or not array.size:
        raise ValueError(NO_FILTERS.format(layer=layer, shape=array.shape))
    return array


def plot_feature_maps(
    module: Any,
    layer: str,
    x: Nest,
    *,
    sample: int = 0,
    most: int = 64,
    figure: Figure | SubFigure | None = None,
    **named: Any,
) -> Figure | SubFigure:
    """Draw what a layer inside a model returns for an input: a picture for each channel.

    layer:  its dotted name in the model, as `named_modules` has it ("features.0")
    x:      the model's input, with the batch;  named: further arguments of the model's call
    sample: which sample of the batch
    most:   how many channels at most; the first are drawn
    figure: where to draw; a new one when omitted.  Returns the figure
    An output (N, C, H, W) is C maps; (N, C, T) one picture with a row for each of C, such as the
    steps of a sequence; (N, F) a row of F features.  The model runs once, in evaluation mode and
    without a tape; of several calls of the layer the last is drawn.
    Raises ValueError for a name that the model does not have, a layer that is not called, an output
    of another shape and a sample that is not there; ImportError where Matplotlib is not installed.
    """
    found = _layer(module, layer, "plot_feature_maps")
    outputs = _watched(module, found, x, named, "plot_feature_maps", lambda _, output: output)
    output = outputs[-1]
    shape = shapes_text(output)
    if not hasattr(output, "shape") or output.ndim not in (2, 3, 4):
        raise ValueError(NO_MAPS.format(layer=found, shape=shape or type(output).__name__))
    maps = plain_array(output)
    _check_sample("plot_feature_maps", sample, len(maps))
    maps = maps[sample]
    title = f"{_title(found, layer)}: {_times(maps.shape)}"
    if maps.ndim == 1:
        figure = make_figure("plot_feature_maps", figure, (6, 1.8))
        axes = figure.subplots()
        axes.bar(np.arange(len(maps)), maps, width=1.0)
        axes.set(xlabel="feature", title=title)
        hide_rims(axes)
        return figure
    if maps.ndim == 2:
        figure = make_figure("plot_feature_maps", figure, (6, 3))
        axes = figure.subplots()
        figure.colorbar(show_image(axes, maps[:most], cmap="viridis", aspect="auto"))
        axes.set(title=title)
        return figure
    shown = maps[:most]
    figure, grid = image_grid("plot_feature_maps", len(shown), figure)
    low, high = float(shown.min()), float(shown.max())
    image = None
    for axes, pixels in zip(grid, shown, strict=True):
        image = show_image(axes, pixels, cmap="viridis", vmin=low, vmax=high)
    if image is not None:
        figure.colorbar(image, ax=grid, shrink=0.8)
    figure.suptitle(title)
    return figure


def plot_attention(
    module: Any,
    x: Nest,
    layer: str | None = None,
    *,
    sample: int = 0,
    labels: Sequence[str] | tuple[Sequence[str], Sequence[str]] | None = None,
    figure: Figure | SubFigure | None = None,
    **named: Any,
) -> Figure | SubFigure:
    """Draw the attention weights of each head for an input: rows are queries, columns are keys.

    module: a `MultiHeadAttention`, or a model that holds one;  layer: its dotted name, the first
            one when omitted
    x:      the module's input, with the batch;  named: further arguments, such as masks
    sample: which sample of the batch
    labels: the words of the steps, or (those of the queries, those of the keys)
    figure: where to draw; a new one when omitted.  Returns the figure
    The weights are softmax(QKᵀ/√d), before dropout, each row summing to 1, from one run in
    evaluation mode without a tape.
    Raises ValueError where there is no such layer, no such sample, or another number of labels;
    ImportError where Matplotlib is not installed.
    """
    name, attention = _attention_layer(module, layer)
    # What goes into the layer's dropout are the weights, whatever calls the layer with which masks.
    seen = _watched(
        module, attention.dropout, x, named, "plot_attention", lambda inputs, _: inputs[0]
    )
    weights = plain_array(seen[-1])
    _check_sample("plot_attention", sample, len(weights))
    heads = weights[sample]
    queries, keys = _labels(labels, heads.shape[1:])
    columns = min(len(heads), 4)
    rows = -(-len(heads) // columns)
    figure = make_figure("plot_attention", figure, (2.6 * columns + 0.8, 2.5 * rows + 0.5))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    image = None
    for number, axes in enumerate(grid):
        if number >= len(heads):
            axes.set_visible(False)
            continue
        image = show_image(axes, heads[number], cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axes.set_title(f"head {number}", fontsize=9)
        if queries is not None:
            axes.set_yticks(range(len(queries)), queries, fontsize=8)
        if keys is not None:
            axes.set_xticks(range(len(keys)), keys, fontsize=8, rotation=60)
    if image is not None:
        figure.colorbar(image, ax=list(grid), shrink=0.8)
    figure.suptitle(f"{_title(attention, name)}: attention")
    return figure


def _attention_layer(module: Any, name: str | None) -> tuple[str, MultiHeadAttention]:
    known = {n: m for n, m in module.named_modules() if isinstance(m, MultiHeadAttention)}
    if not known:
        raise ValueError(NO_ATTENTION.format(model=type(module).__name__))
    if name is None:
        return next(iter(known.items()))
    if name not in known:
        raise ValueError(
            NO_LAYER.format(
                place="plot_attention",
                model=type(module).__name__,
                name=f"{name} of attention",
                known=", ".join(known),
            )
        )
    return name, known[name]


def _labels(labels: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    if labels is None:
        return None, None
    pair = labels if len(labels) == 2 and not isinstance(labels[0], str) else (labels, labels)
    for what, words, count in zip(("queries", "keys"), pair, shape, strict=True):
        if len(words) != count:
            raise ValueError(f"plot_attention: {len(words)} labels for {count} {what}")
    return pair


def plot_histograms(
    module: Any,
    of: str = "gradients",
    *,
    before: Mapping[str, Any] | None = None,
    bins: int = 60,
    most: int = 40,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw a histogram for each Parameter of a module: of its gradients, entries or updates.

    of:     "gradients" after `backward`; "weights"; "updates", now minus `before`
    before: a `state_dict()` of the module from before the step or steps
    bins:   of each histogram, over the range of its own entries
    most:   how many Parameters at most; the first are drawn (of a part: give that module)
    figure: where to draw; a new one when omitted.  Returns the figure
    Beside each name stand the standard deviation σ, of updates the ratio to that of the weights
    (about 10⁻³ is usual), and how many entries are exactly 0 or not finite, if any are.
    Raises ValueError for another `of`, for updates without `before`, and where there is nothing to
    draw; KeyError for a Parameter that `before` lacks; ImportError where Matplotlib is missing.
    """
    drawn = list(itertools.islice(_entries(module, of, before), most))
    figure = make_figure("plot_histograms", figure, (6.4, 0.62 * len(drawn) + 0.8))
    grid = figure.subplots(len(drawn), 1, squeeze=False).ravel()
    for axes, (name, values, weights) in zip(grid, drawn, strict=True):
        finite = values[np.isfinite(values)]
        axes.hist(finite, bins=bins, color="C0")
        spread = float(finite.std()) if finite.size else float("nan")
        notes = [f"σ {spread:.2g}"]
        if of == "updates":
            size = float(weights.std())
            notes.append(f"ratio {spread / size:.1g}" if size else "ratio -")
        zeros, bad = int((values == 0).sum()), values.size - finite.size
        notes += [f"{zeros:,} are 0"] if zeros else []
        notes += [f"{bad:,} not finite"] if bad else []
        axes.set_yticks([])
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.text(1.02, 0.5, "\n".join(notes), transform=axes.transAxes, va="center", fontsize=7)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(f"{of} of {type(module).__name__}")
    return figure


def _entries(
    module: Any, of: str, before: Mapping[str, Any] | None
) -> Iterator[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """(name, entries to draw, entries of the Parameter) for each Parameter that has some."""
    if of not in KINDS:
        raise ValueError(NO_KIND.format(found=of, known=", ".join(KINDS)))
    if of == "updates" and before is None:
        raise ValueError(NO_BEFORE)
    named = [(name, p) for name, p in module.named_parameters() if p.size]
    if not named:
        raise ValueError(NO_PARAMETERS.format(model=type(module).__name__))
    if of == "gradients":
        named = [(name, p) for name, p in named if p.grad is not None]
        if not named:
            raise ValueError(NO_GRADIENTS)
    for name, p in named:
        now = plain_array(p).ravel().astype(np.float64)
        values = now
        if of == "gradients":
            values = plain_array(p.grad).ravel().astype(np.float64)
        elif before is not None and of == "updates":
            values = now - plain_array(before[name]).ravel()
        yield name, values, now


# Running a model and looking at a layer -----------------------------------------------------------


def _watched(
    model: Any, layer: Any, x: Any, named: Mapping[str, Any], place: str, take: Any
) -> list[Any]:
    """What `take(inputs, output)` gives of each call of a layer in one run of the model."""
    seen: list[Any] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluation_mode(model))
        stack.enter_context(
            layer.register_forward_hook(lambda _, inputs, output: seen.append(take(inputs, output)))
        )
        model(x, **named)
    if not seen:
        raise ValueError(NEVER_CALLED.format(place=place, layer=layer))
    return seen


def _layer(module: Any, name: str, place: str) -> Any:
    known = dict(Part.named_modules(module))
    if name in known:
        return known[name]
    names = [n for n in known if n]
    listed = ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")
    raise ValueError(
        NO_LAYER.format(place=place, model=type(module).__name__, name=name, known=listed or "none")
    )


def _check_sample(place: str, sample: int, count: int) -> None:
    if not -count <= sample < count:
        raise ValueError(NO_SAMPLE.format(place=place, sample=sample, count=count))


def _title(layer: Any, name: str) -> str:
    return f"{name}: {class_line(layer)}" if name else class_line(layer)


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
