"""Write the tables of docs/scipy.md anew: `python tests/scipy_page.py`."""

from pathlib import Path

from cases.ops import scipy as rare

from tapegrad.autograd.scipy.page import page

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scipy.md"
START = "<!-- made by tests/scipy_page.py -->\n"

if __name__ == "__main__":
    known = {name: why for (name, law), why in rare.EXCEPTIONS.items() if "second" in law}
    before = PAGE.read_text(encoding="utf-8").partition(START)[0]
    PAGE.write_text(before + START + "\n" + page(known), encoding="utf-8")
