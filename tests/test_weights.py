"""Plain weights: arrays by name in .npz, safetensors, PyTorch's and Keras' files, into modules."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import weights_seeds as made
from fuzz_formats import SECONDS

from tapegrad import nn
from tapegrad.cli import main
from tapegrad.nn.formats import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.formats.weights import from_keras


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNormalization(2), nn.Linear(2, 1))


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name, x in a.items():
        y = np.asarray(b[name])
        assert x.dtype == y.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(x, y)


ARRAYS = {
    **{
        k: (np.arange(6) % 2).astype(k).reshape(2, 3)
        for k in ("f4", "f8", "f2", "i8", "i1", "u2", "?")
    },
    "c16": np.arange(3) * 1j,
    "big": np.arange(3, dtype=">f4"),
    "number": np.array(2.5),
    "none": np.empty((0, 3), np.float32),
    "columns": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
}


class TestNpz:
    @pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
    def test_what_numpy_writes_is_read(self, write: Any, tmp_path: Path) -> None:
        write(tmp_path / "x.npz", **ARRAYS)
        same(nn.load_weights(tmp_path / "x.npz"), ARRAYS)
        same(nn.load((tmp_path / "x.npz").read_bytes()), ARRAYS)

    def test_what_is_written_is_read_by_both_and_is_the_same_each_time(
        self, tmp_path: Path
    ) -> None:
        nn.save_weights(ARRAYS, tmp_path / "x.npz")
        same(nn.load_weights(tmp_path / "x.npz"), ARRAYS)
        with np.load(tmp_path / "x.npz") as found:
            assert all(np.array_equal(found[name], x) for name, x in ARRAYS.items())
        first = (tmp_path / "x.npz").read_bytes()
        nn.save_weights(nn.load_weights(first), tmp_path / "x.npz")
        again = nn.load_weights(tmp_path / "x.npz")
        assert again["columns"].flags.f_contiguous
        same(again, ARRAYS)

    def test_a_module_goes_to_npz_and_back(self, tmp_path: Path) -> None:
        model, other = small(), small()
        model.save(tmp_path / "a.npz")
        nn.save_weights(model, tmp_path / "b.npz")
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        report = other.load_state_dict(nn.load_weights(tmp_path / "a.npz"))
        assert len(report.matched) == 8
        same(other.state_dict(), model.state_dict())

    @pytest.mark.parametrize(
        ("array", "error"),
        [
            (np.array([{}], object), UnsafeError),
            (np.array(["a"]), UnsupportedError),
            (np.zeros(2, [("a", "f4")]), UnsupportedError),
            (np.zeros(2, "V2"), UnsupportedError),
            (np.zeros(2, "M8[s]"), UnsupportedError),
        ],
    )
    def test_what_is_no_number_is_refused(self, array: Any, error: type[FormatError]) -> None:
        out = io.BytesIO()
        np.savez(out, a=array)
        with pytest.raises(error, match=r"at a\.npy"):
            nn.load_weights(out.getvalue())

    def test_what_cannot_be_written_changes_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.npz").write_bytes(b"before")
        with pytest.raises((UnsupportedError, TypeError)):
            nn.save_weights({"a": np.array(["text"])}, tmp_path / "x.npz")
        assert (tmp_path / "x.npz").read_bytes() == b"before"
        assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
        with pytest.raises(ValueError, match=r"arrays alone are written as \.safetensors or \.npz"):
            nn.save_weights(ARRAYS, tmp_path / "x.t7")

    @pytest.mark.extra
    def test_a_large_file_takes_its_size_once(self, tmp_path: Path) -> None:
        """Read in a process of its own, so that the peak is its own."""
        nn.save_weights({"a": np.ones(10_000_000, np.float32)}, tmp_path / "x.npz")
        code = (
            "import resource, sys; from tapegrad import nn; import tapegrad.nn.formats;"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024;"
            "before = peak(); x = nn.load_weights(sys.argv[1]); print(peak() - before)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "x.npz")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert int(done.stdout) < 1.25 * 40_000_000 + 6_400_000


class TestSafetensors:
    def test_weights_of_other_programs_are_read(self, tmp_path: Path) -> None:
        arrays = {k: x for k, x in ARRAYS.items() if x.dtype.kind != "c"}
        nn.save_weights(arrays, tmp_path / "x.safetensors")
        same(nn.load_weights(tmp_path / "x.safetensors"), arrays)
        model = small()
        model.save(tmp_path / "m.safetensors")
        same(nn.load_weights(tmp_path / "m.safetensors"), model.state_dict())

    def test_bfloat16_becomes_float32(self) -> None:
        values = np.array([1.5, -2.0, 3.140625, np.inf], np.float32)
        data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        header = json.dumps({"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}})
        found = nn.load_weights(struct.pack("<Q", len(header)) + header.encode() + data)
        same(found, {"w": values.reshape(2, 2)})

    def test_weights_of_a_model_file(self, tmp_path: Path) -> None:
        model = small()
        model.save(tmp_path / "m.t7")
        same(nn.load_weights(tmp_path / "m.t7"), nn.load(tmp_path / "m.t7").state_dict())


class TestTorchByHand:
    """PyTorch's files as it writes them; TestTorch compares with PyTorch itself."""

    FILES: ClassVar = dict(made.torch_files())

    def test_all_types(self) -> None:
        found = nn.load_weights(self.FILES["types"])
        assert {k: x.dtype.str[1:] for k, x in found.items()} == {
            "Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2",
            "Char": "i1", "Byte": "u1", "Bool": "b1", "ComplexFloat": "c8", "BFloat16": "f4",
        }  # fmt: skip
        assert np.array_equal(found["Float"], [1, 1, 1])
        # a one in 16 bits, widened
        assert np.array_equal(found["BFloat16"].view(np.uint32), [1 << 16] * 3)

    def test_shared_storages_are_shared_and_strides_kept(self) -> None:
        found = nn.load_weights(self.FILES["shared"])
        same(
            found,
            {
                "weight": np.arange(6, dtype="f4").reshape(2, 3),
                "turned": np.arange(6, dtype="f4").reshape(2, 3).T,
                "row": np.array([3, 4, 5], "f4"),
                "number": np.array(5, "f4"),
                "none": np.empty((0, 4), "f4"),
                "wide": np.tile(np.array([2, 3, 4], "f4"), (5, 1)),
                "u16": np.zeros(2, "u2"),
            },
        )
        assert np.shares_memory(found["weight"], found["turned"])
        assert np.shares_memory(found["weight"], found["row"])

    def test_arrays_of_a_path_are_parts_of_the_file_that_writes_do_not_change(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "m.pt"
        path.write_bytes(self.FILES["shared"])
        found = nn.load_weights(path)
        found["weight"][0, 0] = 7
        assert found["turned"][0, 0] == 7
        assert nn.load_weights(path)["weight"][0, 0] == 0

    def test_keys_are_joined_and_numbers_left_out(self) -> None:
        found = nn.load_weights(self.FILES["checkpoint"])
        assert list(found) == ["model.0.weight"]

    def test_the_order_of_bytes_is_the_files(self) -> None:
        same(nn.load_weights(self.FILES["big"]), {"w": np.arange(6, dtype="f4")})


W = made.tensor("Float", "0", 6, 0, (6,), (1,))
SIX = {"0": bytes(24)}


def torch_with(root: bytes, **storages: bytes) -> bytes:
    return made.torch_file(root, {"0": bytes(24)} | storages)


def patched(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in data
    return data.replace(old, new, count)


def npy(header: str, entries: bytes = b"", version: bytes = b"\1\0") -> bytes:
    raw = header.encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(raw)) + raw + entries


def npz(header: str, entries: bytes = b"", version: bytes = b"\1\0") -> bytes:
    return made.zip_file({"a.npy": npy(header, entries, version)})


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def overlapping() -> bytes:
    """Two entries of the directory, one member: the bomb that is not a nested one."""
    data = made.zip_file({"a.npy": npy(described(), bytes(8)), "b.npy": npy(described(), bytes(8))})
    start = data.rfind(b"PK\5\6")
    directory = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", directory + 4)
    entry = bytearray(data[directory:second])
    other = bytearray(data[second:start])
    other[42:46] = entry[42:46]  # where its header is
    return data[:second] + bytes(other) + data[start:]


def deflated(size: int) -> bytes:
    header = npy(described(shape=f"({size // 4},)"))
    return made.zip_file({"a.npy": header + bytes(size)}, zipfile.ZIP_DEFLATED)


def twice() -> bytes:
    member = npy(described(), bytes(8))
    return made.zip_file({"a.npy": member, "b.npy": member}).replace(b"b.npy", b"a.npy")


def end_of(data: bytes, at: int, code: str, value: int) -> bytes:
    """With another number in the end record."""
    start = data.rfind(b"PK\5\6") + at
    return data[:start] + struct.pack("<" + code, value) + data[start + struct.calcsize(code) :]


GOOD = npz(described(), bytes(8))
SMALL_TORCH = torch_with(made.pairs({"w": W}))

# {} in place 0 of the memo; in place i + 1 a dict with two entries that both are place i
DOUBLED = b"}q\0" + b"".join(
    b"0}(" + made.text("a") + b"h%c" % i + made.text("b") + b"h%cuq%c" % (i, i + 1)
    for i in range(40)
)

# name -> (a file's bytes, the class of its error, what the message says)
ATTACKS: dict[str, tuple[bytes, type[FormatError], str]] = {
    # ZIP
    "a bomb of zeros": (deflated(80_000_000), LimitError, "inflated"),
    "overlapping entries": (overlapping(), FormatError, "header of|next member"),
    "a name twice": (twice(), FormatError, "each name once"),
    "bytes before the first member": (b"PK\3\4" + bytes(60) + GOOD, FormatError,
                                      "directory that ends"),
    "bytes after the end": (GOOD + b"MZ", FormatError, "comment of 0 bytes"),
    "encrypted": (patched(GOOD, b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"),
                  UnsupportedError, "encrypted"),
    "another method": (patched(GOOD, b"PK\1\2\x14\x03\x14\0\0\0\0\0",
                               b"PK\1\2\x14\x03\x14\0\0\0\x0c\0"), UnsupportedError, "deflated"),
    "a million members": (end_of(end_of(GOOD, 8, "H", 65_000), 10, "H", 65_000), FormatError,
                          "entry of the directory"),
    "several disks": (end_of(GOOD, 4, "H", 1), UnsupportedError, "one part"),
    "a directory elsewhere": (end_of(GOOD, 16, "I", 2**31), FormatError, "directory that ends"),
    "another name in the header": (patched(GOOD, b"a.npy", b"b.npy", 1), FormatError, "header of"),
    "another sum": (patched(GOOD, b"\n" + bytes(8), b"\n" + bytes(7) + b"\1"), FormatError, "sum"),
    "no end": (GOOD[:-22], TruncatedError, "end of a ZIP file"),
    "a .keras file": (made.zip_file({"config.json": b"{}", "metadata.json": b"{}"}),
                      UnsupportedError, "save_weights"),
    "a file of another kind": (made.zip_file({"run.py": b"import os"}), FormatError, "end in .npy"),
    "a path as a name": (made.zip_file({"../../etc/passwd": b"x"}), FormatError, "end in .npy"),
    # .npy
    "objects": (npz(described("'|O'"), b"cos\nsystem\n(S'true'\ntR."), UnsafeError, "pickle"),
    "code in a header": (npz("__import__('os').system('true')"), FormatError, "descr"),
    "code in a shape": (npz(described(shape="(2, exit())")), FormatError, "descr"),
    "a huge shape": (npz(described(shape="(99999999999999, 9999999999999)")), LimitError, "memory"),
    "a huge shape without entries": (npz(described(shape="(0, 9999999999999999999)")), LimitError,
                                     "memory"),
    "a negative shape": (npz(described(shape="(-2,)")), FormatError, "descr"),
    "more entries than there are": (npz(described(shape="(3,)"), bytes(8)), TruncatedError, "12"),
    "fewer entries than there are": (npz(described(shape="(1,)"), bytes(8)), FormatError,
                                     "4 bytes"),
    "too many axes": (npz(described(shape=f"({'1, ' * 33})"), bytes(4)), LimitError, "32 axes"),
    "a boolean of 2": (npz(described("'|b1'"), b"\0\2"), FormatError, "booleans"),
    "a version to come": (npz(described(), bytes(8), b"\4\0"), FormatError, "version 1 to 3"),
    "no magic": (made.zip_file({"a.npy": b"\x93NUMPX\1\0"}), FormatError, "NUMPY"),
    "an item twice": (npz("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}"), FormatError, "once"),
    "a header that never ends": (npz("{" + "'shape': (2,), " * 700), LimitError, "10000 bytes"),
    # PyTorch
    "a call of a function": (torch_with(b"cos\nsystem\n" + made.text("true") + b"\x85R"),
                             UnsafeError, "a call of os.system"),
    "a call inside a dict": (torch_with(made.pairs({"w": b"cbuiltins\neval\n" + made.text("1")
                                                    + b"\x85R"})), UnsafeError, "builtins.eval"),
    "an object of a class": (torch_with(b"cmymodel\nNet\n)\x81}b"), UnsafeError, "mymodel.Net"),
    "a reduced dict of a call": (torch_with(b"ccollections\nOrderedDict\n(cos\nsystem\ntR"),
                                 UnsafeError, "OrderedDict"),
    "TorchScript": (made.zip_file({"a/data.pkl": b"\x80\2}.", "a/constants.pkl": b"\x80\2).",
                                   "a/code/x.py": b""}), UnsafeError, "torch.jit.load"),
    "the format before": (b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\2M\xe9\3.", UnsupportedError,
                          "1.6"),
    "entries outside": (torch_with(made.tensor("Float", "0", 6, 0, (7,), (1,))), TruncatedError,
                        "7 entries"),
    "entries outside by a stride": (torch_with(made.tensor("Float", "0", 6, 1, (2, 2), (4, 2))),
                                    TruncatedError, "8 entries"),
    "a negative stride": (torch_with(made.tensor("Float", "0", 6, 5, (6,), (-1,))), FormatError,
                          "from 0"),
    "a negative offset": (torch_with(made.tensor("Float", "0", 6, -1, (2,), (1,))), FormatError,
                          "from 0"),
    "a stride of 0, a bomb": (torch_with(made.tensor("Float", "0", 6, 0, (10**9,), (0,))),
                              LimitError, "repeated"),
    "a shape without entries that no memory has": (
        torch_with(made.tensor("Float", "0", 6, 0, (0, 2**62), (1, 1))), LimitError, "fits"),
    "a storage that is not there": (torch_with(made.tensor("Float", "9", 6, 0, (6,), (1,))),
                                    FormatError, "data/9"),
    "a path as a storage": (torch_with(made.tensor("Float", "../../x", 6, 0, (6,), (1,))),
                            FormatError, "data/../../x"),
    "a storage of another size": (torch_with(made.tensor("Float", "0", 7, 0, (6,), (1,))),
                                  TruncatedError, "28 bytes"),
    "a type that NumPy lacks": (torch_with(made.tensor("QInt8", "0", 24, 0, (6,), (1,))),
                                UnsupportedError, "torch.QInt8Storage"),
    "too many axes of a tensor": (torch_with(made.tensor("Float", "0", 6, 0, (1,) * 33, (1,) * 33)),
                                  LimitError, "32 axes"),
    "booleans of 2": (torch_with(made.tensor("Bool", "1", 1, 0, (1,), (1,)), **{"1": b"\2"}),
                      FormatError, "booleans"),
    "a dict in itself": (torch_with(b"}q\0" + made.text("a") + b"h\0s"), LimitError, "64 dicts"),
    "dicts that double": (torch_with(DOUBLED), LimitError, "too many"),
    "lists in lists": (torch_with(b"]" * 5000 + b"a" * 4999), LimitError, "64 dicts"),
    "a reference that is none": (torch_with(made.text("x") + b"Q"), UnsafeError, "Outside"),
    "a deflated storage": (
        made.zip_file({"a/data.pkl": b"\x80\2" + W + b".", "a/data/0": bytes(24)},
                      zipfile.ZIP_DEFLATED), UnsupportedError, "deflated"),
    "an order of bytes that is none": (made.torch_file(W, SIX, b"middle"), FormatError, "little"),
    "nothing": (b"", FormatError, "a .npz file"),
}  # fmt: skip


class Watch:
    """Counts what a reader does besides reading, in this process: opening, importing, running."""

    on = False
    thread = threading.get_ident()  # pytest's own threads do what they like
    events: ClassVar[list[str]] = []


def _hook(event: str, _: Any) -> None:
    if (
        Watch.on
        and threading.get_ident() == Watch.thread
        and event.startswith(("open", "os.", "subprocess", "socket", "import", "exec", "compile"))
    ):
        Watch.events.append(event)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_raise_their_class_of_error_and_do_nothing(name: str) -> None:
    data, error, message = ATTACKS[name]
    formats = nn.formats.weights
    if not Watch.events and not getattr(Watch, "installed", False):
        sys.addaudithook(_hook)
        Watch.installed = True  # type: ignore[attr-defined]  # a hook cannot be removed
    Watch.events.clear()
    Watch.on = True
    try:
        with pytest.raises(FormatError, match=message) as caught:
            formats.load(data)
    finally:
        Watch.on = False
    assert Watch.events == []
    assert isinstance(caught.value, error), (type(caught.value), caught.value)


def test_the_files_that_the_attacks_change_are_good() -> None:
    same(nn.load_weights(GOOD), {"a": np.zeros(2, "f4")})
    same(nn.load_weights(SMALL_TORCH), {"w": np.zeros(6, "f4")})


def test_limits_are_the_callers() -> None:
    for limits in (Limits(max_bytes=100), Limits(max_nodes=0), Limits(max_overhead=10)):
        for data in (GOOD, SMALL_TORCH):
            with pytest.raises(LimitError, match="at most"):
                nn.load_weights(data, limits=limits)
    zeros = deflated(1_000_000)
    assert nn.load_weights(zeros)["a"].size == 250_000
    with pytest.raises(LimitError, match="inflated"):
        nn.load_weights(zeros, limits=Limits(max_expanded=0))


def test_errors_name_file_byte_and_member(tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(npz(described(shape="(3,)"), bytes(8)))
    with pytest.raises(
        TruncatedError, match=r"broken\.npz, byte 35, at a\.npy: 12 bytes of entries, found 8"
    ):
        nn.load(path)
    with pytest.raises(TypeError, match="no classes"):
        nn.load(path, classes=[nn.Linear])


@pytest.mark.extra
def test_addresses_with_a_scheme() -> None:
    pytest.importorskip("fsspec")
    place = "memory://folder/weights.npz"
    nn.formats.weights.files.write(ARRAYS, place)
    same(nn.formats.weights.files.read_plain(place), ARRAYS)


def test_weights_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nn.save_weights({"w": np.ones((2, 3), np.float32)}, tmp_path / "w.npz")
    assert main(["show", str(tmp_path / "w.npz")]) == 0
    assert "w: float32 2x3" in capsys.readouterr().out.splitlines()


# Names --------------------------------------------------------------------------------------------


class TestRename:
    STATE: ClassVar = {
        "features.0.weight": np.ones((2, 3)), "features.0.bias": np.ones(2),
        "features.1.weight": np.full(2, 2.0), "features.1.bias": np.full(2, 3.0),
        "features.1.running_mean": np.zeros(2), "features.1.running_var": np.ones(2),
        "features.1.num_batches_tracked": np.array(3),
        "head.weight": np.ones((1, 2)), "head.bias": np.ones(1),
    }  # fmt: skip
    RENAME: ClassVar = {"features.*.**": "*.**", "head.*": "2.*"}

    def test_patterns_with_stars(self) -> None:
        model = small()
        rename = {"**.num_batches_tracked": None, **self.RENAME}
        report = model.load_state_dict(self.STATE, rename=rename)
        assert report == ([], [])
        assert report.matched["2.bias"] == "head.bias"
        assert report.matched["1.running_mean"] == "features.1.running_mean"
        assert report.omitted == ["features.1.num_batches_tracked"]
        assert str(report).splitlines()[0] == "8 matched"
        assert "  2.bias <- head.bias" in str(report)
        assert np.array_equal(model.state_dict()["1.bias"], [3, 3])

    @pytest.mark.parametrize(
        "rename",
        [
            {re.compile(r"features\.(\d)\.(?!num)(.*)"): r"\1.\2", re.compile("head"): "x",
             re.compile(r"head\.(?P<what>.*)"): r"2.\g<what>", re.compile(".*num_.*"): None},
            lambda name: (
                None if "num_" in name else name.replace("features.", "").replace("head", "2")
            ),
        ],
    )  # fmt: skip
    def test_regular_expressions_and_functions(self, rename: Any) -> None:
        model = small()
        assert model.load_state_dict(self.STATE, rename=rename) == ([], [])
        assert np.array_equal(model.state_dict()["1.weight"], [2, 2])

    def test_a_star_is_one_part_of_a_name_and_backslashes_are_letters(self) -> None:
        layer = nn.Linear(1, 1)
        report = layer.load_state_dict(
            {"a.b.weight": np.ones((1, 1)), "a.bias": np.ones(1)},
            rename={"*.weight": "weight", "*.bias": "bias"}, strict=False,
        )  # fmt: skip
        assert report == (["weight"], ["a.b.weight"])
        assert (report.missing_keys, report.unexpected_keys) == (report.missing, report.left)
        assert layer.load_state_dict({"w": 1}, rename={"w": r"a\1"}, strict=False).left == [r"a\1"]

    def test_the_report_says_what_did_not_match(self) -> None:
        model = small()
        before = model.state_dict()
        state = {"0.weight": np.ones((2, 4)), "0.bias": np.ones(2), "other": np.ones(1)}
        report = model.load_state_dict(state, strict=False, skip_shapes=True)
        assert report.matched == {"0.bias": "0.bias"}
        assert report.different == {"0.weight": ((2, 3), (2, 4))}
        assert report.left == ["other"]
        assert len(report.missing) == 6
        assert "0.weight is (2, 3), the state has (2, 4)" in str(report)
        assert np.array_equal(model.state_dict()["0.weight"], before["0.weight"])

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"rename": RENAME}, KeyError, "features.1.num_batches|1.num_batches_tracked"),
            ({"rename": lambda name: "0.weight"}, ValueError, "would both be called 0.weight"),
            ({"rename": {"features.*.**": "**.*"}}, ValueError, "in their order"),
            ({"rename": {"head.weight": "*"}}, ValueError, "in their order"),
            ({"rename": ["a"]}, TypeError, "rename is a dict from patterns"),
            ({"rename": {1: "a"}}, TypeError, "rename is a dict from patterns"),
            ({"rename": {"a": 1}}, TypeError, "a new name is a text"),
            ({"rename": lambda name: 1}, TypeError, "a new name is a text"),
        ],
    )
    def test_bad_renaming_changes_nothing(self, options: Any, error: Any, message: str) -> None:
        model = small()
        before = model.state_dict()
        with pytest.raises(error, match=message):
            model.load_state_dict(self.STATE, **options)
        same(model.state_dict(), before)

    def test_an_entry_that_is_no_number_changes_nothing(self) -> None:
        model = nn.Linear(1, 1)
        before = model.state_dict()
        with pytest.raises((TypeError, ValueError)):
            model.load_state_dict({"weight": np.full((1, 1), 9.0), "bias": ["text"]})
        same(model.state_dict(), before)


