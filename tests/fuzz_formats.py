"""Mutates model files and loads them, in a process that may do nothing but raise FormatError.

    python tests/fuzz_formats.py torch7 --count 1000000 --seed 1
    python tests/fuzz_formats.py torch7 --truncate all

`python -m tests.nightly format_mutants` cuts every file at every byte and loads 1,000,000 mutants
of each format, and shows 100,000 of each as `tapegrad show` does; the suite
(test_formats_safety.py) does the same with fewer mutants and a sample of the cuts.

A mutant is a seed file with a few bytes or, more often, a few *fields* changed: the places of tags,
lengths, sizes, strides, indices and numbers in a seed are recorded by reading it once, and get
boundary values, each other's values, or vanish.  Every mutant is loaded under a limit on address
space, one second of processor time, and an audit hook.  Prints one line of JSON; exit code 1 when
anything but FormatError came out, anything was opened, imported or run, or memory was exceeded.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import caffe_seeds
import mxnet_seeds
import onnx_seeds
import protobuf_seeds
import tensorflow_seeds
import weights_seeds

OWN = Path(__file__).parent / "data" / "torch7" / "t7"
HEADROOM = 64_000_000  # bytes beyond 1.25 times the file
SECONDS = 1.0
LONG = 2_000  # bytes, from which a file is cut at the ends of its fields only, in the suite
# formats whose seeds, and what loads them, are in a module of their own
OF_MODULES = {
    "mxnet": mxnet_seeds,
    "bigdl": protobuf_seeds,
    "caffe": caffe_seeds,
    "onnx": onnx_seeds,
    "weights": weights_seeds,
    "tensorflow": tensorflow_seeds,
}
KINDS = ("torch7", "native", *OF_MODULES)
BEHIND_A_LETTER = ("mxnet", "bigdl", "caffe", "onnx")  # which says what their seeds are
PARTS = 4  # of a nightly run, for machines with several processors

BOUNDARIES = (
    *(-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 33, 100, 255, 65_536),
    *(2**31 - 1, -(2**31), 2**32, 2**53, 2**62, 2**63 - 1, -(2**63)),
)

Field = tuple[int, int, bool]  # offset, length, whether it is text
Seed = tuple[bytes, list[Field], str]


class Hang(BaseException):
    """One mutant took longer than SECONDS."""


def seed_files(kind: str, root: Path) -> Iterator[Seed]:
    """The files in the tests' data, each with the places of its fields."""
    if kind in OF_MODULES:
        yield from OF_MODULES[kind].recorded()
    elif kind == "torch7":
        for path in sorted(root.glob("*.t7")):
            yield torch7_seed(path.read_bytes(), path.name)
    else:
        for path in sorted((root.parents[1] / "native").glob("*.safetensors")):
            yield native_seed(path.read_bytes(), path.name)


def made_seeds(kind: str) -> Iterator[Seed]:
    """What our own writers make of every layer, and of everything else that a file can hold."""
    if kind in OF_MODULES:
        yield from OF_MODULES[kind].made()
        return
    from cases import CRITERIONS, MODULES, WITHOUT_FILES

    from tapegrad.autograd.check import Draws
    from tapegrad.nn.formats import UnsupportedError, torch7

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        for name, case in sorted((MODULES | CRITERIONS).items()):
            if name in WITHOUT_FILES:
                continue
            module = case(Draws(0)).module
            if kind == "native":
                module.save(path)
                yield native_seed(path.read_bytes(), f"{name}.safetensors")
                continue
            with contextlib.suppress(UnsupportedError):  # not one of Torch7's
                torch7.save(module, path)
                yield torch7_seed(path.read_bytes(), f"{name}.t7")
    if kind == "torch7":
        from torch7_functions import copy_of_one_type, with_functions

        for mode in ("binary", "ascii"):
            data = with_functions([copy_of_one_type(), copy_of_one_type()], mode)
            yield torch7_seed(data, f"functions of nn.Copy, {mode}.t7")
        for mode, width, order in (
            *(("binary", 8, "little"), ("binary", 4, "little"), ("binary", 8, "big")),
            *(("binary", 4, "big"), ("ascii", 8, "little")),
        ):
            out = io.BytesIO()
            _everything().write(out, mode, width, order)
            yield torch7_seed(out.getvalue(), f"{mode}, {width} bytes, {order}.t7")


