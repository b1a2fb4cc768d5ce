"""Small files of plain weights, and mutants of what is inside them, for fuzz_formats.py.

A change of any byte of a .npz file is found by its sums alone, and nothing behind them would be
tried.  So most mutants here change a member, or a header, and are packed again with right sums.
PyTorch's files are made by hand, as PyTorch writes them: the tests must run without PyTorch.
"""

from __future__ import annotations

import io
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["load", "made", "mutant", "recorded", "torch_file", "zip_file"]

Seed = tuple[bytes, list[tuple[int, int, bool]], str]


def zip_file(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def npz_files() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    types = ("f4", "f8", "f2", "i8", "i4", "i1", "u1", "u2", "c8", "c16", "?", ">f4")
    arrays = {kind: (rng.random((2, 3)) * 9).astype(kind) for kind in types}
    arrays |= {"number": np.array(1.5), "none": np.empty((0, 3)), "order": np.ones((3, 4)).T}
    for name, write in (("stored", np.savez), ("deflated", np.savez_compressed)):
        out = io.BytesIO()
        write(out, **arrays)
        yield name, out.getvalue()
    out = io.BytesIO()
    np.savez(out, weight=np.arange(6.0, dtype=np.float32))
    yield "small", out.getvalue()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def whole(value: int) -> bytes:
    return (
        b"J" + struct.pack("<i", value)
        if abs(value) < 2**31
        else b"\x8a\x08" + struct.pack("<q", value)
    )


def sizes(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def tensor(
    kind: str,
    number: str,
    count: int,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> bytes:
    """The opcodes of a tensor on storage `number`."""
    stored = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(number)
    stored += text("cpu") + whole(count) + b"tQ"
    rest = whole(offset) + sizes(shape) + sizes(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + rest + b"tR"


def parameter(inner: bytes) -> bytes:
    return b"ctorch._utils\n_rebuild_parameter\n(" + inner + b"\x88ccollections\nOrderedDict\n)RtR"


def untyped(dtype: str, number: str, count: int, shape: tuple[int, ...]) -> bytes:
    stored = b"(" + text("storage") + b"ctorch.storage\nUntypedStorage\n" + text(number)
    stored += text("cpu") + whole(count) + b"tQ"
    rest = whole(0) + sizes(shape) + sizes((1,)) + b"\x89ccollections\nOrderedDict\n)R"
    end = f"ctorch\n{dtype}\n".encode() + b"tR"
    return b"ctorch._utils\n_rebuild_tensor_v3\n(" + stored + rest + end


def pairs(entries: dict[str, bytes], kind: bytes = b"ccollections\nOrderedDict\n)R") -> bytes:
    return kind + b"(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def torch_file(root: bytes, storages: dict[str, bytes], order: bytes | None = b"little") -> bytes:
    members = {"archive/data.pkl": b"\x80\x02" + root + b"."}
    if order is not None:
        members["archive/byteorder"] = order
    members |= {f"archive/data/{number}": data for number, data in storages.items()}
    return zip_file(members | {"archive/version": b"3\n"})


def torch_files() -> Iterator[tuple[str, bytes]]:
    entries = np.arange(6, dtype="<f4")
    kinds = {
        "Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2",
        "Char": "i1", "Byte": "u1", "Bool": "?", "ComplexFloat": "c8", "BFloat16": "u2",
    }  # fmt: skip
    state = {kind: tensor(kind, str(i), 3, 0, (3,), (1,)) for i, kind in enumerate(kinds)}
    stored = {str(i): np.ones(3, kind).tobytes() for i, kind in enumerate(kinds.values())}
    yield "types", torch_file(pairs(state), stored)
    shared = {
        "weight": parameter(tensor("Float", "0", 6, 0, (2, 3), (3, 1))),
        "turned": tensor("Float", "0", 6, 0, (3, 2), (1, 3)),
        "row": tensor("Float", "0", 6, 3, (3,), (1,)),
        "number": tensor("Float", "0", 6, 5, (), ()),
        "none": tensor("Float", "0", 6, 0, (0, 4), (4, 1)),
        "wide": tensor("Float", "0", 6, 2, (5, 3), (0, 1)),
        "u16": untyped("uint16", "1", 4, (2,)),
    }
    stored = {"0": entries.tobytes(), "1": bytes(4)}
    yield "shared", torch_file(pairs(shared), stored)
    whole_file = {
        "model": pairs({"0.weight": shared["weight"]}),
        "epoch": whole(3),
        "lr": b"G" + bytes(8),
    }
    yield "checkpoint", torch_file(pairs(whole_file, b"}"), {"0": entries.tobytes()}, None)
    big = {"w": tensor("Float", "0", 6, 0, (6,), (1,))}
    yield "big", torch_file(pairs(big), {"0": entries.astype(">f4").tobytes()}, b"big")


def recorded() -> Iterator[Seed]:
    """All files, with the places of the numbers of their headers, members and pickles."""
    for ending, files in ((".npz", npz_files()), (".pt", torch_files())):
        for name, data in files:
            yield data, sorted(set(_fields(data))), name + ending


def made() -> Iterator[Seed]:
    """Nothing more: all of them are made, and stand among the recorded."""
    return iter(())


def load(data: bytes) -> Any:
    """The arrays of a file."""
    from tapegrad.nn.formats import weights

    return weights.load(data)


def _fields(data: bytes) -> Iterator[tuple[int, int, bool]]:
    layouts = {
        b"PK\x03\x04": "4HHHIIIHH",
        b"PK\x01\x02": "4HHHHIIIHHHHHII",
        b"PK\x05\x06": "4HHHHIIH",
    }
    for mark, layout in layouts.items():
        at = data.find(mark)
        while at >= 0:
            place = at
            for code in layout.replace("4", "I", 1):
                width = struct.calcsize(code)
                yield place, width, False
                place += width
            at = data.find(mark, place)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            start = data.find(info.filename.encode(), info.header_offset) + len(info.filename)
            start += int.from_bytes(
                data[info.header_offset + 28 : info.header_offset + 30], "little"
            )
            if info.filename.endswith(".pkl"):
                for opcode, _, at in pickletools.genops(archive.read(info)):
                    yield start + at, 1, False
                    if opcode.arg is not None and opcode.arg.n > 0:
                        yield start + at + 1, opcode.arg.n, False


def mutant(rng: random.Random, data: bytes, boundaries: tuple[int, ...]) -> bytes:
    """The same members, one of them changed inside, with right sums and sizes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
        method = archive.infolist()[0].compress_type
    name = rng.choice([n for n in members if n.endswith((".npy", ".pkl"))] * 8 + list(members))
    inner = bytearray(members[name])
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(CHANGES)(rng, inner, boundaries)
    members[name] = bytes(inner)
    if rng.random() < 0.1:
        members[rng.choice(["x.npy", "archive/data/0", "archive/data.pkl", "../x", name + "0"])] = (
            members.pop(rng.choice(list(members)))
        )
    return zip_file(members, method)


def _number(rng: random.Random, inner: bytearray, boundaries: tuple[int, ...]) -> None:
    """A number as text, or as bytes, is a boundary."""
    at = rng.randrange(len(inner) + 1)
    digits = [i for i, byte in enumerate(inner[:400]) if chr(byte).isdigit()]
    value = rng.choice(boundaries)
    if digits and rng.random() < 0.5:
        at = rng.choice(digits)
        inner[at : at + 1] = str(value).encode()
    else:
        width = rng.choice((1, 2, 4, 8))
        inner[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _bytes(rng: random.Random, inner: bytearray, _: tuple[int, ...]) -> None:
    at = rng.randrange(len(inner) + 1)
    kind = rng.randrange(4)
    if kind == 0 and inner:
        inner[at % len(inner)] = rng.randrange(256)
    elif kind == 1:
        del inner[at : at + rng.choice((1, 2, 8))]
    elif kind == 2:
        inner[at:at] = rng.randbytes(rng.choice((1, 4)))
    else:
        other = rng.randrange(len(inner) + 1)
        inner[at:at] = bytes(inner[min(at, other) : max(at, other)][:500]) * rng.choice((1, 2))


WORDS = (
    b"|O",
    b"<U4",
    b"V2",
    b"[('a', '<f4')]",
    b"True",
    b"False",
    b"()",
    b"Q",
    b"R",
    b"\x81",
    b"cos\nsystem\n",
)


def _word(rng: random.Random, inner: bytearray, _: tuple[int, ...]) -> None:
    at = rng.randrange(min(len(inner), 200) + 1)
    inner[at : at + rng.choice((0, 1, 3))] = rng.choice(WORDS)


CHANGES: tuple[Callable[[random.Random, bytearray, tuple[int, ...]], None], ...] = (
    _number, _number, _bytes, _bytes, _word,
)  # fmt: skip
