"""A hostile file can do nothing but raise one family of errors.

The mutants run in a process of their own (fuzz_formats.py) with a limit on address space, a timer
and an audit hook; `python -m tests.nightly format_mutants` loads a million of each format, and cuts
every file at every byte.  Attacks that a mutation would hardly find are written out here.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn.core.transient import ATTRIBUTE
from tapegrad.nn.formats import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
    native,
    torch7,
)
from tapegrad.nn.formats.common.names import PROTOCOL
from tapegrad.nn.formats.native import safetensors_file
from tapegrad.nn.formats.torch7 import reader as torch7_reader

pytestmark = pytest.mark.extra  # README's command has five minutes

HERE = Path(__file__).parent
SCRIPT = HERE / "fuzz_formats.py"


def run(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode >= 0, f"killed by signal {-done.returncode}"
    assert done.stdout, done.stderr[-2000:]
    return json.loads(done.stdout)


def assert_harmless(report: dict[str, Any], least: int) -> None:
    assert report["failures"] == []
    assert report["audit_events"] == {}
    assert report["memory_ok"], report
    assert report["worst_seconds"] < 1
    assert sum(report["outcomes"].values()) >= least
    assert not [kind for kind in report["outcomes"] if kind.startswith("FAILED")]


@pytest.mark.skipif(sys.platform != "linux", reason="limits and timers of Linux")
class TestMutants:
    @pytest.mark.parametrize("kind", ["torch7", "native", "bigdl"])
    def test_mutants_raise_format_errors_or_load(self, kind: str) -> None:
        report = run(kind, "--count", "20_000")
        assert_harmless(report, 20_000)
        # they are not all rejected at the first byte
        assert report["outcomes"]["loaded"] > 20_000 / 200

    def test_mutants_of_caffe_raise_format_errors_or_load(self) -> None:
        report = run("caffe", "--count", "20_000")
        assert_harmless(report, 20_000)
        assert report["outcomes"]["loaded"] > 20_000 / 20

    @pytest.mark.parametrize("kind", ["torch7", "native"])
    def test_mutants_are_shown_or_raise_format_errors(self, kind: str) -> None:
        report = run(kind, "--show", "--count", "5_000", "--seed", "1")
        assert_harmless(report, 5_000)
        assert report["outcomes"]["loaded"] > 5_000 / 50

    def test_truncated_files_are_refused(self) -> None:
        assert_harmless(run("native", "--truncate", "all"), 1_000)

    def test_truncated_files_of_caffe_are_refused(self) -> None:
        """At every byte of files of up to 2,000, and at the ends of some fields of longer ones."""
        assert_harmless(run("caffe", "--truncate", "fields"), 1_000)

    def test_truncated_files_of_torch7_are_refused(self) -> None:
        """At every byte of files of up to 2,000, and at the ends of some fields of longer ones."""
        assert_harmless(run("torch7", "--truncate", "fields"), 1_000)


# Attacks ------------------------------------------------------------------------------------------


def i(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def q(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def text(value: str) -> bytes:
    return i(len(value)) + value.encode()


def storage(count: int, data: bytes, index: int = 2, kind: str = "Double") -> bytes:
    return i(4, index) + text("V 1") + text(f"torch.{kind}Storage") + q(count) + data


def tensor(
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    stored: bytes,
    kind: str = "Double",
) -> bytes:
    header = i(4, 1) + text("V 1") + text(f"torch.{kind}Tensor") + i(len(sizes))
    return header + q(*sizes) + q(*strides) + q(offset) + stored


FOUR = storage(4, struct.pack("<4d", 1, 2, 3, 4))


def number(value: float) -> bytes:
    return i(1) + struct.pack("<d", value)


NUMBER = number(1.0)

ATTACKS = {
    "function, old": (i(6, 1), UnsafeError),
    "function, older": (i(7, 1), UnsafeError),
    "function": (i(8, 1, 4) + b"\x1bLJ\2", UnsafeError),
    "function as a key": (i(3, 1, 1) + i(8, 2, 0) + NUMBER, UnsafeError),
    "function in fields": (i(4, 1) + text("V 1") + text("nn.Linear") + i(8, 2, 0), UnsafeError),
    "endless string": (i(2, 2**31 - 1), TruncatedError),
    "string of negative length": (i(2, -1), FormatError),
    "endless table": (i(3, 1, 2**31 - 1), TruncatedError),
    "endless storage": (storage(2**62, b""), TruncatedError),
    "storage of negative length": (storage(-1, b""), FormatError),
    "length that overflows in bytes": (storage(2**61 + 1, b"12345678"), FormatError),
    "view outside its storage": (tensor((5,), (1,), 1, FOUR), FormatError),
    "view before its storage": (tensor((2,), (1,), 0, FOUR), FormatError),
    "view with a negative stride": (tensor((2,), (-1,), 3, FOUR), FormatError),
    "view with a huge stride": (tensor((2,), (2**61,), 1, FOUR), FormatError),
    "stride 0 bomb": (tensor((2**40,), (0,), 1, FOUR), LimitError),
    "stride 0 bomb in many axes": (tensor((2**16,) * 4, (0,) * 4, 1, FOUR), LimitError),
    "sizes that overflow": (tensor((2**62, 4), (0, 1), 1, FOUR), LimitError),
    "too many axes": (tensor((1,) * 33, (1,) * 33, 1, FOUR), LimitError),
    "negative number of axes": (
        i(4, 1) + text("V 1") + text("torch.DoubleTensor") + i(-1) + q(1) + i(0),
        FormatError,
    ),
    "a tensor that is its own storage": (tensor((1,), (1,), 1, i(4, 1)), FormatError),
    "a storage with the tensor's index": (
        tensor((1,), (1,), 1, storage(1, b"12345678", index=1)),
        FormatError,
    ),
    "a storage of another type": (
        tensor((1,), (1,), 1, storage(2, b"12345678", kind="Float")),
        FormatError,
    ),
    "a table where a tensor was": (
        i(3, 9, 2) + NUMBER + tensor((4,), (1,), 1, FOUR) + i(2, 1) + b"x" + i(3, 1),
        FormatError,
    ),
    "nil as a key": (i(3, 1, 1) + i(0) + NUMBER, FormatError),
    "nan as a key": (i(3, 1, 1) + i(1) + struct.pack("<d", np.nan) + NUMBER, FormatError),
    "one key twice": (i(3, 1, 2) + (NUMBER + NUMBER) * 2, FormatError),
    "a boolean of 2": (i(5, 2), FormatError),
    "an unknown tag": (i(77), FormatError),
    "something after the end": (i(5, 1) + b"\0", FormatError),
    "a class that is no name": (i(4, 1) + text("V 1") + text("os.system('x')") + i(0), FormatError),
    "tds": (i(4, 1) + text("V 1") + text("tds.Hash") + q(1), UnsupportedError),
    "nested 100,000 deep": (b"".join(i(3, n, 1) + NUMBER for n in range(100_000)), LimitError),
    "nested keys 100,000 deep": (b"".join(i(3, n, 1) for n in range(100_000)), LimitError),
    "empty": (b"", TruncatedError),
    "one byte": (b"\0", TruncatedError),
    "not Torch7": (b"\x93NUMPY\1\0", FormatError),
    "a pickle": (b"\x80\4cos\nsystem\n(S'true'\ntR.", FormatError),
    "ascii: no number": (b"1\nfour\n", FormatError),
    "ascii: a table of x": (b"3\n1\nx\n", FormatError),
    "ascii: an underscore in a number": (b"1\n1_0\n", FormatError),
    "ascii: a tag of many digits": (b"1" * 100_000, FormatError),
    "ascii: a table of 10^9": (b"3\n1\n1000000000\n", TruncatedError),
    "ascii: a function": (b"8\n1\n4\nabcd\n", UnsafeError),
    "ascii: a number that is no long": (
        b"4\n1\n3\nV 1\n17\ntorch.LongStorage\n1\n99999999999999999999\n",
        FormatError,
    ),
    "a view of nothing": (tensor((2, 0), (1, 1), 1, i(4, 2, 99)), FormatError),
    "a storage that is a tensor": (
        i(3, 9, 2)
        + NUMBER
        + tensor((4,), (1,), 1, FOUR)
        + number(2.0)
        + i(4, 5)
        + tensor((4,), (1,), 1, i(4, 1))[8:],
        FormatError,
    ),
    "stride 0 bombs that are small one by one": (
        i(3, 9, 3)
        + b"".join(
            i(1)
            + struct.pack("<d", n)
            + i(4, n)
            + tensor((4_000_000,), (0,), 1, FOUR if n == 1 else i(4, 2))[8:]
            for n in (1, 3, 4)
        ),
        LimitError,
    ),
    "a storage cut in its data": (storage(4, struct.pack("<2d", 1, 2)), TruncatedError),
    "ascii: a line without end": (b"2\n" + b"1" * 100, FormatError),
    "ascii: numbers on two lines": (
        b"4\n1\n3\nV 1\n18\ntorch.DoubleTensor\n2\n1\n1 1\n1\n0\n",
        FormatError,
    ),
    "ascii: a string without its newline": (b"2\n3\nabcd\n", FormatError),
    "ascii: a string that is cut": (b"3\n1\n1\n2\n9\nabcdefg\n\n", TruncatedError),
    "ascii: letters among numbers": (
        b"4\n1\n3\nV 1\n19\ntorch.DoubleStorage\n2\n1.0 x\n",
        FormatError,
    ),
    "ascii: more numbers than promised": (
        b"4\n1\n3\nV 1\n19\ntorch.DoubleStorage\n2\n1.0 2.0 3.0\n",
        FormatError,
    ),
    "ascii: a number of 1,000 digits": (
        b"4\n1\n3\nV 1\n19\ntorch.DoubleStorage\n40000\n" + b"1 " * 32_500 + b"1" * 30_000,
        FormatError,
    ),
    "ascii: a number that is none": (
        b"4\n1\n3\nV 1\n19\ntorch.DoubleStorage\n2\n1.0 e-e\n",
        FormatError,
    ),
    "ascii: an entry with a fraction": (
        b"4\n1\n3\nV 1\n16\ntorch.IntStorage\n2\n1 2.5\n",
        FormatError,
    ),
    "ascii: fewer numbers than promised": (
        b"4\n1\n3\nV 1\n19\ntorch.DoubleStorage\n3\n1.0 2.0\n",
        FormatError,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_raise_their_class_of_error(name: str, tmp_path: Path) -> None:
    data, error = ATTACKS[name]
    tracemalloc.start()
    with pytest.raises(FormatError) as caught:
        torch7.load(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(caught.value, error), caught.value
    assert peak < 64_000_000 + len(data)
    assert caught.value.offset is not None
    (tmp_path / "attack.t7").write_bytes(data)
    with pytest.raises(error, match=r"attack\.t7"):
        torch7.load(tmp_path / "attack.t7")


def test_errors_say_where() -> None:
    data = i(3, 1, 1) + i(2) + text("layers") + i(3, 2, 1) + NUMBER + i(99)
    with pytest.raises(FormatError) as caught:
        torch7.load(data)
    error = caught.value
    assert error.path == "root.layers[1]"
    assert error.offset == len(data)
    assert error.found == "99"
    assert "tag" in error.expected


def test_text_may_have_other_ends_of_lines_and_none_at_the_last() -> None:
    assert torch7.load(b"5\n1") is True
    assert torch7.load(b"2\r\n3\r\nabc\r\n") == "abc"
    assert torch7.load(b"2\n3\nabc") == "abc"
    many = b"1 " * 32_768  # as many characters as are read at once, then the end of the line
    data = b"4\n1\n3\nV 1\n19\ntorch.DoubleStorage\n32768\n" + many + b"\n"
    assert torch7.load(data).array.sum() == 32_768


def test_a_stride_that_means_nothing_may_be_anything() -> None:
    for stride in (0, 7, 2**62):
        array = torch7.load(tensor((1, 4), (stride, 1), 1, FOUR))
        assert array.tolist() == [[1, 2, 3, 4]]


def test_limits_are_the_callers() -> None:
    many = i(3, 1, 100) + b"".join(i(1) + struct.pack("<d", n) + i(5, 1) for n in range(1, 101))
    assert torch7.load(many) == [True] * 100
    for limits in (Limits(max_nodes=50), Limits(max_bytes=100), Limits(max_overhead=1000)):
        with pytest.raises(LimitError):
            torch7.load(many, limits=limits)
    with pytest.raises(LimitError, match="max_depth"):
        torch7.load(i(3, 1, 1) + NUMBER + i(3, 2, 1) + NUMBER + i(5, 1), limits=Limits(max_depth=1))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    for load in (torch7.load, nn.load):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "nothing.t7")


# Memory ------------------------------------------------------------------------------------------


def peak_of(load: Any, path: Path) -> int:
    tracemalloc.start()
    kept = load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return peak


def test_a_large_file_takes_its_own_size_in_memory(tmp_path: Path) -> None:
    array = np.arange(5_000_000, dtype=np.float64)
    torch7.save({"a": array, "b": array.astype(np.float32)}, tmp_path / "x.t7")
    size = (tmp_path / "x.t7").stat().st_size
    assert peak_of(torch7.load, tmp_path / "x.t7") < 1.02 * size + 1_000_000
    nn.Linear(4000, 4000).save(tmp_path / "x.safetensors")
    size = (tmp_path / "x.safetensors").stat().st_size
    assert peak_of(nn.load, tmp_path / "x.safetensors") < 1.02 * size + 1_000_000


# Entries of a table: the smallest files for the most Python objects of each kind.
COSTLY: dict[str, Callable[[int], bytes]] = {
    "numbers": lambda n: number(n) + number(n + 0.5),
    "empty tables": lambda n: number(n) + i(3, n + 10, 0),
    "strings": lambda n: i(2, 8) + b"%08d" % n + i(2) + text("ab"),
    "strings beyond ASCII": lambda n: number(n) + i(2, 4) + "\U0001f600".encode(),
    "empty tensors": lambda n: (
        number(n) + i(4, n + 10) + text("torch.ByteTensor") + i(0) + q(1) + i(0)
    ),
    "objects": lambda n: number(n) + i(4, n + 10) + text("x.y") + i(0),
    "modules": lambda n: number(n) + i(4, n + 10) + text("nn.Tanh") + i(3, -n - 1, 0),
}


@pytest.mark.filterwarnings("ignore::tapegrad.nn.formats.UnknownClassWarning")
@pytest.mark.parametrize("kind", COSTLY)
def test_many_small_objects_take_what_they_are_charged_for(kind: str, tmp_path: Path) -> None:
    """48 MB of objects are allowed for; they may take 64.  Measured at a tenth of that."""
    limits = Limits(max_overhead=4_800_000)
    path, entry = tmp_path / "x.t7", COSTLY[kind]
    accepted = 40_000
    while True:
        path.write_bytes(i(3, 1, accepted) + b"".join(entry(n) for n in range(accepted)))
        try:
            torch7.objects(path, limits=limits)
            break
        except LimitError:
            accepted = accepted * 3 // 4
    assert accepted > 1_000
    peak = peak_of(lambda file: torch7.load(file, limits=limits), path)
    assert peak < 1.25 * path.stat().st_size + 6_400_000, f"{accepted}: {peak / 1e6:.1f} MB"


# Our own format --------------------------------------------------------------------------------


def ours(header: Any, data: bytes = b"", architecture: Any = None) -> bytes:
    if architecture is not None:
        inner = architecture if isinstance(architecture, str) else json.dumps(architecture)
        header = {"__metadata__": {"format": "tapegrad", "tapegrad": inner}} | header
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def one(cls: Any = "Tanh", attributes: Any = None, tensors: Any = (), version: Any = 1) -> Any:
    module = {"class": cls, "attributes": attributes or {}}
    return {"version": version, "modules": [module], "tensors": list(tensors)}


ARRAY = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
TWICE = {"w": ARRAY["w"], "v": ARRAY["w"]}
VIEW = {"kind": "buffer", "data": "w", "shape": [2], "strides": [1], "offset": 0}

NATIVE_ATTACKS = {
    "header longer than the file": ((10**9).to_bytes(8, "little") + b"{}", TruncatedError),
    "header that is no JSON": (ours(b"{"), FormatError),
    "header that is a list": (ours(b"[]"), FormatError),
    "key twice": (ours(b'{"a":1,"a":1}'), FormatError),
    "NaN": (ours(b'{"a":NaN}'), FormatError),
    "a number of 10,000 digits": (ours(b'{"a":' + b"1" * 10_000 + b"}"), FormatError),
    "nested JSON": (ours(b"[" * 100_000), LimitError),
    "overlap": (ours(TWICE, bytes(8)), FormatError),
    "hole": (
        ours({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
        FormatError,
    ),
    "data missing": (ours(ARRAY, bytes(4)), TruncatedError),
    "data left over": (ours(ARRAY, bytes(12)), FormatError),
    "negative shape": (
        ours({"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)),
        FormatError,
    ),
    "huge shape of nothing": (
        ours({"w": {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}}),
        FormatError,
    ),
    "unknown dtype": (
        ours({"w": {"dtype": "F4", "shape": [16], "data_offsets": [0, 8]}}, bytes(8)),
        UnsupportedError,
    ),
    "arrays only": (ours(ARRAY, bytes(8)), FormatError),
    "unknown class": (ours({}, architecture=one("os.system")), UnsupportedError),
    "a class that is no string": (ours({}, architecture=one(["Tanh"])), FormatError),
    "a newer version": (ours({}, architecture=one(version=99)), UnsupportedError),
    "a method overwritten": (ours({}, architecture=one(attributes={"forward": 1})), FormatError),
    "a dunder": (ours({}, architecture=one(attributes={"__class__": 1})), FormatError),
    "a property overwritten": (ours({}, architecture=one(attributes={"train": 1})), FormatError),
    "modules that are none": (ours({}, architecture=one(attributes={"modules": [1]})), FormatError),
    "a module out of range": (
        ours({}, architecture=one(attributes={"a": {"module": 5}})),
        FormatError,
    ),
    "a tensor out of range": (
        ours({}, architecture=one(attributes={"a": {"tensor": -1}})),
        FormatError,
    ),
    "an integer parameter": (
        ours(
            {"w": {"dtype": "I32", "shape": [2], "data_offsets": [0, 8]}},
            bytes(8),
            one(tensors=[{"kind": "parameter", "data": "w"}]),
        ),
        FormatError,
    ),
    "a view outside": (ours(ARRAY, bytes(8), one(tensors=[VIEW | {"offset": 1}])), FormatError),
    "a view that is a bomb": (
        ours(ARRAY, bytes(8), one(tensors=[VIEW | {"shape": [2**40], "strides": [0]}])),
        LimitError,
    ),
    "arrays that nothing uses": (ours(ARRAY, bytes(8), one()), FormatError),
    "nested lists": (
        ours({}, architecture=one(attributes={"a": json.loads("[" * 90 + "]" * 90)})),
        LimitError,
    ),
    "an unhashable key": (
        ours({}, architecture=one(attributes={"a": {"dict": [[[1], 2]]}})),
        FormatError,
    ),
    "architecture that is no JSON": (ours({}, architecture="{"), FormatError),
    "no length": (b"1234567", TruncatedError),
    "metadata that are no strings": (ours({"__metadata__": {"a": 1}}), FormatError),
    "an array without shape": (ours({"w": {"dtype": "F32"}}), FormatError),
    "a shape that is no list": (
        ours({"w": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}, bytes(8)),
        FormatError,
    ),
    "as many bytes as another shape": (
        ours({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)),
        FormatError,
    ),
    "too many axes": (
        ours({"w": {"dtype": "F32", "shape": [1] * 33, "data_offsets": [0, 4]}}, bytes(4)),
        LimitError,
    ),
    "a boolean of 2": (
        ours({"w": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\0\2"),
        FormatError,
    ),
    "a version that is no number": (ours({}, architecture=one(version="1")), FormatError),
    "a part too many": (ours({}, architecture=one() | {"code": ""}), FormatError),
    "modules that are no objects": (ours({}, architecture=one() | {"modules": [1]}), FormatError),
    "a tensor of another kind": (
        ours(ARRAY, bytes(8), one(tensors=[{"kind": "code", "data": "w"}])),
        FormatError,
    ),
    "a tensor with half a view": (
        ours(ARRAY, bytes(8), one(tensors=[VIEW | {"more": 1}])),
        FormatError,
    ),
    "a view with a negative stride": (
        ours(ARRAY, bytes(8), one(tensors=[VIEW | {"strides": [-1]}])),
        FormatError,
    ),
    "a view of too many axes": (
        ours(ARRAY, bytes(8), one(tensors=[VIEW | {"shape": [1] * 33, "strides": [1] * 33}])),
        FormatError,
    ),
    "a module without attributes": (
        ours({}, architecture=one() | {"modules": [{"class": "Tanh"}]}),
        FormatError,
    ),
    "a mode that is none": (ours({}, architecture=one(attributes={"_training": 1})), FormatError),
    "a type that is none": (ours({}, architecture=one(attributes={"_type": "f8"})), FormatError),
    "two kinds at once": (
        ours({}, architecture=one(attributes={"a": {"module": 0, "tensor": 0}})),
        FormatError,
    ),
    "a kind that is none": (ours({}, architecture=one(attributes={"a": {"code": 0}})), FormatError),
    "a record that is none": (
        ours({}, architecture=one(attributes={"a": {"record": ["Popen", []]}})),
        FormatError,
    ),
    "a record of other fields": (
        ours({}, architecture=one(attributes={"a": {"record": ["Step", [1]]}})),
        FormatError,
    ),
    "a bare name in version 2": (ours({}, architecture=one(version=2)), UnsupportedError),
    "a system that is none": (
        ours({}, architecture=one("os.system", version=2)),
        UnsupportedError,
    ),
    "a class that is called as ours, by its module": (
        ours({}, architecture=one("tapegrad.nn.layers.activation.Tanh", version=2)),
        UnsupportedError,
    ),
    "a full name in version 1": (ours({}, architecture=one("nn.Tanh")), UnsupportedError),
    "a record of other fields, in version 2": (
        ours({}, architecture=one("nn.Tanh", {"a": {"record": ["nn.Step", [1]]}}, version=2)),
        FormatError,
    ),
    "a record's bare name in version 2": (
        ours({}, architecture=one("nn.Tanh", {"a": {"record": ["Step", [0] * 6]}}, version=2)),
        FormatError,
    ),
    "a dataclass that is no record": (
        ours({}, architecture=one(attributes={"a": {"record": ["Limits", [0] * 6]}})),
        FormatError,
    ),
    "a key that cannot be shown": (  # a module that is half built
        ours({}, architecture=one("LSTM", {"a": {"dict": [[[{"module": 0}], 1]]}})),
        FormatError,
    ),
    "half a pair": (
        ours({}, architecture=one(attributes={"a": {"dict": [["key"]]}})),
        FormatError,
    ),
    "no modules": (
        ours({}, architecture={"version": 1, "modules": [], "tensors": []}),
        FormatError,
    ),
}


@pytest.mark.parametrize("name", sorted(PROTOCOL | {ATTRIBUTE}))
@pytest.mark.parametrize(("cls", "version"), [("Tanh", 1), ("nn.Tanh", 2)])
@pytest.mark.parametrize("value", [1, None, {"module": 0}])
def test_no_file_replaces_what_runs_a_module(name: str, cls: str, version: int, value: Any) -> None:
    data = ours({}, architecture=one(cls, {name: value}, version=version))
    with pytest.raises(FormatError, match=rf"the name of an attribute, found '{name}'"):
        native.load(data)


@pytest.mark.parametrize("name", NATIVE_ATTACKS)
def test_attacks_on_our_own_format_raise_their_class_of_error(name: str) -> None:
    data, error = NATIVE_ATTACKS[name]
    with pytest.raises(FormatError) as caught:
        native.load(data)
    assert isinstance(caught.value, error), caught.value
    assert caught.value.offset is not None


def test_limits_of_our_own_format_are_the_callers(tmp_path: Path) -> None:
    nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).save(tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    for limits in (Limits(max_bytes=100), Limits(max_nodes=1), Limits(max_overhead=100)):
        with pytest.raises(LimitError, match="at most"):
            native.load(data, limits=limits)


def test_a_view_within_the_limit_is_built() -> None:
    wide = [VIEW | {"shape": [3, 2], "strides": [0, 1]}]
    module = native.load(ours(ARRAY, bytes(8), one(tensors=wide, attributes={"a": {"tensor": 0}})))
    assert module.a.shape == (3, 2)


class Shrinking(io.BytesIO):
    """A file that loses its end while it is being read."""

    def __init__(self, data: bytes, after: int) -> None:
        super().__init__(data)
        self.after = after

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, max(self.after - self.tell(), 0)))

    def readinto(self, buffer: Any) -> int:
        return super().readinto(buffer[: max(self.after - self.tell(), 0)])

    def readline(self, size: int | None = -1) -> bytes:
        return super().readline(min(size or 0, max(self.after - self.tell(), 0)))


def test_a_file_that_shrinks_while_it_is_read_is_truncated() -> None:
    data = i(4, 1) + text("V 1") + text("torch.DoubleStorage") + q(4) + bytes(32)
    for after in range(4, len(data)):
        with pytest.raises(TruncatedError):
            torch7_reader._read_stream(Shrinking(data, after), len(data), None, False, 8, Limits())
    words = b"2\n7\nabcdefg\n"
    for after in range(4, len(words) - 1):
        with pytest.raises(TruncatedError):
            torch7_reader._read_stream(
                Shrinking(words, after), len(words), None, False, 8, Limits()
            )
    data = ours(ARRAY, bytes(8), one(tensors=[{"kind": "buffer", "data": "w"}]))
    for after in range(len(data)):
        with pytest.raises(TruncatedError):
            safetensors_file._read(Shrinking(data, after), len(data), None, Limits(), data=True)
