"""The documentation site: every page is found from the home page, and links lead somewhere.

The sources are read here without Sphinx, in well under a second; `.ci/run` builds the site itself,
where warnings are errors and the links of the built pages are followed.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sitebuilder import docstrings, links
from sitebuilder.entries import for_readers
from sitebuilder.examples import seen, shapes
from sitebuilder.extension import mathml
from sitebuilder.names import namespaces, public_names
from sitebuilder.notebooks import notebook_pages
from sitebuilder.pages import (
    FOLDER,
    LINK,
    PICTURE,
    Page,
    code_blocks,
    read_pages,
    site_path,
    tree,
    unreachable,
)
from sitebuilder.pictures import PICTURES
from sitebuilder.reference import all_names
from sitebuilder.usage import imported_modules, mentioned_names, used_names

from tapegrad import errors, nn, ops, optim

ROOT = Path(__file__).resolve().parents[1]
PAGES = read_pages()


def pages_of(**sources):
    return {
        path: Page(path, text)
        for path, text in ((name.replace("__", "/") + ".md", s) for name, s in sources.items())
    }


# What a reader finds ------------------------------------------------------------------------------


def test_every_page_is_found_from_the_home_page():
    assert unreachable(PAGES) == []


def test_the_home_page_leads_to_each_folder():
    sections = {path for _, _, path in tree(PAGES)["index.md"]}
    folders = {page.folder for page in PAGES.values() if page.folder}
    assert {f"{folder.partition('/')[0]}/index.md" for folder in folders} <= sections


def test_every_link_of_a_page_leads_to_a_page_and_a_heading():
    wrong = []
    for page in PAGES.values():
        for target in LINK.findall(page.text):
            path, _, anchor = target.partition("#")
            if "://" in target or path.startswith("reference/"):
                continue
            found = page.resolve(path) if path else page.path
            if not (ROOT / "docs" / found).exists():
                wrong.append(f"docs/{page.path}: {target}: no such file")
            elif anchor and found in PAGES and anchor not in PAGES[found].anchors:
                wrong.append(f"docs/{page.path}: {target}: no such heading")
    assert wrong == []


def test_every_picture_that_a_page_asks_for_can_be_drawn():
    asked = {name for page in PAGES.values() for name in PICTURE.findall(page.text)}
    assert asked == set(PICTURES)
    for name in asked:
        assert PICTURES[name]().startswith("<svg"), name


def test_a_page_that_no_list_names_is_unreachable():
    pages = pages_of(
        index="# Home\n\n## Learn\n\n- [A](a.md): first\n", a="# A\n", b="# B\n\n- [A](a.md)\n"
    )
    assert unreachable(pages) == ["b.md"]
    assert tree(pages)["index.md"] == [("Learn", "A", "a.md")]


def test_a_link_in_a_sentence_or_in_code_is_no_place_in_the_navigation():
    pages = pages_of(index="# Home\n\nSee [A](a.md).\n\n```\n- [A](a.md)\n```\n", a="# A\n")
    assert unreachable(pages) == ["a.md"]


def test_a_folder_is_found_by_itself_in_areas():
    pages = pages_of(
        index="# Home\n\n- [How](how/index.md)\n",
        how__index=f"# How\n\n{FOLDER}\n",
        how__z="# Zoo\n",
        how__a="---\narea: data\norder: 2\n---\n\n# Apples\n",
        how__b="---\narea: data\norder: 1\n---\n\n# Bread\n",
        how__sub__c="# Cakes\n",
    )
    assert tree(pages)["how/index.md"] == [
        ("Data", "Bread", "how/b.md"),
        ("Data", "Apples", "how/a.md"),
        ("Sub", "Cakes", "how/sub/c.md"),
        ("", "Zoo", "how/z.md"),
    ]
    assert unreachable(pages) == []


def test_files_outside_of_docs_have_a_place():
    assert site_path("../nn/DIFFERENCES.md") == "repository/nn/DIFFERENCES.md"
    assert site_path("../notebooks/gallery/03_x.ipynb") == "gallery/03_x.md"
    notebook = Page("gallery/03_x.md", "# X\n", origin="../notebooks/gallery/03_x.ipynb")
    assert site_path(notebook.resolve("../../docs/guide/files.md")) == "guide/files.md"


def test_every_error_is_on_the_page_about_errors():
    text = PAGES["guide/errors.md"].source
    assert [name for name in errors.__all__ if name not in text] == []


# Names --------------------------------------------------------------------------------------------


def test_what_pages_import_is_public():
    known = {space.module.__name__ for space in namespaces().values()} | set(namespaces())
    known |= {name.rpartition(".")[0] for name in namespaces()}
    unknown = {
        f"docs/{page.path}: {module}"
        for page in PAGES.values()
        for module in imported_modules(code_blocks(page.source, "python"))
        if module not in known
    }
    assert unknown == set(), (
        "add the module to DOORS of docs/sitebuilder/names.py, or to an __all__"
    )


def test_each_object_has_one_home():
    paths = public_names()
    assert paths["tapegrad.grad"].value is namespaces()["tapegrad.autograd"].module.grad
    assert "tapegrad.autograd.grad" not in paths
    assert namespaces()["tapegrad.autograd"].also["grad"] == "tapegrad.grad"
    assert {f"tapegrad.nn.{name}" for name in nn.__all__ if name.endswith("Criterion")} <= set(
        paths
    )


def test_names_are_used_where_code_names_them():
    found = used_names(
        [
            "import numpy as np\nimport tapegrad as tg\nfrom tapegrad import nn, optim as o\n",
            "tg.grad(np.tanh); nn.Linear(2, 1); o.Adam\nlinear = 'nn.Tanh'  # nn.ReLU\n",
        ]
    )
    assert {name.path for name in found} == {
        "tapegrad.grad",
        "tapegrad.ops.tanh",
        "tapegrad.nn.Linear",
        "tapegrad.optim.Adam",
    }


@pytest.mark.extra
def test_every_layer_and_loss_has_an_example():
    names = [name for name in public_names().values() if name.path.startswith("tapegrad.nn.")]
    without = [
        name.name
        for name in names
        if name.name in nn.__all__
        and name.kind == "class"
        and issubclass(name.value, (nn.Module, nn.Criterion))
        and name.path not in seen()
        and ">>>" not in name.doc
    ]
    assert without == ["Container", "Criterion"]  # what others derive from


@pytest.mark.extra
def test_what_was_seen_is_what_happens():
    assert len(seen()) > 700
    assert shapes([np.ones((2, 3)), {"a": np.arange(4)}]) == "[(2, 3), {'a': int (4,)}]"
    found = re.fullmatch(
        r"nn\.Linear\((\d) -> (\d)\).*: \(.*?(\d),?\) -> \(.*?(\d),?\)",
        seen()["tapegrad.nn.Linear"],
    )
    assert found[1] == found[3]
    assert found[2] == found[4]


def test_names_in_backticks_are_mentioned():
    text = (
        "Write `nn.Linear(n_in, …)` or `tg.grad(f)`, not nn.Tanh, `Linear`, `nn.Nothing` or `x.y`."
    )
    assert {name.path for name in mentioned_names(text)} == {"tapegrad.nn.Linear", "tapegrad.grad"}
    text = "`linalg.expm` is differentiated, and so is `concat`."
    assert {name.path for name in mentioned_names(text, "scipy")} == {"tapegrad.scipy.linalg.expm"}
    assert {name.path for name in mentioned_names(text, "array_api")} == {
        "tapegrad.array_api.concat"
    }


# Docstrings ---------------------------------------------------------------------------------------


def shown(doc):
    return "\n".join(text for _, text in docstrings.parts(doc, lambda _: None))


def test_shapes_are_code_and_words_in_parentheses_are_not():
    text = shown("x: (N, C, H, W) -> (N, 3·C), (…, n) or (n,)  (a note, and more).")
    for shape in ("(N, C, H, W)", "(N, 3·C)", "(…, n)", "(n,)"):
        assert f"<code class='literal'>{shape}</code>" in text
    assert "(a note, and more)" in text
    assert "<code class='literal'>(a note" not in text
    assert "<code class='literal'>(N, inputSize1)</code>" in shown("(N, inputSize1) -> (N,)")
    assert "<code" not in shown("max(x, 0), elementwise"), "half of a call is not a shape"


def test_the_reference_leaves_out_what_files_say_of_the_source():
    doc = (
        "Layers that roll (see `hills.py`).\n\n"
        "A ball is round (`round.py`). `up.py` pushes it\nup. It comes down.\n\n"
        "The front door hands them on.  Nothing here imports it.\n\n"
        "`_height` is written by push alone.\n\n"
        "    keep(this.py)"
    )
    assert for_readers(doc).split("\n\n") == [
        "Layers that roll (see `hills.py`).",
        "A ball is round. It comes down.",
        "    keep(this.py)",
    ]


def test_a_large_namespace_lists_all_its_names():
    listed = all_names(namespaces()["tapegrad.nn"], "reference/nn.md")
    assert re.search(r'<a href="nn/layers.linear.html#[^"]*"><code>Linear</code></a>', listed)
    assert listed.index(">Abs<") < listed.index(">Linear<") < listed.index(">ZeroGrad<")
    names = [name for name in public_names().values() if name.path.startswith("tapegrad.nn.")]
    own = {name.name for name in names if name.path.count(".") == 2}
    assert own <= set(re.findall(r"<code>(\w+)</code>", listed))


def test_lines_stay_where_their_author_broke_them():
    long = "word " * 17 + "word"
    assert "<br>" not in shown(f"{long}\nand more of the same sentence")
    assert shown("y = x Wᵀ + b.\nx: (N, n)").count("<br>") == 1
    assert shown(f"{long}\nRaises ValueError.").count("<br>") == 1


def test_aligned_arguments_are_a_list_of_terms():
    text = shown("Sum.\n\nfirst:  one thing,\n        told in two lines\nsecond: another")
    assert text.count("<dt>") == 2
    assert "one thing, told in two lines" in text
    text = shown("Cut.\n\nrestarts: begin again\nstretch:  times as long\nSource: a paper, 2017.")
    assert text.count("<dt>") == 2, "the source is no argument"


def test_examples_are_code():
    pieces = list(docstrings.parts("Sum.\n\n>>> f(1)\n2", lambda _: None))
    assert pieces[1] == ("pycon", ">>> f(1)\n2")


def test_the_first_sentence_and_the_source():
    assert docstrings.first_sentence("y = x, as in a.b.  More.") == "y = x, as in a.b"
    assert docstrings.source_class("y.\nSource: nn.Linear, which …") == "nn.Linear"
    assert docstrings.source_class(nn.Linear.__doc__) == "nn.Linear"


@pytest.mark.extra
def test_formulas_are_mathml():
    assert "<mfrac>" in mathml(r"\frac{1}{2}", block=False)
    assert mathml(r"\begin{aligned}a&=b\\c&=d\end{aligned}", block=True).count("<mtr>") == 2
    for unknown in (r"\begin{other}a&=b\end{other}", r"\nosuchword x"):
        with pytest.raises(ValueError, match="not known"):
            mathml(unknown, block=False)


# Notebooks, and the built pages -------------------------------------------------------------------


def test_notebooks_have_titles_and_summaries():
    for page in notebook_pages(execute=False):
        assert page.title, page.path
        assert 10 < len(page.summary) < 400, (page.path, page.summary)


def test_broken_links_and_what_is_loaded_from_elsewhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        "<h1 id='top'>A</h1><a href='b.html'></a><a href='b.html#gone'></a><a href='c.html'></a>"
        "<img src='https://example.org/x.png'><a href='https://example.org/'></a>"
        "<a href='#top'></a><a href='#bottom'></a>",
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text("<p id='here'></p>", encoding="utf-8")
    (tmp_path / "s.css").write_text("@import url(https://example.org/f.css);", encoding="utf-8")
    assert list(links.broken_links(tmp_path)) == [
        "a.html: b.html#gone: no such place in that page",
        "a.html: c.html: no such file",
        "a.html: #bottom: no such place in that page",
    ]
    assert list(links.loaded_from_elsewhere(tmp_path)) == [
        "a.html: loads https://example.org/x.png",
        "s.css: loads https://example.org/f.css",
    ]
    assert set(links.addresses_elsewhere(tmp_path)) == {"https://example.org/"}


@pytest.mark.extra
def test_the_sources_can_be_staged(tmp_path):
    code = (
        "import sys; from pathlib import Path; from sitebuilder.staging import stage\n"
        f"print(len(stage(Path({str(tmp_path / 'out')!r}), execute=False)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "docs",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    linear = (tmp_path / "out/reference/nn/layers.linear.md").read_text(encoding="utf-8")
    assert "{py:class} Linear(inputSize, outputSize, bias=True)" in linear
    assert "Used in:" in linear
    assert ops.tanh.__doc__ in (
        tmp_path / "out/reference/ops/elementwise.trigonometry.md"
    ).read_text(encoding="utf-8")
    assert "ExponentialMovingAverage" in optim.__all__
    text = (tmp_path / "out/howto/gradient_in_ci.md").read_text(encoding="utf-8")
    assert '<a href="../examples/laws.yml" download>laws.yml</a>' in text
    fetched = (tmp_path / "out-extra/examples/laws.yml").read_text(encoding="utf-8")
    assert fetched == (ROOT / "docs/examples/laws.yml").read_text(encoding="utf-8")
