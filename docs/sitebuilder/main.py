"""The command: `python docs/build.py`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from sitebuilder.links import addresses_elsewhere, broken_links, loaded_from_elsewhere
from sitebuilder.places import DOCS, ROOT
from sitebuilder.staging import SiteError, stage

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Build the site; 0 when nothing was wrong, else 1, and lines on standard error."""
    parser = argparse.ArgumentParser(prog="python docs/build.py", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", help="the folder")
    parser.add_argument(
        "--no-execute",
        action="store_true",
        help="show notebooks without outputs where no executed copy is at hand",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier build made")
    parser.add_argument("--external", action="store_true", help="follow links to other sites, too")
    given = parser.parse_args(arguments)
    begun = time.perf_counter()
    # Examples run in folders of their own, where Hypothesis would read all of our source anew.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".hypothesis"))
    output = given.output.resolve()
    source = output.parent / f"{output.name}-source"
    if given.fresh:
        for folder in (output, source, source.parent / f"{source.name}-extra"):
            shutil.rmtree(folder, ignore_errors=True)
    try:
        pages = stage(source, execute=not given.no_execute)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    _drop_stale(output, {Path(path).with_suffix(".html").as_posix() for path in pages})
    if _sphinx(source, output):
        return 1
    shutil.copytree(source.parent / f"{source.name}-extra", output, dirs_exist_ok=True)
    wrong = [*broken_links(output), *loaded_from_elsewhere(output)]
    if given.external:
        wrong += _unanswered(addresses_elsewhere(output))
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    seconds = time.perf_counter() - begun
    print(f"{len(pages)} pages in {seconds:.0f} s: {output / 'index.html'}")
    return 1 if wrong else 0


def _drop_stale(output: Path, current: set[str]) -> None:
    """Remove what an earlier build made of pages that are gone."""
    for path in output.rglob("*.html"):
        if path.relative_to(output).as_posix() not in current:
            path.unlink()


def _sphinx(source: Path, output: Path) -> int:
    from sphinx.cmd.build import build_main

    jobs = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    settings = ["-c", str(DOCS / "sitebuilder"), "-d", str(output.parent / f"{output.name}-cache")]
    # Without -W, which stops at the first, all warnings are shown; --fail-on-warning counts them.
    return build_main(["-q", "-W", "--keep-going", "-j", jobs, *settings, str(source), str(output)])


def _unanswered(addresses: dict[str, str]) -> list[str]:
    """A line for each address elsewhere that gives no page."""
    wrong = []
    for address, page in addresses.items():
        request = urllib.request.Request(address, headers={"User-Agent": "tapegrad-docs"})  # noqa: S310  # http or https, from our own pages
        try:
            with urllib.request.urlopen(request, timeout=20):  # noqa: S310  # as above
                continue
        except (urllib.error.URLError, TimeoutError) as error:
            wrong.append(f"{page}: {address}: {error}")
    return wrong