# Keras --------------------------------------------------------------------------------------------


def test_names_and_axes_of_keras() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "model_weights/conv/conv/kernel:0": rng.random((3, 2, 4, 5)),
        "model_weights/conv/conv/bias:0": rng.random(5),
        "dense/kernel:0": rng.random((4, 6)),
        "deep/depthwise_kernel:0": rng.random((3, 2, 4, 2)),
        "bn/gamma:0": rng.random(4), "bn/beta:0": rng.random(4),
        "bn/moving_mean:0": rng.random(4), "bn/moving_variance:0": rng.random(4),
        "layers/dense/vars/0": rng.random(2),
    }  # fmt: skip
    found = from_keras(arrays)
    assert {name: x.shape for name, x in found.items()} == {
        "conv.weight": (5, 4, 3, 2), "conv.bias": (5,), "dense.weight": (6, 4),
        "deep.weight": (8, 1, 3, 2), "bn.weight": (4,), "bn.bias": (4,), "bn.running_mean": (4,),
        "bn.running_var": (4,), "layers.dense.vars.0": (2,),
    }  # fmt: skip
    kernel, turned = arrays["model_weights/conv/conv/kernel:0"], found["conv.weight"]
    assert turned[4, 3, 2, 1] == kernel[2, 1, 3, 4]
    assert found["deep.weight"][5, 0, 2, 1] == arrays["deep/depthwise_kernel:0"][2, 1, 2, 1]
    with pytest.raises(ValueError, match=r"two arrays would be called a\.weight"):
        from_keras({"a/kernel:0": np.ones(1), "a/gamma:0": np.ones(1)})


