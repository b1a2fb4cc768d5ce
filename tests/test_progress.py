"""What is shown while something runs: where somebody looks on, and nowhere else."""

import builtins
import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd.core import notebook, progress
from tapegrad.optim.training import progress as of_training

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def _setting(monkeypatch):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    monkeypatch.setattr(progress, "_setting", [None])


@pytest.fixture
def terminal(monkeypatch):
    for module in (progress, of_training):
        monkeypatch.setattr(module, "is_terminal", lambda: True)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "40")


class Pages:
    """Stands in for IPython's display: what is shown, one list for each place."""

    def __init__(self):
        self.shown = []

    def show(self, text):
        self.shown.append(text)


@pytest.fixture
def pages(monkeypatch):
    made = []

    def display():
        made.append(Pages())
        return made[-1]

    for module in (progress, of_training):
        monkeypatch.setattr(module, "LiveDisplay", display)
    monkeypatch.setattr(progress, "is_notebook", lambda: True)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    monkeypatch.setattr(of_training, "REDRAW", 0.0)
    return made


def trainer_of(**options):
    model = nn.Sequential(nn.Linear(3, 2))
    criterion, optimizer = nn.CrossEntropyCriterion(), optim.SGD(model, lr=0.1)
    return optim.Trainer(model, criterion, optimizer, metrics=["top1"], **options)


def everything_that_takes_long():
    trainer = trainer_of()
    trainer.fit((X, Y), epochs=2, batch_size=4, validation=(X, Y))
    trainer.predict(X)
    trainer.evaluate((X, Y))
    trainer.lr_find((X, Y), num_it=5)
    trainer.model.predict(X)
    trainer.model.predict_class(X)
    trainer.model.evaluate((X, Y), [optim.Top1Accuracy()])


def test_files_and_pipes_get_nothing(capsys):
    everything_that_takes_long()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_bars(capsys, terminal):
    everything_that_takes_long()
    out, err = capsys.readouterr()
    assert out == ""
    names = ("predict:", "evaluate:", "lr_find:", "predict_class:", "epoch 2/2: loss")
    for name in names:
        assert f"\r{name}" in err or f"\n{name}" in err, name
    assert "val_top1" in err


def test_what_is_over_soon_has_no_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    trainer = trainer_of()
    trainer.predict(X)
    trainer.model.predict(X)
    assert "sample" not in capsys.readouterr().err


@pytest.mark.parametrize("how", ["function", "variable", "argument"])
def test_one_option_switches_all_off(how, capsys, terminal, monkeypatch):
    if how == "function":
        tg.set_progress(False)
    if how == "variable":
        monkeypatch.setenv("TAPEGRAD_PROGRESS", "0")
    if how == "argument":
        trainer = trainer_of(progress=False)
        trainer.fit((X, Y), epochs=1)
        trainer.evaluate((X, Y))
        trainer.predict(X)
        trainer.lr_find((X, Y), num_it=5)
        trainer.model.predict(X, progress=False)
    else:
        everything_that_takes_long()
    assert capsys.readouterr() == ("", "")


def test_the_function_comes_before_the_variable_and_the_argument_before_both(
    capsys, terminal, monkeypatch
):
    monkeypatch.setenv("TAPEGRAD_PROGRESS", "0")
    tg.set_progress(True)
    assert progress.progress_place(None) == "terminal"
    tg.set_progress(False)
    assert progress.progress_place(None) is None
    assert progress.progress_place(True) == "terminal"
    tg.set_progress(None)
    assert progress.progress_place(None) is None
    with pytest.raises(TypeError, match="'off'"):
        tg.set_progress("off")
    assert progress.progress_place(None) is None


def without_tqdm(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **options):
        if name == "tqdm":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)


def test_without_tqdm_fit_writes_a_line_of_its_own_and_others_are_quiet(
    capsys, terminal, monkeypatch
):
    without_tqdm(monkeypatch)
    monkeypatch.setattr(of_training, "REFRESH", 0)
    trainer = trainer_of()
    trainer.fit((X, Y), epochs=2, batch_size=4)
    shown = capsys.readouterr().err
    assert "\repoch 1/2 step 3/10  loss" in shown
    assert " left\033[K" in shown
    assert shown.count("\n") == 2
    trainer.model.predict(X)
    assert capsys.readouterr().err == ""
    with pytest.raises(ImportError, match=r"tapegrad\[progress\]"):
        trainer.model.predict(X, progress=True)


