"""The frame for protobuf files: random messages, with the protobuf library as the judge."""

from __future__ import annotations

import functools
import io
import math
import random
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapegrad.nn.formats import FormatError, LimitError, Limits, TruncatedError, UnsupportedError
from tapegrad.nn.formats.common.protobuf import Enum, Field, Message, Record, Schema

NUMBERS = ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "bool")
FIXED = ("float", "fixed32", "sfixed32", "double", "fixed64", "sfixed64")
COLOURS = Enum("Colour", {"RED": 0, "GREEN": 1, "BLUE": 7, "DARK": -3})


def schema(syntax: Any) -> Schema:
    """A message with a field of every kind: alone, repeated both ways, in a oneof, in maps."""
    kinds = (*NUMBERS, *FIXED, "string", "bytes", "Colour", "All")
    number = iter(range(1, 200))
    fields = [Field(next(number), f"one_{kind}", kind) for kind in kinds]
    fields += [Field(next(number), f"many_{kind}", kind, repeated=True) for kind in kinds]
    for packed in (True, False):
        fields += [
            Field(
                next(number), f"bulk_{kind}_{packed}", kind, repeated=True, bulk=True, packed=packed
            )
            for kind in (*NUMBERS, *FIXED)
        ]
    fields += [Field(next(number), f"or_{kind}", kind, oneof="choice") for kind in kinds]
    fields += [
        Field(next(number), f"map_{kind}", kind, key=key)
        for kind, key in zip(kinds, ("string", *NUMBERS, *FIXED[1:3], *FIXED[4:]) * 2, strict=False)
    ]
    return Schema("test", syntax, [Message("All", *fields)], [COLOURS])


SCHEMAS = {syntax: schema(syntax) for syntax in ("proto2", "proto3")}
LETTERS = "ab \n\"\\'\x00\x7f\u00e9\u20ac\U0001f600{}#"


def value_of(rng: random.Random, kind: str, syntax: str, depth: int) -> Any:
    """A random value of a kind: often one at the end of its range."""
    if kind == "All":
        return random_record(rng, syntax, depth - 1)
    if kind == "Colour":
        return rng.choice(list(COLOURS.numbers.values()))
    if kind in ("float", "double"):
        edges = (0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 1e-45, 3e38, -0.1)
        value = rng.choice((*edges, rng.gauss(0, 1)))
        return float(np.float32(value)) if kind == "float" else value
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "string":
        return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(5)))
    if kind == "bytes":
        return rng.randbytes(rng.randrange(5))
    bits = 32 if "32" in kind else 64
    low = 0 if kind[0] == "u" or kind.startswith("fixed") else -(2 ** (bits - 1))
    high = 2**bits - 1 if low == 0 else 2 ** (bits - 1) - 1
    return rng.choice((low, high, 0, 1, 127, 128, rng.randint(low, high)))


def random_record(rng: random.Random, syntax: str, depth: int = 2) -> Record:
    """A random message of up to eight fields."""
    message = SCHEMAS[syntax].messages["All"]
    record = Record(message)
    fields = [f for f in message.fields if depth or f.kind != "All"]
    for field in rng.sample(fields, rng.randrange(9)):
        draw = functools.partial(value_of, rng, field.kind, syntax, depth)
        if field.key is not None:
            key = functools.partial(value_of, rng, field.key, syntax, 0)
            value: Any = {key(): draw() for _ in range(rng.randrange(4))}
        elif field.repeated:
            value = [draw() for _ in range(rng.randrange(5))]
            value = np.array(value, field.dtype) if field.bulk else value
        else:
            value = draw()
        setattr(record, field.name, value)
    return record


SEEDS = st.integers(0, 2**32).map(random.Random)


def written(syntax: str, record: Record) -> bytes:
    stream = io.BytesIO()
    assert SCHEMAS[syntax].write(record, stream) == len(stream.getvalue())
    return stream.getvalue()


@pytest.fixture(scope="module")
def library() -> Any:
    from protobuf_judge import judge

    return {syntax: judge(SCHEMAS[syntax])["All"] for syntax in SCHEMAS}


@pytest.mark.extra
@pytest.mark.parametrize("syntax", SCHEMAS)
def test_the_library_reads_what_we_write_and_we_read_what_it_writes(
    syntax: str, library: Any
) -> None:
    from protobuf_judge import from_library

    kind = SCHEMAS[syntax].messages["All"]

    @settings(max_examples=500, deadline=None)
    @given(SEEDS)
    def check(rng: random.Random) -> None:
        record = random_record(rng, syntax)
        data = written(syntax, record)
        theirs = library[syntax].FromString(data)
        mine = SCHEMAS[syntax].read(theirs.SerializeToString(), "All")
        assert SCHEMAS[syntax].read(data, "All") == mine
        assert from_library(theirs, kind) == mine

    check()


