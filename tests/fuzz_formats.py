"""Mutates model files and loads them, in a process that may do nothing but raise FormatError.

    python tests/fuzz_formats.py torch7 --count 1000000 --seed 1
    python tests/fuzz_formats.py torch7 --truncate all

A mutant is a seed file with a few bytes or, more often, a few *fields* changed: the places of tags,
lengths, sizes, strides, indices and numbers in a seed are recorded by reading it once, and get
boundary values, each other's values, or vanish.  Every mutant is loaded under a limit on address
space, one second of processor time, and an audit hook.  Prints one line of JSON; exit code 1 when
anything but FormatError came out, anything was opened, imported or run, or memory was exceeded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OWN = Path(__file__).parent / "data" / "torch7" / "t7"
HEADROOM = 64_000_000  # bytes beyond 1.25 times the file
SECONDS = 1.0

BOUNDARIES = (
    *(-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 33, 100, 255, 65_536),
    *(2**31 - 1, -(2**31), 2**32, 2**53, 2**62, 2**63 - 1, -(2**63)),
)

Field = tuple[int, int, bool]  # offset, length, whether it is text
Seed = tuple[bytes, list[Field], str]


class Hang(BaseException):
    """One mutant took longer than SECONDS."""


def torch7_seeds(root: Path) -> Iterator[Seed]:
    """Small files of every kind with the places of their fields."""
    from tapegrad.nn.formats import FormatError
    from tapegrad.nn.formats.torch7_reader import read

    for path in sorted(root.glob("*.t7")):
        data = path.read_bytes()
        if len(data) > 12_000:
            continue
        fields: list[Field] = []
        recording = _recording(data, fields)
        try:
            read(data, many=True)
        except FormatError:
            pass  # files that hold code are seeds too
        finally:
            recording()
        yield data, sorted(set(fields)), path.name


def _recording(data: bytes, fields: list[Field]) -> Callable[[], None]:
    """Note where the readers read numbers, until the result is called."""
    from tapegrad.nn.formats import torch7_reader as reader

    kept = []
    for cls, names in (
        (reader._Binary, ("integer", "longs", "double")),
        (reader._Ascii, ("line",)),
    ):
        for name in names:
            original = vars(cls)[name]

            def noted(self: Any, *args: Any, original: Any = original, cls: Any = cls) -> Any:
                start = self.stream.tell()
                result = original(self, *args)
                length = self.stream.tell() - start
                text = cls is reader._Ascii
                width = length if text or length <= 8 else getattr(self, "long_size", length)
                offsets = range(start, start + length, max(width, 1))
                fields.extend((offset, width - text, text) for offset in offsets)
                return result

            setattr(cls, name, noted)
            kept.append((cls, name, original))

    def stop() -> None:
        for cls, name, original in kept:
            setattr(cls, name, original)

    return stop


def native_seeds(root: Path) -> Iterator[Seed]:
    """Files of our own format with the places of the header's pieces."""
    for path in sorted((root.parents[1] / "native").glob("*.safetensors")):
        data = path.read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        fields: list[Field] = [(0, 8, False)]
        start = None
        for i in range(8, end):
            word = chr(data[i]).isalnum() or data[i] in b"-+._"
            if word and start is None:
                start = i
            elif not word and start is not None:
                fields.append((start, i - start, True))
                start = None
        yield data, fields, path.name


def mutant(rng: random.Random, seeds: list[Seed]) -> bytes:
    """One seed with one to four changes."""
    data, fields, name = rng.choice(seeds)
    if name.endswith(".safetensors") and rng.random() < 0.6:
        return _with_other_json(rng, data)
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if fields and rng.random() < 0.6:
            _change_field(rng, result, fields)
        elif result:
            _change_bytes(rng, result, seeds)
    return bytes(result)


