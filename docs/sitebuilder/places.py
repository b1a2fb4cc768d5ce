"""Where the sources lie."""

from pathlib import Path

__all__ = ["DOCS", "NOTEBOOKS", "ROOT"]

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
NOTEBOOKS = ROOT / "notebooks"
