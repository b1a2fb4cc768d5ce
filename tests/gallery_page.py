"""Write notebooks/gallery/README.md anew: `python tests/gallery_page.py`.

Each notebook says itself what it is: its first cell has the title and, after it, a paragraph whose
first sentence stands in the table.
"""

import json
import re
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
GALLERY = NOTEBOOKS / "gallery"
PAGE = GALLERY / "README.md"

HEAD = """\
# Gallery

Complete examples, one idea each: what it is for, the code, pictures of what was learned, and an
`assert` that it was. Each runs in some seconds with `TAPEGRAD_GALLERY_FAST=1` in the environment,
as in the tests, and learns longer without it. All data come with packages, `.[demo,docs]`, so
nothing is downloaded.

| | |
|---|---|
"""

FOOT = """
To add one: `NN_name.ipynb` with the next number, stored without outputs. It begins with a title and
a paragraph, reads `TAPEGRAD_GALLERY_FAST` in the line that the others have, asserts near its end
that something was learned, and ends with "Go on with …". Then run `python tests/gallery_page.py`,
which makes this page.
"""


def cells_of(path: Path) -> list[tuple[str, str]]:
    """(kind, text) of each cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def title_and_line(path: Path) -> tuple[str, str]:
    """The heading of a notebook, and the first sentence after it."""
    kind, text = cells_of(path)[0]
    heading, _, paragraph = text.partition("\n")
    if kind != "markdown" or not heading.startswith("# "):
        raise ValueError(f"{path.name}: the first cell begins with '# ' and the title")
    paragraph = " ".join(paragraph.strip().split("\n\n")[0].split())
    return heading[2:], re.split(r"(?<=[.?!]) (?=[A-Z*])", paragraph)[0]


def page() -> str:
    """The table of all notebooks in the gallery."""
    lines = []
    for path in sorted(GALLERY.glob("*.ipynb")):
        title, line = title_and_line(path)
        lines.append(f"| [{title}]({path.name}) | {line} |\n")
    return HEAD + "".join(lines) + FOOT


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
