"""Where files are: paths on this machine, and addresses with a scheme ("s3://bucket/model.t7").

Every format reads by `opened` or `mapped` and writes by `replaced`, so all of them take addresses.
What is behind an address is copied to a file without a name here before anything of it is read;
what is written is complete here before anything of it goes there, and appears there as a whole.

Addresses need the extra `remote`, and for a scheme other than s3 and memory the library that fsspec
names.  http is not among the schemes: its answers lead on to other machines.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tapegrad.autograd.core.atomic_file import replace_file

__all__ = [
    "beside",
    "copy_of_view",
    "exists",
    "file_name",
    "is_remote",
    "mapped",
    "source_name",
    "names_beside",
    "opened",
    "replaced",
    "size_of",
    "suffix_of",
]

Place = str | os.PathLike[str]
Array = np.ndarray[Any, Any]

# Stores that show an object when it is complete, and not before.
_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs")
SCHEMES = (*_WHOLE, "hdfs", "viewfs", "memory")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_ODD = re.compile(r"[\x00-\x1f\x7f\\?#*\[\]]|::")
_CHUNK = 1 << 22
NO_FSSPEC = "{path} needs fsspec: pip install 'tapegrad[remote]'"
NO_SCHEME = "{path}: a path, or an address whose scheme is one of {schemes}"
NO_KEY = "{path}: names between single slashes, without '..', wildcards and control characters"
IS_A_FOLDER = "this is a folder; give the file in it that holds the model"
TOO_LARGE = "{path} has {size} bytes, more than the {most} that are accepted"


def is_remote(path: Any) -> bool:
    """Whether a path is an address with a scheme.  Letters of drives are no schemes."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def file_name(path: Place) -> str:
    """The last part of a path or an address: the name of the file in its folder."""
    return os.fspath(path).rpartition("/")[2] if is_remote(path) else Path(path).name


def beside(path: Place, name: str) -> str:
    """The path, or the address, of the file called `name` in the same folder."""
    if is_remote(path):
        return f"{os.fspath(path).rpartition('/')[0]}/{name}"
    return os.fspath(Path(path).with_name(name))


def names_beside(path: Place) -> list[str]:
    """The names of the files in the same folder.  Raises OSError."""
    if is_remote(path):
        files, key = _store(os.fspath(path))
        with _errors_of_files(os.fspath(path)):
            return [found.rpartition("/")[2] for found in files.ls(key.rpartition("/")[0], False)]
    return [found.name for found in Path(path).parent.iterdir()]


def suffix_of(path: Place) -> str:
    """The ending of the name, ".t7", in small letters."""
    return Path(file_name(path)).suffix.lower()


def source_name(source: Place | bytes) -> str | None:
    """What errors call a file; None for bytes."""
    return None if isinstance(source, bytes) else os.fspath(source)


def size_of(path: Place) -> int:
    """The bytes of a file.  Raises OSError; ValueError for an address that is not accepted."""
    if is_remote(path):
        files, key = _store(os.fspath(path))
        with _errors_of_files(os.fspath(path)):
            return _size(files, key)
    return Path(path).stat().st_size


def exists(path: Place) -> bool:
    """Whether there is a file, or a folder, of this name."""
    if is_remote(path):
        files, key = _store(os.fspath(path))
        with _errors_of_files(os.fspath(path)):
            return bool(files.exists(key))
    return Path(path).exists()


def opened(path: Place, most: int | None = None) -> BinaryIO:
    """Open a file for reading; what is behind an address, as a copy that goes with the stream.

    most: how many bytes are accepted, which is asked before an address is copied
    Raises OSError for the file, ValueError for an address that is not accepted, ImportError where
    fsspec is missing.
    """
    if not is_remote(path):
        try:
            return Path(path).open("rb")
        except IsADirectoryError as error:
            name = os.fspath(path)
            raise IsADirectoryError(error.errno, IS_A_FOLDER, name) from None
    files, key = _store(os.fspath(path))
    copy = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        with _errors_of_files(os.fspath(path)):
            size = _size(files, key)
            _check_size(path, size, most)
            with files.open(key, "rb") as stream:
                shutil.copyfileobj(stream, copy, _CHUNK)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _check_size(path: Place, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise OSError(TOO_LARGE.format(path=path, size=size, most=most))


def mapped(source: Place | bytes) -> tuple[Any, str | None]:
    """(bytes or a map of a file, its name); the map lives as long as something points to it.

    Raises OSError for the file; else as `opened`.
    """
    if isinstance(source, bytes):
        return source, None
    with opened(source) as stream:
        if not os.fstat(stream.fileno()).st_size:  # a map has at least one byte
            return b"", os.fspath(source)
        try:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), os.fspath(source)
        except (OSError, ValueError, io.UnsupportedOperation):  # a pipe, a device
            return stream.read(), os.fspath(source)


