"""Read behaviours.txt and behaviours_rdd.txt, which hold what BigDL 2.4 did, call by call.

A line is "OK   label -> what came out", "FAIL label | what was raised", or text that was printed,
which `entries` finds by how it begins.  Texts may go on over several lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from bigdl_recordings import DIRECTORY

NOISE = re.compile(r"\d{4}-\d\d-\d\d |BDONE$|OK   (BigDL loads )?std caffe")
GOES_ON = re.compile(r"[\s)}\[]")


class Entry(NamedTuple):
    """One line: the heading above it, what it is about, and what it says."""

    section: str
    label: str
    ok: bool
    text: str

    @property
    def key(self) -> str:
        return f"{self.section}: {self.label}"


class Translation(NamedTuple):
    """The same call here; `same` is False where DIFFERENCES.md must say what happens."""

    key: str
    same: bool
    check: Callable[[str], None]


TRANSLATIONS: dict[str, Translation] = {}
PRINTED: dict[str, list[str]] = {}  # by section, how printed lines begin


def same(
    section: str, label: str, *, printed: bool = False
) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Declare the translation of a line that says what happens here too.

    The function gets the line's text, and checks it against the call here.
    printed: the line is no OK or FAIL, but begins with `label`
    """
    return _declare(section, label, printed, True)


def differs(
    section: str, label: str, *, printed: bool = False
) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Declare the translation of a line that says what does not happen here, as `same` does."""
    return _declare(section, label, printed, False)


def _declare(
    section: str, label: str, printed: bool, is_same: bool
) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    def declare(check: Callable[[str], None]) -> Callable[[str], None]:
        key = f"{section}: {label.strip()}"
        assert key not in TRANSLATIONS, f"{key} is translated twice"
        TRANSLATIONS[key] = Translation(key, is_same, check)
        if printed:
            PRINTED.setdefault(section, []).append(label)
        return check

    return declare


def entries() -> Iterator[Entry]:
    """Every line of the recording; a file that is not there has none."""
    section, lines = "", []
    for line in _lines():
        if line.startswith("=== "):
            section = line.removeprefix("=== ")
        elif line.strip() and lines and lines[-1][0] == section and GOES_ON.match(line):
            lines[-1] = (section, f"{lines[-1][1]}\n{line}")
        elif line.strip() and not NOISE.match(line):
            lines.append((section, line))
    for at, line in lines:
        yield _entry(at, line)


def _lines() -> Iterator[str]:
    for file, heading in (("behaviours.txt", ()), ("behaviours_rdd.txt", ("=== two partitions",))):
        path = DIRECTORY / file
        if path.is_file():
            yield from (*heading, *path.read_text(encoding="utf-8").splitlines())


def _entry(section: str, line: str) -> Entry:
    if line.startswith("OK "):
        label, _, text = line.removeprefix("OK ").strip().partition(" -> ")
        return Entry(section, label, True, text)
    if line.startswith("FAIL "):
        label, _, text = line.removeprefix("FAIL ").partition(" | ")
        return Entry(section, label.strip(), False, text)
    begins = [each for each in PRINTED.get(section, ()) if line.startswith(each)]
    label = max(begins, key=len, default=line[:40])
    return Entry(section, label.strip(), True, line.removeprefix(label))


# Reading values -----------------------------------------------------------------------------------


def arrays(text: str) -> list[np.ndarray]:
    """The arrays that a line shows: "[1x2]:1.0,2.0 ; [1]:3.0"."""
    found = re.findall(r"\[([\dx]+)\]:([-\d.,E]+)", text)
    return [
        np.array([float(n) for n in values.split(",") if n], np.float32).reshape(
            [int(n) for n in shape.split("x")]
        )
        for shape, values in found
    ]


def numbers(text: str) -> list[float]:
    """The numbers of a line, in order."""
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:E-?\d+)?", text)]