def test_what_there_is_is_shown_when_something_fails(pages, monkeypatch):
    monkeypatch.setattr(of_training, "REDRAW", 1e9)

    class Failing(optim.Callback):
        def on_step_end(self, trainer, loss):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        trainer_of(callbacks=[Failing()]).fit((X, Y), epochs=1)
    assert len(pages[0].shown) == 1


# Notebooks ----------------------------------------------------------------------------------------


def test_a_notebook_gets_one_display_with_a_bar_a_curve_and_a_table(pages, capsys):
    trainer_of().fit((X, Y), epochs=3, batch_size=4, validation=(X, Y))
    [page] = pages
    assert len(page.shown) > 10  # it changes in its place
    last = page.shown[-1]
    assert "width:100.0%" in last
    assert last.count("<tr>") == 1 + 3
    assert "val_top1" in last
    assert len(re.findall(r"[\d.]+,[\d.]+ ?", last.split('points="')[1].split('"')[0])) == 30
    assert any(re.search(r"epoch 2/3 step 5/10  loss .* left", text) for text in page.shown)
    assert not re.search(r"<script|<style|onclick|http(?!://www\.w3\.org/2000/svg)", last)
    assert capsys.readouterr() == ("", "")


def test_a_notebooks_bar_counts_and_goes(pages):
    assert list(progress.with_bar(range(4), 4, "sample", name="a <b>")) == [0, 1, 2, 3]
    [page] = pages
    assert "width:50.0%" in page.shown[1]
    assert "a &lt;b&gt;" in page.shown[1]
    assert "2/4 samples" in page.shown[1]
    assert page.shown[-1] == ""


def test_a_long_run_has_a_short_table_and_a_thin_curve(pages, monkeypatch):
    monkeypatch.setattr(of_training, "REDRAW", 1e9)
    shown = of_training.NotebookProgress(None, None, None)
    for epoch in range(1, 41):
        for _ in range(50):
            shown.show_step(epoch, 1, 1, None, loss=1.0 / epoch, rate=0.1)
        shown.show_epoch(epoch, None, {"loss": 1.0 / epoch})
    shown.close()
    last = pages[0].shown[-1]
    assert last.count("<tr>") == 1 + 1 + of_training.MOST_ROWS
    assert len(last.split('points="')[1].split('"')[0].split()) <= 2 * notebook.MOST_POINTS


def test_a_long_curve_keeps_means_of_neighbours():
    curve = notebook.LongCurve()
    for x in range(10_001):
        curve.add(x, 2.0 * x)
    curve.add(10_001, float("nan"))
    points = curve.points()
    assert notebook.MOST_POINTS <= len(points) <= 2 * notebook.MOST_POINTS
    assert all(y == pytest.approx(2 * x) for x, y in points)
    steps = np.diff([x for x, _ in points])
    assert set(steps[:-1]) == {32.0}  # 10,001 points by 32
    assert points[-1][0] <= 10_000


def test_curves_go_through_their_points():
    svg = notebook.curve_svg({"a": [(0, 1), (1, 3)], "b": [(1, 2)]}, width=100, height=100)
    first, last = svg.split('points="')[1].split('"')[0].split()
    (x1, y1), (x2, y2) = (map(float, pair.split(",")) for pair in (first, last))
    assert x1 < x2
    assert y1 > y2  # upwards is smaller in SVG
    circle = re.search(r'cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert float(circle[1]) == x2
    assert float(circle[2]) == pytest.approx((y1 + y2) / 2)
    assert notebook.curve_svg({"a": [(0, 1)], "b": []}) == ""
    assert "nan" not in notebook.curve_svg({"a": [(0, 1), (1, float("nan")), (2, 2)]})


@pytest.mark.extra
def test_a_kernel_shows_it_and_the_saved_notebook_has_the_last_state():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    code = (
        "import numpy as np\nfrom tapegrad import nn, optim\n"
        "x = np.random.rand(64, 3).astype('f'); y = (x[:, 0] > .5).astype(int)\n"
        "model = nn.Sequential(nn.Linear(3, 2))\n"
        "trainer = optim.Trainer(model, nn.CrossEntropyCriterion(), optim.SGD(model, lr=.1))\n"
        "_ = trainer.fit((x, y), epochs=3)"
    )
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell("trainer.plot_history()")]
    )
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    [shown] = book.cells[0].outputs
    assert shown.output_type == "display_data"
    assert shown.data["text/html"].count("<tr>") == 4
    [figure] = book.cells[1].outputs
    assert "image/png" in figure.data
