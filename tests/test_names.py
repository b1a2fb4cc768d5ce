"""One name, one meaning: no class, and no public function, is declared in two files.

Exempt is what must be called the same: what runs a primitive beside the primitive, one law about
several kinds of subject, and the functions that each device or file format brings.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("autograd", "devices", "nn", "optim", "package")
# What each member of a family of files declares, and who calls it by that name.
FAMILIES = {
    "load": "a format's reader, a device's opener",
    "save": "a format's writer",
    "write": "a format's writer of bytes",
    "describe": "the lines of a file's contents, of a format",
    "main": "a command",
    "register_backend": "a device's library, and what runs partitions of data",
    "__getattr__": "a lazy front door",
    "memory": "a device's figures, and the function that asks for them",
    "from_dlpack": "a device's, and that of Tensors",
    "to_device": "a device's, and that of Tensors",
    "array": "NumPy's, of Tensors, and an argument that a check draws",
    "full": "NumPy's, of Tensors, and Torch7's table of all connections",
}
# Rooms that have another system's names, each behind a namespace of its own.
FACADES = (
    "autograd/scipy/",
    "autograd/surface/array_api/",
    "nn/formats/mxnet/",
    "nn/mxnet/",
    "optim/bigdl/",
    "package/hips.py",
)


def declared(kind: type[ast.AST]) -> dict[str, list[str]]:
    """The files that declare each name, at their top level."""
    found = defaultdict(set)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.relative_to(ROOT).as_posix().startswith(FACADES):
                continue
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, kind):
                    found[node.name].add(str(path.relative_to(ROOT)))
    return {name: sorted(files) for name, files in found.items() if len(files) > 1}


def same_room(files: list[str], *rooms: str) -> bool:
    return all(any(f.startswith(room) for room in rooms) for f in files)


def homonyms() -> Iterator[str]:
    for name, files in declared(ast.ClassDef).items():
        yield f"class {name}: {', '.join(files)}"
    for name, files in declared(ast.FunctionDef).items():
        public = not name.startswith("_")
        laws = same_room(files, "autograd/check/")
        # NumPy's name: the primitive, its kernel, and the function with NumPy's own signature
        numpys = same_room(files, "autograd/ops/", "autograd/kernels/", "autograd/surface/")
        if public and not laws and not numpys and name not in FAMILIES:
            yield f"{name}: {', '.join(files)}"


@pytest.mark.extra
def test_no_name_is_declared_twice():
    assert list(homonyms()) == []


@pytest.mark.extra
def test_every_family_is_one():
    functions = declared(ast.FunctionDef)
    assert [name for name in FAMILIES if name not in functions] == []
