"""docs/looked_for.md is true, row by row, and has a row for all that people looked for."""

import re
from pathlib import Path

import looked_for_training  # noqa: F401  # adds its claims
import pytest
from looked_for import CLAIMS

TEXT = (Path(__file__).parents[1] / "docs/looked_for.md").read_text(encoding="utf-8")
TABLE = [line.strip("|").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
ROWS = {row[0].strip(): row[1].strip() for row in TABLE if row[0].strip() != "looked for"}
HEADINGS = re.findall(r"^### (.+)$", TEXT, flags=re.MULTILINE)
BELOW = re.compile(r"\[below\]\(#(.+?)\)")


@pytest.mark.parametrize("row", CLAIMS)
def test_what_a_row_says_is_so(row, tmp_path):
    CLAIMS[row](tmp_path)


def test_every_row_has_a_claim_or_an_example_below():
    assert [row for row, here in ROWS.items() if row not in CLAIMS and not BELOW.search(here)] == [
        "transforms of a data set"  # the same function as that of the row before it
    ]
    assert [row for row in CLAIMS if row not in ROWS] == []


def test_what_is_below_is_there():
    anchors = {heading.lower().replace(" ", "-") for heading in HEADINGS}
    assert set(BELOW.findall(TEXT)) <= anchors