@pytest.mark.extra
class TestHdf5:
    @pytest.fixture
    def h5py(self) -> Any:
        return pytest.importorskip("h5py")

    def test_arrays_by_their_paths(self, h5py: Any, tmp_path: Path) -> None:
        path = tmp_path / "w.h5"
        arrays = {
            "dense/dense/kernel:0": np.arange(6, dtype="f4").reshape(3, 2),
            "dense/dense/bias:0": np.arange(2, dtype=">f8"),
            "half": np.ones(3, "f2"), "steps": np.array(7), "none": np.empty((0, 2), "f4"),
            "flags": np.array([True, False]),
        }  # fmt: skip
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
            packed = np.tile(np.arange(100.0), (1000, 10))
            file.create_dataset("packed", data=packed, compression="gzip")
        same(nn.load_weights(path), arrays | {"packed": packed})
        same(nn.load(path.read_bytes()), arrays | {"packed": packed})

    def test_a_keras_model_runs_here(self, h5py: Any, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        kernel, bias = rng.random((3, 3, 2, 4), np.float32), rng.random(4, np.float32)
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file["conv2d/conv2d/kernel:0"], file["conv2d/conv2d/bias:0"] = kernel, bias
        layer = nn.Conv2d(2, 4, 3)
        layer.load_state_dict(
            from_keras(nn.load_weights(tmp_path / "w.h5")), rename={"conv2d.*": "*"}
        )
        x = rng.random((1, 5, 6, 2), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        expected = np.einsum("nhwcij,ijco->nohw", windows, kernel) + bias[:, None, None]
        y = layer.forward(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(np.asarray(y), expected, rtol=1e-5)

    @pytest.mark.parametrize(
        "attack", ["link", "external", "virtual", "soft", "text", "bomb", "self"]
    )
    def test_attacks_of_hdf5(self, attack: str, h5py: Any, tmp_path: Path) -> None:
        secret = tmp_path / "secret.h5"
        with h5py.File(secret, "w") as file:
            file["data"] = np.arange(4.0)
        path = tmp_path / "w.h5"
        expected: dict[str, tuple[type[FormatError], str]] = {
            "link": (UnsafeError, "a link to another file"),
            "external": (UnsafeError, "lie in another file"),
            "virtual": (UnsafeError, "virtual"),
            "soft": (UnsupportedError, "none of the file's own"),
            "text": (UnsupportedError, "no number"),
            "bomb": (LimitError, "more than"),
            "self": (FormatError, "in two places"),
        }
        with h5py.File(path, "w") as file:
            file["a"] = np.ones(2)
            if attack == "link":
                file["w"] = h5py.ExternalLink(str(secret), "data")
            elif attack == "external":
                file.create_dataset("w", (4,), "u1", external=[(str(secret), 0, 4)])
            elif attack == "virtual":
                layout = h5py.VirtualLayout((4,), "f8")
                layout[:] = h5py.VirtualSource(str(secret), "data", (4,))
                file.create_virtual_dataset("w", layout)
            elif attack == "soft":
                file["w"] = h5py.SoftLink("/a")
            elif attack == "text":
                file["w"] = ["text"]
            elif attack == "bomb":
                file.create_dataset("w", (10**10,), "f8", chunks=(10**6,))
            else:
                file.create_group("g")["again"] = file["/"]
        error, message = expected[attack]
        with pytest.raises(FormatError, match=message) as caught:
            nn.load_weights(path)
        assert isinstance(caught.value, error)
        assert str(path) in str(caught.value)

    def test_broken_files_of_hdf5_are_refused(self, h5py: Any, tmp_path: Path) -> None:
        """Also those that crash the library, in its own process; no more than FormatError comes."""
        path = tmp_path / "w.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("a/kernel:0", data=np.ones((20, 20)), compression="gzip")
            file["b"] = np.arange(3.0)
        data = path.read_bytes()
        rng, outcomes = np.random.default_rng(0), set()
        for number in range(24):
            broken = bytearray(data)
            if number % 3 == 0:
                del broken[int(rng.integers(9, len(data))) :]
            else:
                for at in rng.integers(8, 2200, 8):
                    broken[at] = int(rng.choice([0, 1, 127, 255, rng.integers(256)]))
            try:
                nn.load_weights(bytes(broken))
                outcomes.add("loaded")
            except FormatError:
                outcomes.add("refused")
        assert "refused" in outcomes

    def test_without_h5py_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"pip install 'tapegrad\[files\]'"):
            nn.load_weights(b"\x89HDF\r\n\x1a\n" + bytes(100))


# PyTorch ------------------------------------------------------------------------------------------


@pytest.mark.extra
class TestTorch:
    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch")

    def test_all_that_torch_saves_is_read(self, torch: Any, tmp_path: Path) -> None:
        base = torch.arange(24.0).reshape(4, 6)
        state = {
            "base": base, "turned": base.T, "row": base[2], "step": base[::2, 1::2],
            "parameter": torch.nn.Parameter(base * 2), "number": torch.tensor(3.5),
            "empty": torch.empty(0, 3), "wide": torch.ones(1).expand(5, 4),
            **{str(kind): torch.arange(5).to(kind) for kind in (
                torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
                torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.uint32,
                torch.uint64)},
        }  # fmt: skip
        torch.save(state, tmp_path / "x.pt")
        found = nn.load_weights(tmp_path / "x.pt")
        same(found, {k: x.detach().numpy() for k, x in state.items()})
        assert np.shares_memory(found["base"], found["step"])
        brain = {"w": torch.randn(50).bfloat16()}
        torch.save(brain, tmp_path / "y.pth")
        same(nn.load_weights(tmp_path / "y.pth"), {"w": brain["w"].float().numpy()})

    def test_a_trained_model_has_equal_outputs(self, torch: Any, tmp_path: Path) -> None:
        torch.manual_seed(0)
        theirs = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
            torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(8 * 4 * 4, 5),
        )  # fmt: skip
        optimizer = torch.optim.Adam(theirs.parameters(), 0.01)
        x = torch.randn(16, 3, 8, 8)
        for _ in range(5):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(theirs(x), torch.arange(16) % 5).backward()
            optimizer.step()
        path = tmp_path / "checkpoint.pt"
        torch.save(
            {"model": theirs.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 5}, path
        )
        ours = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.SpatialBatchNormalization(8), nn.ReLU(),
            nn.SpatialMaxPooling(2, 2), nn.View(8 * 4 * 4), nn.Linear(8 * 4 * 4, 5),
        )  # fmt: skip
        report = ours.load_state_dict(
            nn.load_weights(path),
            rename={"**.num_batches_tracked": None, "model.**": "**", "optimizer.**": None},
        )
        assert len(report.matched) == 8
        with torch.no_grad():
            expected = theirs.eval()(x).numpy()
        y = ours.evaluate().forward(x.numpy())
        np.testing.assert_allclose(np.asarray(y), expected, rtol=1e-5, atol=1e-6)

    def test_whole_modules_and_old_formats_are_refused(self, torch: Any, tmp_path: Path) -> None:
        model = torch.nn.Linear(2, 2)
        torch.save(model, tmp_path / "x.pt")
        with pytest.raises(UnsafeError, match=r"torch\.save\(model\.state_dict\(\), path\)"):
            nn.load_weights(tmp_path / "x.pt")
        torch.save(model.state_dict(), tmp_path / "y.pt", _use_new_zipfile_serialization=False)
        with pytest.raises(UnsupportedError, match=r"since version 1\.6"):
            nn.load_weights(tmp_path / "y.pt")


# Mutants ------------------------------------------------------------------------------------------


@pytest.mark.extra
@pytest.mark.skipif(sys.platform != "linux", reason="limits and timers of Linux")
@pytest.mark.parametrize("kind", ["weights", "tensorflow"])
@pytest.mark.parametrize(
    "arguments", [("--count", "20000"), ("--show", "--count", "2000"), ("--truncate", "fields")]
)
def test_mutants_raise_format_errors_or_load(kind: str, arguments: tuple[str, ...]) -> None:
    script = Path(__file__).with_name("fuzz_formats.py")
    done = subprocess.run(
        [sys.executable, str(script), kind, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["worst_seconds"] < SECONDS
    if "--truncate" not in arguments:
        # they are not all rejected at the first byte
        assert report["outcomes"]["loaded"] > sum(report["outcomes"].values()) / 50