@pytest.mark.extra
@pytest.mark.parametrize("syntax", SCHEMAS)
def test_the_text_format_and_the_library_agree(syntax: str, library: Any) -> None:
    from google.protobuf import text_format

    @settings(max_examples=500, deadline=None)
    @given(SEEDS, st.booleans(), st.booleans())
    def check(rng: random.Random, on_one_line: bool, pointy: bool) -> None:
        record = random_record(rng, syntax)
        text = SCHEMAS[syntax].text(record)
        mine = SCHEMAS[syntax].read_text(text.encode(), "All")
        data = written(syntax, record)
        assert mine == SCHEMAS[syntax].read(data, "All")
        theirs = text_format.Parse(text, library[syntax]())
        assert SCHEMAS[syntax].read(theirs.SerializeToString(), "All") == mine
        other = text_format.MessageToString(
            theirs,
            as_one_line=on_one_line,
            pointy_brackets=pointy,
            use_short_repeated_primitives=True,
        )
        assert SCHEMAS[syntax].read_text(other.encode(), "All") == mine

    check()


def test_a_record_has_the_defaults_of_its_fields() -> None:
    record = SCHEMAS["proto3"].new("All", one_string="x")
    assert (record.one_string, record.one_int32, record.one_bytes) == ("x", 0, b"")
    assert record.one_All.one_All.many_int32 == []
    assert "one_All" not in record
    assert "one_string" in record
    assert record.which("choice") is None
    record.or_float = 2.0
    record.or_string = "y"
    assert record.which("choice") == "or_string"
    assert record.or_float == 0.0
    record.many_int32.append(3)
    assert record.many_int32 == [3]
    del record.many_int32
    assert "many_int32" not in record
    with pytest.raises(AttributeError, match="set the message first"):
        record.one_All.one_int32 = 1
    with pytest.raises(AttributeError, match="has no field 'other'"):
        record.other = 1
    with pytest.raises(AttributeError, match="has no field 'other'"):
        _ = record.other
    tables = Schema(
        "t", "proto2", [Message("M", Field(1, "c", "Colour", default="BLUE"))], [COLOURS]
    )
    assert tables.new("M").c == 7


def test_tables_that_are_wrong_are_refused() -> None:
    with pytest.raises(ValueError, match="what is 'Nothing'"):
        Schema("t", "proto3", [Message("M", Field(1, "x", "Nothing"))])
    with pytest.raises(ValueError, match="same number or name"):
        Message("M", Field(1, "x", "int32"), Field(1, "y", "int32"))
    with pytest.raises(ValueError, match="bulk"):
        Schema("t", "proto3", [Message("M", Field(1, "x", "float", bulk=True))])
    with pytest.raises(ValueError, match="same name"):
        Schema("t", "proto3", [Message("M"), Message("M")])


SMALL = Schema(
    "t",
    "proto3",
    [
        Message(
            "Net",
            Field(1, "name", "string"),
            Field(2, "layer", "Layer", repeated=True),
            Field(3, "attr", "Layer", key="string"),
        ),
        Message(
            "Layer",
            Field(1, "data", "float", repeated=True, bulk=True),
            Field(2, "sub", "Layer"),
            Field(3, "raw", "bytes", bulk=True),
            Field(4, "n", "int32", repeated=True, bulk=True),
            Field(5, "size", "int64", repeated=True),
        ),
    ],
)


def field(number: int, wire: int, body: bytes) -> bytes:
    head = bytes([number << 3 | wire])
    return head + (bytes([len(body)]) if wire == 2 else b"") + body


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.float32)
    net = SMALL.new("Net", name="n", layer=[SMALL.new("Layer", data=values, raw=values.view("u1"))])
    path = tmp_path / "net"
    with path.open("wb") as stream:
        SMALL.write(net, stream)
    [layer] = SMALL.read(path, "Net").layer
    np.testing.assert_array_equal(layer.data, values)
    np.testing.assert_array_equal(layer.raw.view(np.float32), values)
    for view in (layer.data, layer.raw):
        assert not view.flags.owndata
        assert not view.flags.writeable
    # written one by one, each with its tag, they are views with strides; in two pieces, copies
    one_by_one = b"".join(field(1, 5, struct.pack("<f", v)) for v in values)
    again = SMALL.read(one_by_one, "Layer").data
    np.testing.assert_array_equal(again, values)
    assert not again.flags.owndata
    assert again.strides == (5,)
    mixed = one_by_one + field(1, 2, values[:20].tobytes()) + one_by_one[:10]
    np.testing.assert_array_equal(
        SMALL.read(mixed, "Layer").data, np.concatenate([values, values[:20], values[:2]])
    )


