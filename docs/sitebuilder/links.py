"""The built pages: every link leads somewhere, and nothing is loaded from elsewhere.

This reads the HTML that a reader gets, whatever made it: `href` and `src`, and the ids to which
they lead.  Addresses outside of the site are followed only on request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["addresses_elsewhere", "broken_links", "loaded_from_elsewhere"]

# Elements whose address a browser fetches by itself.
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
CSS_LOADS = re.compile(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for key in ("id", "name"):
            if value := given.get(key):
                self.ids.add(value)
        if tag in LOADS and (value := given.get(LOADS[tag])):
            # a link element may only name an address, as rel="canonical" does
            fetched = tag != "link" or given.get("rel") in {"stylesheet", "icon", "preload"}
            (self.loads if fetched else self.links).append(value)
        elif value := given.get("href"):
            self.links.append(value)


def _read(site: Path) -> dict[Path, _Reader]:
    found: dict[Path, _Reader] = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = _Reader()
        found[path].feed(path.read_text(encoding="utf-8"))
    return found


def _elsewhere(address: str) -> bool:
    return address.startswith(("http://", "https://", "//"))


def broken_links(site: Path) -> Iterator[str]:
    """A line for each link or picture whose file, or whose id in the file, is not there."""
    pages = _read(site)
    for path, page in pages.items():
        where = path.relative_to(site)
        for address in dict.fromkeys([*page.links, *page.loads]):
            if _elsewhere(address) or address.startswith(("data:", "mailto:", "javascript:")):
                continue
            parts = urlsplit(address)
            file = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if file.is_dir():
                file /= "index.html"
            if not file.exists():
                yield f"{where}: {address}: no such file"
            elif file in pages and parts.fragment:
                ids = pages[file].ids
                if unquote(parts.fragment) not in ids:
                    yield f"{where}: {address}: no such place in that page"


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    """A line for each file that a browser would fetch from another machine."""
    for path, page in _read(site).items():
        for address in page.loads:
            if _elsewhere(address):
                yield f"{path.relative_to(site)}: loads {address}"
    for path in sorted(site.rglob("*.css")):
        for address in CSS_LOADS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {address}"


def addresses_elsewhere(site: Path) -> dict[str, str]:
    """The addresses outside of the site, each with the first page that has it."""
    found: dict[str, str] = {}
    for path, page in _read(site).items():
        for address in page.links:
            if _elsewhere(address):
                found.setdefault(address, str(path.relative_to(site)))
    return found