def copy_of_view(view: Array, dtype: Any) -> Array:
    """A copy of an array that may be a view of a map; the map's pages are given back meanwhile.

    view: (n,).  Both the pages and the copy would be in memory otherwise.
    """
    owner: Any = view
    while isinstance(owner, (np.ndarray, memoryview)):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(owner, "madvise") or view.nbytes < _CHUNK:
        return np.array(view, dtype)
    result = np.empty(view.shape, dtype)
    begin = np.frombuffer(owner, np.uint8, 1).__array_interface__["data"][0]
    step, page = _CHUNK // view.itemsize, mmap.PAGESIZE
    done = (view.__array_interface__["data"][0] - begin) // page * page
    for start in range(0, view.size, step):
        part = view[start : start + step]
        result[start : start + step] = part
        end = (part.__array_interface__["data"][0] - begin + part.nbytes) // page * page
        owner.madvise(mmap.MADV_DONTNEED, done, end - done)
        done = end
    return result


@contextlib.contextmanager
def replaced(path: Place) -> Iterator[BinaryIO]:
    """Open a file for writing that becomes `path` at the end of the block, if nothing is raised.

    Raises OSError, and leaves `path` as it was; else as `opened`.
    """
    if not is_remote(path):
        with replace_file(path) as stream:
            yield stream
        return
    address = os.fspath(path)
    files, key = _store(address)
    with tempfile.TemporaryFile() as whole:
        yield whole
        whole.seek(0)
        with _errors_of_files(address):
            _send(files, key, whole, address)


def _send(files: Any, key: str, whole: BinaryIO, address: str) -> None:
    if address.partition("://")[0].lower() in _WHOLE:
        target = files.open(key, "wb", autocommit=False)
        try:
            shutil.copyfileobj(whole, target, _CHUNK)
            target.close()
        except BaseException:
            target.discard()
            raise
        target.commit()
        return
    folder, _, name = key.rpartition("/")
    part = f"{folder}/.{name}.{secrets.token_hex(6)}.part"
    try:
        with files.open(part, "wb") as target:
            shutil.copyfileobj(whole, target, _CHUNK)
        if files.exists(key):  # Hadoop renames to no name that is there
            files.rm_file(key)
        files.mv(part, key)
    except BaseException:
        with contextlib.suppress(Exception):
            files.rm_file(part)
        raise


def _store(address: str) -> tuple[Any, str]:
    """(fsspec's file system, key in it) of an address that is accepted."""
    match = _ADDRESS.match(address)
    assert match is not None
    scheme, rest = match[1].lower(), match[2]
    if scheme not in SCHEMES:
        raise ValueError(NO_SCHEME.format(path=f"{address:.200}", schemes=", ".join(SCHEMES)))
    parts = rest.removeprefix("/").split("/")
    if _ODD.search(rest) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(NO_KEY.format(path=f"{address:.200}"))
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(NO_FSSPEC.format(path=f"{address:.200}")) from error
    files, key = fsspec.core.url_to_fs(f"{scheme}://{rest}")
    return files, key


def _size(files: Any, key: str) -> int:
    info = files.info(key)
    if info.get("type") != "file":
        raise IsADirectoryError(f"{key} is no file")
    return int(info["size"])


@contextlib.contextmanager
def _errors_of_files(address: str) -> Iterator[None]:
    """Whatever a store raises is an OSError of the file."""
    try:
        yield
    except (OSError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except Exception as error:
        raise OSError(f"{address}: {type(error).__name__}: {error!s:.300}") from error