WRONG = {
    "cut in a tag": (b"\x80", TruncatedError, "the end of a varint"),
    "a text beyond the end": (b"\x0a\x05abc", TruncatedError, "5 bytes, found 3"),
    "a text that is no UTF-8": (b"\x0a\x02\xc3\x28", FormatError, "UTF-8 for Net.name"),
    "a number for a text": (b"\x08\x01", FormatError, "bytes with a length for Net.name"),
    "field 0": (b"\x02\x00", FormatError, "number of a field"),
    "a child longer than its parent": (
        field(2, 2, b"\x12\x05") + bytes(9),
        TruncatedError,
        r"at root.layer\[0\]: 5 bytes, found 0",
    ),
    "an array of no whole numbers": (
        field(2, 2, b"") + field(2, 2, field(1, 2, b"abc")),
        FormatError,
        r"at root.layer\[1\]: a multiple of 4 bytes",
    ),
    "in a map": (
        field(3, 2, field(1, 2, b"key") + field(2, 2, field(2, 2, b"\x12"))),
        TruncatedError,
        r"at root.attr\[key\].sub: the end of a varint",
    ),
    "eleven bytes": (field(2, 2, field(4, 2, b"\xff" * 10 + b"\1")), FormatError, "10 bytes"),
    "65 bits": (field(2, 2, field(5, 0, b"\xff" * 9 + b"\2")), FormatError, "64 bits"),
    "65 bits, packed": (field(2, 2, field(4, 2, b"\xff" * 9 + b"\2")), FormatError, "64 bits"),
    "a group that does not end": (b"\x7b\x08\x01", TruncatedError, "the end"),
    "the end of no group": (b"\x7c", FormatError, "wire type"),
    "wire type 7": (b"\x7f", FormatError, "wire type"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_an_error_with_its_place(name: str) -> None:
    data, kind, text = WRONG[name]
    with pytest.raises(kind, match=text) as caught:
        SMALL.read(data, "Net", file="net.bin")
    assert caught.value.file == "net.bin"
    assert caught.value.offset is not None


def nested(times: int) -> bytes:
    data = b""
    for _ in range(times):
        size, head = len(data), bytearray()
        while size > 127:
            head.append(size & 127 | 128)
            size >>= 7
        data = b"\x12" + bytes(head) + bytes([size]) + data
    return data


def test_depth_nodes_and_memory_have_limits() -> None:
    SMALL.read(nested(99), "Layer")
    with pytest.raises(LimitError, match="100 deep"):
        SMALL.read(nested(100), "Layer")
    with pytest.raises(LimitError, match="100 deep"):
        SMALL.read(nested(20_000), "Layer")
    with pytest.raises(LimitError, match="groups"):
        SMALL.read(b"\x7b" * 200_000, "Layer")
    with pytest.raises(LimitError, match="memory"):
        SMALL.read(b"\x12\x00" * 1_000_000, "Net")
    with pytest.raises(LimitError, match="at most 10 values"):
        SMALL.read(b"\x12\x00" * 20, "Net", Limits(max_nodes=10))
    with pytest.raises(LimitError, match="at most 3 bytes"):
        SMALL.read(b"\x12\x00" * 20, "Net", Limits(max_bytes=3))
    with pytest.raises(LimitError, match="memory"):  # ten bytes of memory for each byte
        SMALL.read(b"\x22\x80\x80\x80\x04" + bytes(2**23), "Layer")


def test_unknown_fields_are_passed_over_and_counted() -> None:
    data = field(9, 0, b"\x07") + field(1, 2, b"n") + field(10, 2, b"abc") + field(9, 0, b"\x01")
    data += bytes([11 << 3 | 3]) + field(1, 0, b"\x05") + bytes([11 << 3 | 4])
    skipped: Counter[str] = Counter()
    assert SMALL.read(data, "Net", skipped=skipped).name == "n"
    assert skipped == {"Net.9": 2, "Net.10": 1, "Net.11": 1}


def test_what_a_field_can_not_hold_is_refused_before_anything_is_written() -> None:
    stream = io.BytesIO()
    layer = SMALL.new("Layer", size=[2**63])
    net = SMALL.new("Net", name="n", layer=[SMALL.new("Layer"), layer])
    with pytest.raises(UnsupportedError, match=r"root.layer\[1\].size: a number of int64"):
        SMALL.write(net, stream)
    for wrong in ({"name": "\ud800"}, {"name": 5}):
        with pytest.raises(UnsupportedError, match=r"root.name: a text"):
            SMALL.write(SMALL.new("Net", **wrong), stream)
    for numbers in (np.array([2**40]), np.array([0.5])):
        with pytest.raises(UnsupportedError, match="numbers"):
            SMALL.write(SMALL.new("Layer", n=numbers), stream)
    deep = SMALL.new("Layer")
    for _ in range(100):
        deep = SMALL.new("Layer", sub=deep)
    with pytest.raises(UnsupportedError, match="100 deep"):
        SMALL.write(deep, stream)
    assert stream.getvalue() == b""


TEXT = """
# a comment
name: "a\\tb\\303\\251" 'and \\x41' # and one more
layer { data: 1 data: [2.5, -inf, 1e3f,]  size: [0x10, 010, -7]; sub < n: 3, n: 4; > },
layer: { data: nan }
layer [ { size: 1 }, < size: 2 > ]
attr { key: "k" value { size: 5 } }
"""


def test_the_text_format_is_read_as_people_write_it() -> None:
    net = SMALL.read_text(TEXT.replace(",]", "]").encode(), "Net")
    assert net.name == "a\tb\u00e9and A"
    first, second, third, fourth = net.layer
    np.testing.assert_array_equal(first.data, np.float32([1, 2.5, -math.inf, 1000]))
    assert first.size == [16, 8, -7]
    assert list(first.sub.n) == [3, 4]
    assert np.isnan(second.data).all()
    assert (third.size, fourth.size) == ([1], [2])
    assert net.attr["k"].size == [5]
    assert SMALL.read_text(SMALL.text(net).encode(), "Net") == net


TEXT_WRONG = {
    TEXT: "line 4: a value after the comma",
    "nam: 1": "line 1: a field of Net",
    "\n\nlayer {": "line 3: the name of a field or }",
    "layer { size: 1.5 }": "a whole number for size",
    "layer { size: 99999999999999999999 }": "64 bits",
    "layer { size: " + "9" * 5000 + " }": "fewer digits",
    "layer { data: x }": "a number for data",
    "name: 5": "a text in quotes for name",
    "name: 'a": "a word",
    "name: 'a' name: 'b'": "name once",
    "name 'a'": "':' or '{'",
    "name: '\\q'": "escape",
    "name: '\\ud800'": "a character",
    "name: '\\777'": "a byte",
    "name: '\\377'": "UTF-8",
    "layer: 5": "'{' for layer",
    "name { }": "a value for name",
    "name: ['a']": "one value for name",
    "layer { sub {} sub {} }": "sub once",
    "}": "the name of a field",
    "layer { sub { " + "sub { " * 200: "100 deep",
    "layer [" * 200: "'{' for layer",
    "layer [ { sub { " + "sub { " * 200: "100 deep",
}


@pytest.mark.parametrize("text", TEXT_WRONG, ids=TEXT_WRONG.values())
def test_what_is_wrong_in_a_text_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        SMALL.read_text(text.encode(), "Net")
    assert TEXT_WRONG[text] in str(caught.value)


def test_unknown_fields_of_a_text_are_passed_over_where_that_is_asked_for() -> None:
    skipped: Counter[str] = Counter()
    text = 'other: "a" "b" more { x: [1, { y: 2 }] z <> } layer { size: 3 what: YES }'
    assert SMALL.read_text(text.encode(), "Net", skipped=skipped).layer[0].size == [3]
    assert skipped == {"Net.other": 1, "Net.more": 1, "Layer.what": 1}


def test_cut_at_every_byte_a_message_is_whole_or_an_error() -> None:
    data = written(
        "proto3",
        SCHEMAS["proto3"].new(
            "All",
            one_All=SCHEMAS["proto3"].new(
                "All",
                many_string=["abc", "d"],
                bulk_float_False=np.float32([1, 2]),
                map_int32={"k": 5},
            ),
        ),
    )
    for size in range(1, len(data)):
        with pytest.raises(TruncatedError):
            SCHEMAS["proto3"].read(data[:size], "All")
