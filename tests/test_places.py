"""Addresses with a scheme: every format reads and writes them, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn.core import places
from tapegrad.nn.core.files import detect_format, formats
from tapegrad.nn.formats import FormatError, LimitError, Limits, bigdl, native, torch7
from tapegrad.nn.formats.mxnet import arrays as mxnet_arrays

pytestmark = pytest.mark.extra  # fsspec belongs to the extra `ci`


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A stand-in for S3 on this machine; gives the address of a bucket."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server").ThreadedMotoServer
    import fsspec

    patch = pytest.MonkeyPatch()
    server = server_of(port=0)
    server.start()
    host, port = server.get_host_and_port()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
    yield "s3://bucket"
    server.stop()
    patch.undo()


MODEL_SUFFIXES = [kind.suffixes[0] for kind in formats() if kind.name != "mxnet"]


def check_a_model(folder: str, suffix: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model.forward(np.ones((1, 3), np.float32))  # ONNX's writer takes the last input for an example
    path = f"{folder}/sub/model{suffix}"
    if suffix == ".pb":  # which needs the shapes of the inputs
        model.saveTF([("input", (1, 3))], path)
    else:
        model.save(path)
    np.testing.assert_array_equal(first_weight(path), model[0].weight.numpy())
    assert places.exists(path)
    assert places.size_of(path) > 50
    with pytest.raises(FileExistsError):
        model.save(path, overWrite=False)
    assert first_weight(path).shape == (2, 3)


def first_weight(path: str) -> Any:
    """The weights of the Linear in a file of a model, or of arrays by name."""
    again = nn.load(path)
    return again["0.weight"] if isinstance(again, dict) else again.parameters()[0][0].numpy()


@pytest.mark.parametrize("suffix", MODEL_SUFFIXES)
def test_each_format_saves_to_and_loads_from_an_address(memory: Any, suffix: str) -> None:
    check_a_model("memory://", suffix)
    beside = ["model.prototxt"] if suffix == ".caffemodel" else []
    names = sorted(name.rpartition("/")[2] for name in memory.store)
    assert names == sorted([f"model{suffix}", *beside])


@pytest.mark.parametrize("suffix", MODEL_SUFFIXES)
def test_each_format_saves_to_and_loads_from_s3(s3: str, suffix: str) -> None:
    check_a_model(s3, suffix)


def test_files_of_several_parts_go_to_an_address(memory: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 2).setName("fc"))
    model.saveModule("memory://m/a.bigdl", "memory://m/a.bin")
    again = bigdl.load("memory://m/a.bigdl", weightPath="memory://m/a.bin")
    model.saveDefinition("memory://m/a.prototxt")
    assert str(bigdl.load_definition("memory://m/a.prototxt")) == str(again)
    model.saveWeights("memory://m/weights")
    again.loadWeights("memory://m/weights")
    model.saveTorch("memory://m/a.t7")
    assert str(torch7.load("memory://m/a.t7")) == str(model)
    mxnet_arrays.save_arrays("memory://m/x-0000.params", {"x": _ndarray()})
    found = nn.load("memory://m/x-0000.params")
    np.testing.assert_array_equal(found["x"], np.arange(3))
    assert sorted(places.names_beside("memory://m/a.bigdl")) == [
        "a.bigdl", "a.bin", "a.prototxt", "a.t7", "weights", "x-0000.params"
    ]  # fmt: skip


def _ndarray() -> Any:
    from tapegrad.nn import mxnet

    return mxnet.nd.array(np.arange(3))


def test_an_address_is_replaced_at_the_end_or_not_at_all(memory: Any) -> None:
    path = "memory://folder/model.t7"
    nn.Linear(3, 2).save(path)
    before = memory.cat(path)

    def half() -> None:
        with places.replaced(path) as stream:
            stream.write(b"half of it")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert memory.cat(path) == before
    failing = nn.Sequential(nn.GELU())
    with pytest.raises(ValueError, match="GELU"):
        failing.save(path)
    assert memory.cat(path) == before
    assert memory.ls("memory://folder", detail=False) == ["/folder/model.t7"]


def test_a_store_that_fails_while_it_is_written_keeps_what_it_had(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "memory://folder/model.t7"
    nn.Linear(3, 2).save(path)
    before = memory.cat(path)

    def moved(*_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(places.shutil, "copyfileobj", moved)
    with pytest.raises(OSError, match=r"memory://folder/model.t7: RuntimeError: no"):
        nn.Linear(3, 2).save(path)
    assert memory.cat(path) == before
    assert memory.ls("memory://folder", detail=False) == ["/folder/model.t7"]


def test_limits_hold_before_an_address_is_copied(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "memory://folder/model.safetensors"
    nn.Linear(30, 20).save(path)
    with pytest.raises(OSError, match="more than the 100 that are accepted"):
        native.load(path, limits=Limits(max_bytes=100))
    with pytest.raises(LimitError):
        native.load(memory.cat(path), limits=Limits(max_bytes=100))


def test_what_is_not_there_is_an_error_of_the_file(memory: Any) -> None:
    for load in (nn.load, bigdl.load, torch7.load, native.load):
        with pytest.raises(FileNotFoundError):
            load("memory://nothing/here.t7")
    memory.mkdir("memory://folder")
    with pytest.raises(OSError, match="no file"):
        places.size_of("memory://folder")


REFUSED = [
    "http://example.com/model.t7",
    "https://example.com/model.t7",
    "file:///etc/passwd",
    "ftp://example.com/model.t7",
    "s3://bucket/../other/model.t7",
    "s3://bucket/a//b.t7",
    "s3://bucket/./b.t7",
    "s3://bucket/a\n.t7",
    "s3://bucket/*.t7",
    "s3://bucket/model.t7?versionId=1",
    "memory://a::file:///etc/passwd",
    "zip://a.t7::s3://bucket/a.zip",
    "s3://",
    "memory:///",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_lead_elsewhere_are_refused(address: str) -> None:
    for call in (nn.load, nn.Linear(3, 2).save, places.exists, places.size_of):
        with pytest.raises(ValueError, match=r"scheme is one of|names between single slashes"):
            call(address)


def test_paths_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not places.is_remote("C://model.t7")
    assert not places.is_remote("model.t7")
    assert not places.is_remote(tmp_path)
    assert places.suffix_of("s3://bucket/Model.T7") == ".t7"
    assert places.beside("s3://bucket/a.t7", "b") == "s3://bucket/b"
    assert places.beside(tmp_path / "a", "b") == str(tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    nn.Linear(3, 2).save("model.t7")
    assert detect_format("model.t7") is not None
    (tmp_path / "empty.bigdl").touch()
    with pytest.raises(FormatError):
        nn.load("empty.bigdl")


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"pip install 'tapegrad\[remote\]'"):
        nn.load("s3://bucket/model.t7")


def test_a_folder_is_refused_by_what_to_give_instead(tmp_path: Path) -> None:
    for read in (places.opened, places.mapped, nn.load):
        with pytest.raises(IsADirectoryError, match="give the file in it") as raised:
            read(tmp_path)
        assert str(tmp_path) in str(raised.value)