def _everything() -> Any:
    """Every type of tensor and storage, views, sharing, cycles and keys of all kinds."""
    import numpy as np

    from tapegrad.nn.formats.torch7.objects import STORAGE_TYPES, Storage, Table, TorchObject
    from tapegrad.nn.formats.torch7.writer import WritePlan

    root = Table()
    for name, dtype in STORAGE_TYPES.items():
        whole = np.arange(24).astype(dtype).reshape(2, 3, 4)
        root[name] = [whole, whole.T, whole[1:, ::2], np.empty(0, dtype), whole[0, 0, 0]]
        root[f"{name}Storage"] = Storage(whole.reshape(-1), f"torch.{name}Storage")
    root["replicated"] = np.broadcast_to(np.arange(3.0), (5, 3))
    root["self"], root[True], root[1], root[root] = root, False, "one", {2.5: None, "ü": "\udcff"}
    root["numbers"] = [0, -0.0, 1.5, float("inf"), float("nan"), 2**53, -1]
    root["unknown"] = [TorchObject("my.Class", {"a": [1, {"b": "c"}]}, 0), TorchObject("x", 1, 12)]
    replica = TorchObject("cudnn.ReLU", Table({"_type": "torch.FloatTensor", "inplace": True}))
    fields = Table({"modules": [replica, replica], "gpuAssignments": [1, 2]})
    root["several"] = TorchObject("nn.DataParallelTable", fields, 2)
    root["timer"] = TorchObject("torch.Timer")
    return WritePlan(root)


def torch7_seed(data: bytes, name: str) -> Seed:
    """The places of the numbers in a Torch7 file, found by reading it once."""
    from tapegrad.nn.formats import FormatError
    from tapegrad.nn.formats.torch7.reader import read_file_objects

    fields: list[Field] = []
    recording = _recording(data, fields)
    try:
        read_file_objects(data, many=True)
    except FormatError:
        pass  # files that hold code are seeds too
    finally:
        recording()
    return data, sorted(set(fields)), name


def _recording(data: bytes, fields: list[Field]) -> Callable[[], None]:
    """Note where the readers read numbers, until the result is called."""
    from tapegrad.nn.formats.torch7 import encodings

    kept = []
    for cls, names in (
        (encodings.Binary, ("integer", "longs", "double")),
        (encodings.Ascii, ("line",)),
    ):
        for name in names:
            original = vars(cls)[name]

            def noted(self: Any, *args: Any, original: Any = original, cls: Any = cls) -> Any:
                start = self.stream.tell()
                result = original(self, *args)
                length = self.stream.tell() - start
                text = cls is encodings.Ascii
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


def native_seed(data: bytes, name: str) -> Seed:
    """The places of the words in the header of a file of our own format."""
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
    return data, fields, name


def mutant(rng: random.Random, seeds: list[Seed]) -> bytes:
    """One seed with one to four changes."""
    data, fields, name = rng.choice(seeds)
    if name.endswith(".safetensors") and rng.random() < 0.6:
        return _with_other_json(rng, data)
    if name.endswith(".onnx") and rng.random() < 0.6:
        return onnx_seeds.changed(rng, data)
    if name.endswith(".pb") and rng.random() < 0.8:
        return tensorflow_seeds.mutant(rng, data, BOUNDARIES)
    if name.endswith((".npz", ".pt")) and rng.random() < 0.7:
        return weights_seeds.mutant(rng, data, BOUNDARIES)
    if name.endswith((".bigdl", ".caffemodel")) and data[:1] == b"m" and rng.random() < 0.4:
        kind = "bigdl" if name.endswith(".bigdl") else "caffe"
        return protobuf_seeds.with_other_values(rng, data, BOUNDARIES, kind)
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
        choices = [rng.choice(BOUNDARIES), 10**400, None, True, "x", [], {}, 1.5, [[]] * 3]
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


def loader(kind: str, *, show: bool) -> Callable[[bytes], Any]:
    """What is under test: from bytes to modules, or to the lines of `tapegrad show`."""
    from tapegrad.nn import formats

    if show:
        skipped = int(kind in BEHIND_A_LETTER)
        return lambda data: shown(data[skipped:], kind)
    if kind in OF_MODULES:
        return OF_MODULES[kind].load
    return {"torch7": formats.torch7.load, "native": formats.native.load}[kind]


def shown(data: bytes, kind: str) -> list[str]:
    """The lines of `tapegrad show`; the format is looked for too, which must not fail either."""
    from tapegrad import _files
    from tapegrad.nn.core import files

    files.detect_format(data)
    return list(_files.describe_file(data, kind))


