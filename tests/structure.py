"""The structure of the source tree, read from its import statements; nothing of it is imported.

    python tests/structure.py               # rooms, arrows and circles of this checkout
    python tests/structure.py OLD_CHECKOUT  # the same, before -> after

ORDER says who may import whom, and RULES are the functions that hold a tree to it
(test_structure.py). A *room* is a folder below `autograd/` or `nn/`, or a file that lies there by
itself. An *arrow* goes from a room to another that it imports, whatever the import stands in: an
import inside a function still means that the one cannot be understood without the other. Only
circles of files leave out `if TYPE_CHECKING:`, where ruff sends the imports of annotations.
"""

from __future__ import annotations

import ast
import copy
import random
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

# Each name may import those on the left of its arrow, and what they may import. The first entry is
# about the folders at the root, the others about the rooms of one folder; a new room (a new file
# format, for instance) gets its place here first. A folder without an entry has files for rooms.
ORDER = {
    "": "devices <- autograd <- nn, optim <- package",
    "autograd": """
        core <- kernels <- replay;
        kernels <- ops <- reverse <- forward <- transforms <- scipy;
        reverse <- surface, debug;
        replay <- compiling;
        compiling, transforms, surface, debug, scipy <- __init__ <- check
    """,
    "nn": """
        core <- methods <- module <- containers <- layers <- recurrent <- criterions;
        criterions <- training, data;
        data <- plots;
        recurrent <- quantized;
        criterions, data <- mxnet <- formats/mxnet;
        criterions <- formats/common <- formats/native, formats/torch7, formats/bigdl,
            formats/caffe, formats/tensorflow, formats/onnx, formats/weights, formats/mxnet
            <- formats;
        training, plots, mxnet, formats, quantized <- __init__
    """,
    "optim": """
        core <- rules, minimizers, schedules;
        core <- parallel;
        schedules, parallel <- training <- validation, metrics;
        rules, minimizers, validation <- bigdl;
        bigdl, metrics <- __init__
    """,
}
# Rooms with a way past the order of folders: MXNet's Module holds an optimizer.
BESIDE = {("nn/mxnet", "optim")}
# Libraries of one kind of device or machine, which only tapegrad.devices imports.
DEVICE_LIBRARIES = {"cupy", "cupyx", "cupy_backends", "mpi4py"}
ANNOTATIONS = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
LONG = 500  # lines that are read in a sitting


# Graphs: a name -> the names that it points to


