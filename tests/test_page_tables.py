"""Tables of the documentation: each name of ours exists and accepts the arguments shown.

No list names the tables: those of all pages are read, where a column is headed by one of
the words in page_tables.HEADS.
"""

import pytest
from page_tables import complaints, spans
from sitebuilder.pages import read_pages

PAGES = {path: list(spans(page.text)) for path, page in read_pages().items()}
MIGRATION = sorted(p for p in PAGES if p.startswith("migration/") and not p.endswith("index.md"))


@pytest.mark.parametrize("path", sorted(path for path, found in PAGES.items() if found))
def test_names_in_tables_exist_and_accept_the_arguments_shown(path):
    wrong = [
        f"docs/{path}:{line}: `{code}`: {what}"
        for line, code in PAGES[path]
        for what in complaints(code)
    ]
    assert wrong == []


def test_each_page_for_those_who_come_from_elsewhere_has_tables():
    assert MIGRATION
    for path in MIGRATION:
        assert len(PAGES[path]) >= 20, path


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("nn.Linaer(n_in, n_out)", "nn.Linaer does not exist"),
        ("nn.Linear(n_in, n_out, bais=False)", "unexpected keyword argument 'bais'"),
        ("nn.Linear(n_in)", "missing a required argument"),
        ("nn.ReLU(1, 2, 3, 4, 5)", "too many positional"),
        ("model.zeroGradParameter()", "does not exist"),
        ("optim.SGD(model, lr=0.1).stepp()", "stepp does not exist"),
        ("optim.SGD(model, lr=0.1).step(1, 2)", "too many positional"),
        ("optimizer.rate = 0.1", "does not exist"),
        ("with tg.no_gard():", "does not exist"),
        ("from tapegrad import gard", "has no gard"),
        ("nobody.forward(x)", "what is nobody?"),
        ("tapegrad cnovert a b", "has the commands"),
        ("tapegrad convert a b --chekc", "has no --chekc"),
        ("loss -> backward", "neither Python"),
    ],
)
def test_a_wrong_name_or_argument_is_found(code, what):
    assert what in "; ".join(complaints(code))


@pytest.mark.parametrize(
    "code",
    [
        "nn.Linear(n_in, n_out)",
        "nn.Linear(…, bias=False)",
        "optim.SGD(model, lr=0.1).step()",
        "optimizer.lr = rate",
        "with tg.no_grad():",
        "model[:-1]",
        "class Mine(nn.Module):",
        "tapegrad convert a b --check",
    ],
)
def test_what_is_right_passes(code):
    assert list(complaints(code)) == []


def test_bars_in_code_divide_no_cells():
    text = "| there | here |\n|---|---|\n| `a | b` | `x \\| y` and `z` |\n"
    text += "\n| a | b |\n|--|--|\n| `c` | `d` |"
    assert list(spans(text)) == [(3, "x | y"), (3, "z")]