def confine(extra: int) -> None:
    """Allow `extra` more bytes of address space from now on."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(
    load: Callable[[bytes], Any],
    mutants: Iterator[bytes],
    warm_up: list[bytes],
    keep: Path | None = None,
) -> dict[str, Any]:
    """Load every mutant; what happened."""
    from tapegrad.nn.formats import FormatError

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
                (keep / f"mutant-{number}").write_bytes(data)
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


def until(mutants: Iterator[bytes], seconds: float) -> Iterator[bytes]:
    """The mutants that are asked for in this time, from the first one on; 100 at least."""
    end = time.perf_counter() + seconds
    for number, data in enumerate(mutants):
        if number >= 100 and time.perf_counter() > end:
            return
        yield data


def truncations(seeds: list[Seed], *, everywhere: bool) -> Iterator[bytes]:
    """Each seed cut at every byte; a long one, unless `everywhere`, at the ends of its fields."""
    for data, fields, _ in seeds:
        places: Any = range(len(data))
        if len(data) > LONG and not everywhere:
            edges = {at + d for at, n, _ in fields for d in (-1, 0, 1, n)}
            places = sorted(k for k in edges if 0 <= k < len(data))[:: 1 + len(edges) // 100]
        for k in places:
            yield data[:k]


def everything(*, count: int, processes: int, seed: int, minutes: float = 0) -> int:
    """All of it, in `processes` processes at a time; prints a line for each part.

    count:   mutants of each format
    minutes: if not 0, no cuts, and of the mutants as many as the processes load in this time,
             which the formats share
    Returns how many parts failed.
    """
    parts = []
    for kind in KINDS:
        if minutes:
            share = minutes * 60 * processes / len(KINDS)
            for more, part in (([], 0.8), (["--show"], 0.2)):
                limits = ["--count", str(count), "--seconds", str(share * part)]
                parts.append([kind, *more, *limits, "--seed", str(seed)])
            continue
        parts += [[kind, "--truncate", "all", "--part", f"{i}/{PARTS}"] for i in range(PARTS)]
        seeds = [str(PARTS * seed + i) for i in range(PARTS)]
        parts += [[kind, "--count", str(count // PARTS), "--seed", own] for own in seeds]
        parts.append([kind, "--show", "--count", str(count // 10), "--seed", seeds[-1]])

    def one(part: list[str]) -> int:
        command = [sys.executable, __file__, *part]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        sys.stdout.write(f"{' '.join(part)}: {done.stdout or done.stderr[-2000:]}")
        sys.stdout.flush()
        return done.returncode

    with ThreadPoolExecutor(processes) as pool:
        codes = list(pool.map(one, parts))
    failed = [" ".join(part) for part, code in zip(parts, codes, strict=True) if code]
    sys.stdout.write(f"{len(parts)} parts, failed: {failed}\n")
    return len(failed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("format", choices=KINDS)
    parser.add_argument("--count", type=int, default=0, help="how many mutants")
    parser.add_argument("--seconds", type=float, help="load no more mutants after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truncate", choices=("fields", "all"), help="cut files instead")
    parser.add_argument("--part", default="0/1", help="i/n: cuts number i, i + n, i + 2n, …")
    parser.add_argument("--show", action="store_true", help="show the files instead of loading")
    parser.add_argument("--root", type=Path, default=OWN, help="where the seed files are")
    parser.add_argument("--keep", type=Path, help="folder for the mutants that fail")
    options = parser.parse_args()
    seeds = list(seed_files(options.format, options.root))
    if options.truncate:
        if options.format in OF_MODULES:
            seeds += made_seeds(options.format)
        first, step = map(int, options.part.split("/"))
        cuts = truncations(seeds, everywhere=options.truncate == "all")
        mutants = itertools.islice(cuts, first, None, step)
    else:
        seeds += made_seeds(options.format)
        rng = random.Random(options.seed)
        mutants = (mutant(rng, seeds) for _ in range(options.count))
        if options.seconds is not None:
            mutants = until(mutants, options.seconds)
    started = time.perf_counter()
    load = loader(options.format, show=options.show)
    report = run(load, mutants, [data for data, _, _ in seeds], options.keep)
    report |= {"seeds": len(seeds), "seconds": round(time.perf_counter() - started, 1)}
    sys.stdout.write(json.dumps(report) + "\n")
    slow = report["worst_seconds"] >= SECONDS
    failed = report["failures"] or report["audit_events"] or not report["memory_ok"] or slow
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