def graph(edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The edges, by where they begin."""
    found: dict[str, set[str]] = {}
    for start, end in edges:
        found.setdefault(start, set()).add(end)
    return found


def reached(start: str, points_to: dict[str, set[str]]) -> set[str]:
    """All that can be reached from here; `start` itself only on a circle."""
    found, waiting = set(), [start]
    while waiting:
        new = points_to.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def circles_of(points_to: dict[str, set[str]]) -> list[set[str]]:
    """The largest sets in which everything reaches everything, the largest first."""
    all_reached = {name: reached(name, points_to) for name in sorted(points_to)}
    found: list[set[str]] = []
    for name, others in all_reached.items():
        if name in others and not any(name in circle for circle in found):
            found.append({other for other in others if name in all_reached.get(other, ())})
    return sorted(found, key=len, reverse=True)


def shortest_circle(points_to: dict[str, set[str]]) -> list[str]:
    """One of the shortest ways that come back to where they began, with that name at both ends."""
    found: list[list[str]] = []
    for start in sorted(points_to):
        ways, seen = [[start]], set()
        for way in ways:  # grows while it is read
            new = points_to.get(way[-1], set()) - seen
            ways += ([*way, name] for name in sorted(new))
            seen |= new
        found += (way for way in ways if len(way) > 1 and way[-1] == start)
    return min(found, key=len)


def against_the_best_order(points_to: dict[str, set[str]], tries: int = 50) -> int:
    """How few arrows run up in the best order of the names that was found."""
    draw, best = random.Random(0), []
    for circle in circles_of(points_to):
        counts = []
        for _ in range(tries):
            names = draw.sample(sorted(circle), len(circle))
            counts.append(_up(names, points_to))
            while (better := _up(_moved_to_their_best(names, points_to), points_to)) < counts[-1]:
                counts[-1] = better
        best.append(min(counts))
    return sum(best)


def _up(names: list[str], points_to: dict[str, set[str]]) -> int:
    return sum(
        above in points_to[name] for at, name in enumerate(names) for above in names[at + 1 :]
    )


def _moved_to_their_best(names: list[str], points_to: dict[str, set[str]]) -> list[str]:
    """The same list, after each name in turn moved to where the fewest of its arrows run up."""
    for name in list(names):
        names.remove(name)
        up = sum(other in points_to[name] for other in names)  # at the bottom, all of them
        ups = [up]
        for other in names:
            up += (name in points_to[other]) - (other in points_to[name])
            ups.append(up)
        names.insert(ups.index(min(ups)), name)
    return names


# Rooms and files


def below(chains: str) -> dict[str, set[str]]:
    """What each name of an order may import: `a, b <- c` lets c import a, b and all below them."""
    direct: dict[str, set[str]] = {}
    for chain in chains.split(";"):
        steps = [[name.strip() for name in step.split(",")] for step in chain.split("<-")]
        for lower, upper in pairwise([[], *steps]):
            for name in upper:
                direct.setdefault(name, set()).update(lower)
    return {name: reached(name, direct) for name in direct}


MAY_IMPORT = {folder: below(chains) for folder, chains in ORDER.items()}


def room(path: str) -> str:
    """The room of a file: of `nn/layers/pooling/fixed.py` `layers`, of `nn/module.py` `module`.

    Each file format is a room of its own: `formats/torch7`.
    """
    _, *parts = path.removesuffix(".py").split("/")
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return "/".join(parts[: 2 if parts[0] == "formats" else 1])


@dataclass(frozen=True)
class Import:
    """What an import statement takes from one file."""

    file: str  # the importing file, from the root: nn/module.py
    line: int
    module: str  # its first name in full: tapegrad.nn.module.Module, tapegrad.nn.layers.*
    target: str  # the file of ours that this means; for other people's modules the library
    when: str  # "start", "call" (in a function, late) or "types" (under `if TYPE_CHECKING:`)

    def __str__(self) -> str:
        where = {"start": "", "call": " (inside a function)", "types": " (for annotations)"}
        return f"{self.file}:{self.line} imports {self.module}{where[self.when]}"


class Tree:
    """The source files below a root, and all that they import."""

    def __init__(self, root: Path) -> None:
        self.files: dict[str, str] = {}  # module -> file
        self.lines: dict[str, int] = {}  # file -> number of lines
        self.imports: list[Import] = []
        for package, folder in _packages(root).items():
            for path in sorted((root / folder).rglob("*.py")):
                parts = [package, *path.relative_to(root / folder).with_suffix("").parts]
                file = path.relative_to(root).as_posix()
                self.files[".".join(parts).removesuffix(".__init__")] = file
        for file in sorted(set(self.files.values())):
            text = (root / file).read_text(encoding="utf-8")
            self.lines[file] = len(text.splitlines())
            self.imports += self._read(file, ast.parse(text, filename=file), "start")

    def _read(self, file: str, parent: ast.AST, when: str) -> Iterator[Import]:
        for node in ast.iter_child_nodes(parent):
            named: dict[str, list[str]] = {}
            late = isinstance(node, ast.Call) and _called(node) == "late_module"
            for module in _modules(node):
                named.setdefault(self.meaning(module), []).append(module)
            for target, (first, *more) in named.items():
                text = f"{first} and {len(more)} more" if more else first
                yield Import(file, node.lineno, text, target, "call" if late else when)
            if isinstance(node, ast.If) and ast.unparse(node.test) in ANNOTATIONS:
                yield from self._read(file, ast.Module(node.body, []), "types")
                yield from self._read(file, ast.Module(node.orelse, []), when)
            elif when == "start" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._read(file, node, "call")
            else:
                yield from self._read(file, node, when)

    def meaning(self, module: str) -> str:
        """The file that holds a module, or the module that holds a name; or else the library."""
        name = module
        while name:
            if name in self.files:
                return self.files[name]
            name = name.rpartition(".")[0]
        return module.partition(".")[0]

    def without(self, edges: Iterable[tuple[str, str]]) -> Tree:
        """The same tree, in which these files do not import those."""
        tree, edges = copy.copy(self), set(edges)
        tree.imports = [i for i in self.imports if (i.file, i.target) not in edges]
        return tree

    def ours(self, *when: str) -> list[Import]:
        """The imports of one of the tree's files by another, all of them or of one kind."""
        known = set(self.lines)
        return [
            i
            for i in self.imports
            if i.target in known and i.target != i.file and (not when or i.when in when)
        ]


def _packages(root: Path) -> dict[str, str]:
    """Which folder is which package, as pyproject.toml maps them."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        return project["tool"]["setuptools"]["package-dir"]
    except FileNotFoundError:
        folders = ("devices", "autograd", "nn", "optim")
        return {"tapegrad": "package", **{f"tapegrad.{folder}": folder for folder in folders}}


def _modules(node: ast.AST) -> Iterator[str]:
    """What one node imports: by either statement, or as a string that says which module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"a relative import, which ruff forbids: {ast.unparse(node)}"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif (
        isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and _called(node) in {"import_module", "__import__", "late_module"}
    ):
        yield str(node.args[0].value)


def _called(node: ast.Call) -> str:
    """The last name of what is called."""
    return ast.unparse(node.func).rpartition(".")[2]


# Rules


@dataclass(frozen=True)
class Broken:
    """A rule that a tree breaks: what a person reads, and the imports (file, target) that do it."""

    text: str
    edges: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        return self.text


def _one(found: Import, text: str) -> Broken:
    return Broken(f"{found}: {text}", frozenset({(found.file, found.target)}))


def between_folders(tree: Tree) -> Iterator[Broken]:
    """A folder imports itself and the folders below it."""
    for i in tree.ours():
        here, there = i.file.partition("/")[0], i.target.partition("/")[0]
        if (
            here != there
            and there not in MAY_IMPORT[""][here]
            and (f"{here}/{room(i.file)}", there) not in BESIDE
        ):
            yield _one(
                i,
                f"{here}/ may import {_listed(MAY_IMPORT[''][here])}. Move what is needed to a "
                "folder below both, or take it as an argument.",
            )


def outside_rooms(tree: Tree) -> Iterator[Broken]:
    """Every file of a folder that has an order lies in one of the rooms named there."""
    for file in sorted(tree.lines):
        rooms = MAY_IMPORT.get(file.partition("/")[0])
        if rooms and room(file) not in rooms:
            yield Broken(
                f"{file}: the order has no room {room(file)!r}. Move the file into the room of its "
                "subject, or give a new room its place in ORDER (tests/structure.py)."
            )


def between_rooms(tree: Tree) -> Iterator[Broken]:
    """A room imports the rooms below it."""
    for i in tree.ours():
        folder, here, there = i.file.partition("/")[0], room(i.file), room(i.target)
        rooms = MAY_IMPORT.get(folder, {})
        if (
            i.target.startswith(f"{folder}/")
            and here in rooms
            and there in rooms
            and here != there
            and there not in rooms[here]
        ):
            yield _one(
                i,
                f"in {folder}/, {here} may import {_listed(rooms[here])}, and not {there}. "
                + _what_to_do(here, there),
            )


def _what_to_do(here: str, there: str) -> str:
    if there == "__init__":
        return "Import the name from the room that defines it; the front door is for users."
    if here.startswith("formats/") and there.startswith("formats"):
        return "What two formats share stands in formats/common."
    return (
        "Move what is needed down to where both may import it, or let the lower room ask a "
        "registry that the upper one fills; an import inside a function is no way out."
    )


def device_libraries(tree: Tree) -> Iterator[Broken]:
    """Libraries of a device are imported in devices/ alone."""
    for i in tree.imports:
        if i.target in DEVICE_LIBRARIES and not i.file.startswith("devices/"):
            yield _one(
                i, f"only devices/ imports {i.target}. Ask tapegrad.devices for what is needed."
            )


def circles(tree: Tree) -> Iterator[Broken]:
    """No files import each other in a circle, in whatever folder or room they lie."""
    imports = tree.ours("start", "call")
    points_to = graph((i.file, i.target) for i in imports)
    for circle in circles_of(points_to):
        inside = {file: points_to[file] & circle for file in circle}
        way = shortest_circle(inside)
        steps = [
            str(next(i for i in imports if (i.file, i.target) == step)) for step in pairwise(way)
        ]
        others = sorted(circle - set(way))
        yield Broken(
            f"a circle of {len(circle)} files: {'; '.join(steps)}. "
            "Move what both need into a file below both, or let the lower file ask a registry that "
            "the upper one fills."
            + (f" On circles with these: {', '.join(others)}." if others else ""),
            frozenset((file, target) for file in circle for target in inside[file]),
        )


def stars(tree: Tree) -> Iterator[Broken]:
    """`from … import *` stands in the `__init__` files alone, which are lists of names."""
    for i in tree.imports:
        if i.module.endswith(".*") and not i.file.endswith("/__init__.py"):
            yield _one(i, "star imports are for __init__.py. Import the names one by one.")


RULES: tuple[Callable[[Tree], Iterator[Broken]], ...] = (
    between_folders,
    outside_rooms,
    between_rooms,
    device_libraries,
    circles,
    stars,
)


def broken(tree: Tree) -> list[Broken]:
    """All that breaks a rule."""
    return [found for rule in RULES for found in rule(tree)]


def needless(tree: Tree, exceptions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The exceptions (file, target) without which, the others granted, no more would be broken."""
    exceptions = set(exceptions)
    return [
        edge
        for edge in sorted(exceptions)
        if not any(edge in found.edges for found in broken(tree.without(exceptions - {edge})))
    ]


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no other"


# The table


def measures(tree: Tree, folder: str = "") -> dict[str, str]:
    """The figures of one folder, or of all; circles by the number of their members: `35+3`."""
    prefix = f"{folder}/" if folder else ""
    inside = [i for i in tree.ours() if i.file.startswith(prefix) and i.target.startswith(prefix)]
    found = {"files": str(sum(file.startswith(prefix) for file in tree.lines))}
    if folder:
        # as people count: nn/formats is one room of nn, whatever lies in it
        rooms = {file: room(file).partition("/")[0] for file in tree.lines}
        arrows = {(rooms[i.file], rooms[i.target]) for i in inside}
        arrows = graph((here, there) for here, there in arrows if here != there)
        found["rooms"] = str(len({rooms[file] for file in tree.lines if file.startswith(prefix)}))
        found["arrows"] = str(sum(map(len, arrows.values())))
        found["arrows up"] = _arrows_up(tree, folder, arrows)
        found["circles of rooms"] = _sizes(arrows)
    for title, when in (("at import", ("start",)), ("in functions too", ("start", "call"))):
        edges = graph((i.file, i.target) for i in inside if i.when in when)
        found[f"circles of files {title}"] = _sizes(edges)
    statements = {(i.file, i.line, i.when) for i in tree.ours() if i.file.startswith(prefix)}
    for title, when in (("function-level imports", "call"), ("imports for annotations", "types")):
        found[title] = str(sum(kind == when for _, _, kind in statements))
    long = [file for file, n in tree.lines.items() if file.startswith(prefix) and n > LONG]
    found[f"files over {LONG} lines"] = str(len(long))
    return found


def _arrows_up(tree: Tree, folder: str, arrows: dict[str, set[str]]) -> str:
    """The arrows that break the order; in a folder without one, as few as any order would have."""
    of_folder = [file for file in tree.lines if file.startswith(f"{folder}/")]
    if folder in MAY_IMPORT and {room(file) for file in of_folder} <= set(MAY_IMPORT[folder]):
        edges = {edge for found in between_rooms(tree) for edge in found.edges}
        return str(len({(room(a), room(b)) for a, b in edges if a.startswith(f"{folder}/")}))
    return f"{against_the_best_order(arrows)}*"


def _sizes(points_to: dict[str, set[str]]) -> str:
    return "+".join(str(len(circle)) for circle in circles_of(points_to)) or "0"


def table(*trees: Tree) -> str:
    """The figures of a tree, or of several as `before -> after`, a column for each folder."""
    folders = [*MAY_IMPORT[""], ""]
    rows: dict[str, list[str]] = {}
    for folder in folders:
        for title, values in _joined([measures(tree, folder) for tree in trees]).items():
            rows.setdefault(title, [""] * len(folders))[folders.index(folder)] = values
    lines = [["", *(folder or "all" for folder in folders)]]
    lines += [[title, *values] for title, values in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    long = sorted(((n, file) for file, n in trees[-1].lines.items() if n > LONG), reverse=True)
    return "\n".join(
        [
            text,
            "* not all rooms are in the declared order: the fewest that any order would have",
            "circles: how many members each has; `all` also has those that cross folders",
            *(f"{n:6} lines: {file}" for n, file in long),
            "",
        ]
    )


def _joined(found: list[dict[str, str]]) -> dict[str, str]:
    """The same figures of several trees side by side; one where nothing changed."""
    return {
        title: " -> ".join(values) if len(set(values)) > 1 else values[0]
        for title in found[0]
        for values in [[each[title] for each in found]]
    }


def main(arguments: list[str]) -> None:
    """Print the table of this checkout, and before its figures those of another one's."""
    here = Path(__file__).resolve().parents[1]
    sys.stdout.write(table(*(Tree(Path(root).resolve()) for root in [*arguments, here])))


if __name__ == "__main__":
    main(sys.argv[1:])