def _with_other_json(rng: random.Random, data: bytes) -> bytes:
    """The seed with something else in its header or architecture, and lengths that fit again."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    described = json.loads(header["__metadata__"]["tapegrad"])
    nodes: list[tuple[Any, Any]] = []
    stack: list[Any] = [described] if rng.random() < 0.7 else [header]
    while stack:
        node = stack.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            nodes.append((node, key))
            if isinstance(node[key], (dict, list)):
                stack.append(node[key])
    for _ in range(rng.choice((1, 1, 2, 3))):
        node, key = rng.choice(nodes)
        other, other_key = rng.choice(nodes)
        choices = [rng.choice(BOUNDARIES), None, True, "x", [], {}, 1.5, [[]] * 3]
        with contextlib.suppress(LookupError):  # an earlier change may have taken the place away
            if rng.random() < 0.2:
                del node[key]
            elif rng.random() < 0.5:
                node[key] = rng.choice(choices)
            else:
                node[key] = json.loads(json.dumps(other[other_key]))
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["tapegrad"] = json.dumps(described)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def _change_field(rng: random.Random, result: bytearray, fields: list[Field]) -> None:
    offset, length, text = rng.choice(fields)
    other, other_length, _ = rng.choice(fields)
    kind = rng.randrange(5)
    value = rng.choice(BOUNDARIES)
    if kind <= 1:
        if text:
            new = str(value).encode()
        else:
            order = rng.choice(("little", "little", "big"))
            new = (value % (1 << 8 * length)).to_bytes(length, order) if length else b""
        result[offset : offset + length] = new
    elif kind == 2:
        result[offset : offset + length] = result[other : other + other_length]
    elif kind == 3:
        del result[min(offset, other) : max(offset, other)]
    else:
        piece = bytes(result[min(offset, other) : max(offset, other)][:2000])
        result[offset:offset] = piece * rng.choice((1, 1, 2, 5))


def _change_bytes(rng: random.Random, result: bytearray, seeds: list[Seed]) -> None:
    at = rng.randrange(len(result))
    kind = rng.randrange(6)
    if kind == 0:
        result[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        result[at] = rng.randrange(256)
    elif kind == 2:
        del result[at:]
    elif kind == 3:
        del result[at : at + rng.choice((1, 2, 4, 8, 64))]
    elif kind == 4:
        result[at:at] = rng.randbytes(rng.choice((1, 4, 8)))
    else:
        donor = rng.choice(seeds)[0]
        result[at:] = donor[rng.randrange(len(donor)) :]


def loader(kind: str) -> Callable[[bytes], Any]:
    """What is under test: the whole way from bytes to modules."""
    from tapegrad.nn import formats

    return {"torch7": formats.torch7.load, "native": formats.native.load}[kind]


def confine(extra: int) -> None:
    """Allow `extra` more bytes of address space from now on."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(
    kind: str, mutants: Iterator[bytes], warm_up: list[bytes], keep: Path | None = None
) -> dict[str, Any]:
    """Load every mutant; what happened."""
    from tapegrad.nn.formats import FormatError

    load = loader(kind)
    warnings.simplefilter("ignore")
    watching, events = False, Counter()

    def hook(event: str, _: Any) -> None:
        if watching and event != "builtins.id":  # asking for an identity does nothing
            events[event] += 1

    def too_long(*_: Any) -> None:
        raise Hang

    for data in warm_up:  # what is imported and compiled once is imported and compiled here
        with contextlib.suppress(FormatError):
            load(data)
    sys.addaudithook(hook)
    signal.signal(signal.SIGPROF, too_long)
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    worst, largest = 0.0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    confine(HEADROOM + 100_000_000)
    for number, data in enumerate(mutants):
        largest = max(largest, len(data))
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            watching = True
            load(data)
            outcome = "loaded"
        except FormatError as error:
            outcome = type(error).__name__
            watching = False
            str(error)
        except (Exception, Hang) as error:  # noqa: BLE001  # what must not happen is what is looked for
            outcome = f"FAILED {type(error).__name__}"
            watching = False
            failures.append(f"{number}: {type(error).__name__}: {error!s:.200}")
            if keep is not None and len(failures) < 20:
                (keep / f"{kind}-{number}").write_bytes(data)
        finally:
            watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
        worst = max(worst, time.process_time() - started)
        outcomes[outcome] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {
        "outcomes": dict(outcomes.most_common()),
        "failures": failures[:20],
        "audit_events": dict(events),
        "worst_seconds": round(worst, 4),
        "peak_bytes": peak,
        "memory_ok": peak <= 1.25 * largest + HEADROOM,
    }


def truncations(seeds: list[Seed], *, everywhere: bool) -> Iterator[bytes]:
    """Each seed cut at every byte; a long one, unless `everywhere`, at the ends of its fields."""
    for data, fields, _ in seeds:
        places: Any = range(len(data))
        if len(data) > 500 and not everywhere:
            edges = {at + d for at, n, _ in fields for d in (-1, 0, 1, n)}
            places = sorted(k for k in edges if 0 <= k < len(data))[:: 1 + len(edges) // 150]
        for k in places:
            yield data[:k]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("format", choices=("torch7", "native"))
    parser.add_argument("--count", type=int, default=0, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truncate", choices=("fields", "all"), help="cut seeds instead")
    parser.add_argument("--root", type=Path, default=OWN, help="where the seed files are")
    parser.add_argument("--keep", type=Path, help="folder for the mutants that fail")
    options = parser.parse_args()
    found = {"torch7": torch7_seeds, "native": native_seeds}[options.format](options.root)
    seeds = list(found)
    if options.truncate:
        mutants = truncations(seeds, everywhere=options.truncate == "all")
    else:
        rng = random.Random(options.seed)
        mutants = (mutant(rng, seeds) for _ in range(options.count))
    started = time.perf_counter()
    report = run(options.format, mutants, [data for data, _, _ in seeds], options.keep)
    report |= {"seeds": len(seeds), "seconds": round(time.perf_counter() - started, 1)}
    sys.stdout.write(json.dumps(report) + "\n")
    failed = report["failures"] or report["audit_events"] or not report["memory_ok"]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
