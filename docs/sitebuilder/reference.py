"""The reference: a page for each namespace, and for each family of a large one, with docstrings.

The families are the files that declare the names, so that no list says what stands where: layers
stand as in nn/layers/, operations as in autograd/ops/.  A page begins with a table of its names.
"""

from __future__ import annotations

import html
import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from sitebuilder import docstrings
from sitebuilder.examples import seen
from sitebuilder.names import Namespace, PublicName, name_of, namespaces, public_names

__all__ = ["members", "places", "reference_pages", "signature"]

MANY = 40  # names on one page
FEW = 26  # names of a folder, to be on one page
MOST_PAGES = 8  # named behind "Used in"

Uses = Mapping[str, list[tuple[str, str]]]  # path of a name -> [(title of a page, its path)]


# Where a name stands ------------------------------------------------------------------------------


@cache
def places() -> dict[str, str]:
    """The page, relative to docs/, of each public name."""
    return {
        name.path: page
        for space in namespaces().values()
        for page, groups in _pages_of(space).items()
        for names in groups.values()
        for name in names
    }


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _short(path: str) -> str:
    return path.removeprefix("tapegrad.")


def _common(paths: list[list[str]]) -> list[str]:
    """The parts with which all paths begin."""
    shortest = min(map(len, paths))
    same = (len({path[n] for path in paths}) == 1 for n in range(shortest))
    return paths[0][: next((n for n, equal in enumerate(same) if not equal), shortest)]


@cache
def _pages_by_path(path: str) -> dict[str, dict[str, list[PublicName]]]:
    space = namespaces()[path]
    home = f"reference/{_short(path)}"
    families = space.families
    if len(space.names) <= MANY or len(families) == 1:
        return {f"{home}.md": families}
    common = _common([family.split(".") for family in families])
    sizes: dict[str, int] = {}
    for family, names in families.items():
        folder = ".".join(family.split(".")[:-1])
        sizes[folder] = sizes.get(folder, 0) + len(names)
    pages: dict[str, dict[str, list[PublicName]]] = {}
    for family, names in families.items():
        folder = ".".join(family.split(".")[:-1])
        inside = len(folder.split(".")) > len(common)
        group = folder if inside and sizes[folder] <= FEW else family
        rest = ".".join(group.split(".")[len(common) :]) or family.rpartition(".")[2]
        pages.setdefault(f"{home}/{rest}.md", {})[family] = names
    return pages


def _pages_of(space: Namespace) -> dict[str, dict[str, list[PublicName]]]:
    """The pages of a namespace: on each, names by family."""
    return _pages_by_path(space.path)


# Addresses ----------------------------------------------------------------------------------------


def _address(name: PublicName, page: str) -> str:
    """The address of a name, from another page."""
    target = places()[name.path].removesuffix(".md") + ".html"
    return f"{os.path.relpath(target, _folder(page))}#{name.path}"


@cache
def _by_word() -> dict[str, list[PublicName]]:
    found: dict[str, list[PublicName]] = {}
    for name in public_names().values():
        found.setdefault(name.name, []).append(name)
    return found


def _linker(page: str, space: Namespace) -> Callable[[str], str | None]:
    """From a word in backticks to its address on the site, or None."""

    def link(word: str) -> str | None:
        found = re.match(r"(?:(?:tapegrad|tg)\.)?([A-Za-z_][\w.]*)", word)
        if not found:
            return None
        path = found[1]
        candidates = [f"{space.path}.{path}", f"tapegrad.{path}"]
        for candidate in candidates:
            if candidate in public_names():
                return _address(public_names()[candidate], page)
        if path in space.also:
            return _address(public_names()[space.also[path]], page)
        alone = _by_word().get(path, [])
        fits = len(alone) == 1 and len(path) > 3 and "mxnet" not in alone[0].path
        return _address(alone[0], page) if fits else None

    return link


# Pieces of a page ---------------------------------------------------------------------------------


def signature(value: Any) -> str:
    """The arguments with their defaults, as Sphinx can read them; annotations are left out."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    parameters = []
    for parameter in found.parameters.values():
        default = parameter.default
        if default is not parameter.empty:
            default = _Shown(_default(default))
        parameters.append(parameter.replace(annotation=parameter.empty, default=default))
    if parameters and parameters[0].name in {"self", "cls"}:
        parameters = parameters[1:]
    return str(found.replace(parameters=parameters, return_annotation=found.empty))


def _arguments(value: Any) -> set[str]:
    try:
        return set(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return set()


class _Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if isinstance(value, (tuple, list)) and len(value) < 5:
        inside = ", ".join(_default(v) for v in value)
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if inspect.isclass(value) or inspect.isfunction(value):
        return str(value.__name__)
    return "..."


def _doc(doc: str, link: Callable[[str], str | None]) -> Iterator[str]:
    """A docstring as Markdown: pieces of HTML, and its examples as code."""
    for kind, text in docstrings.parts(doc, link):
        yield f"```{{raw}} html\n{text}\n```" if kind == "html" else f"```pycon\n{text}\n```"


@cache
def _numpy_names() -> dict[int, list[str]]:
    """The functions of NumPy and SciPy that run a function of ours, by its identity."""
    import numpy as np

    import tapegrad.scipy  # noqa: F401  # declares what SciPy's ufuncs run
    from tapegrad.autograd.core.declaration import numpy_functions

    found: dict[int, list[str]] = {}
    homes = {"numpy": np, "numpy.linalg": np.linalg, "numpy.fft": np.fft, "numpy.emath": np.emath}
    for function, runs in numpy_functions.items():
        name = str(getattr(function, "__name__", ""))
        for home, module in homes.items():
            if getattr(module, name, None) is function:
                shown = f"np{home.removeprefix('numpy')}.{name}"
                break
        else:
            shown = f"scipy.special.{name}"
        found.setdefault(id(runs), []).append(shown)
    return found


def _facts(name: PublicName, uses: Uses, page: str) -> str:
    """What is known of a name besides its docstring."""
    lines: list[str] = []
    numpy = _numpy_names().get(id(name.value), [])
    if numpy:
        shown = ", ".join(
            f"<code class='literal'>{html.escape(n)}</code>" for n in sorted(set(numpy))
        )
        lines.append(f"Runs for {shown} of Tensors.")
    rules = getattr(getattr(name.value, "primitive", None), "rules", None)
    if rules:
        with_rule = [argument for argument, rule in rules.items() if rule is not None]
        shown = ", ".join(f"<code class='literal'>{html.escape(a)}</code>" for a in with_rule)
        lines.append(f"Derivatives in {shown}." if with_rule else "No derivatives.")
    if line := seen().get(name.path):
        lines.append(f"Seen: <code class='literal'>{html.escape(line)}</code>")
    also = [space.path for space in namespaces().values() if name.path in space.also.values()]
    if also:
        shown = ", ".join(f"<code class='literal'>{html.escape(path)}</code>" for path in also)
        lines.append(f"Also in {shown}.")
    used = uses.get(name.path, [])
    if used:
        here = _folder(page)
        shown = ", ".join(
            f"<a href='{os.path.relpath(target[:-3], here)}.html'>{html.escape(title)}</a>"
            for title, target in used[:MOST_PAGES]
        )
        more = f" and {len(used) - MOST_PAGES} more" if len(used) > MOST_PAGES else ""
        lines.append(f"Used in: {shown}{more}.")
    if not lines:
        return ""
    return "```{raw} html\n<p class='facts'>" + "<br>\n".join(lines) + "</p>\n```"


def members(cls: type) -> list[tuple[str, str, str, str]]:
    """(kind, name, signature, docstring) of what a class declares, or inherits from hidden bases.

    What a base with a public name has is documented there; what a base without one has, here.  What
    has no docstring is described where it is overridden.
    """
    elsewhere = {
        base for parent in cls.__mro__[1:] if name_of(parent) is not None for base in parent.__mro__
    }
    found: dict[str, tuple[str, str, str, str]] = {}
    for base in cls.__mro__:
        if base in elsewhere or not base.__module__.startswith("tapegrad"):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") or name in found:
                continue
            function = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
            is_property = isinstance(value, property) or type(value).__name__ == "cached_property"
            described = is_property or inspect.isroutine(function)
            doc = inspect.cleandoc(getattr(function, "__doc__", None) or "") if described else ""
            handed_down = [getattr(parent, name, None) for parent in elsewhere]
            if not doc or doc in map(inspect.getdoc, filter(None, handed_down)):
                continue
            if is_property:
                found[name] = ("py:attribute", name, "", doc)
            else:
                found[name] = ("py:method", name, signature(function), doc)
    return list(found.values())


def _entry(name: PublicName, space: Namespace, page: str, uses: Uses) -> str:
    find = _linker(page, space)
    own = _arguments(name.value)

    def link(word: str) -> str | None:
        return None if word in own else find(word)  # `size`, an argument, is not ops.size

    body = [*_doc(name.doc, link), _facts(name, uses, page)]
    arguments = "" if name.kind == "data" else signature(name.value)
    if inspect.isclass(name.value) and issubclass(name.value, BaseException):
        arguments = ""
    if inspect.isclass(name.value):
        for directive, member, text, doc in members(name.value):
            inside = "\n\n".join(_doc(doc, link))
            body.append(f"`````{{{directive}}} {member}{text}\n{inside}\n`````")
    text = "\n\n".join(piece for piece in body if piece)
    return f"``````{{py:{name.kind}}} {name.name}{arguments}\n\n{text}\n``````"


def _table(names: list[PublicName], page: str, space: Namespace) -> str:
    """The names in a row each: what it is, and the original's class where there is one."""
    link = _linker(page, space)
    sources = {name.path: docstrings.source_class(name.doc) for name in names}
    with_source = any(sources.values())
    rows = []
    for name in names:
        sentence = docstrings.first_sentence(name.doc)
        shown = docstrings.inline(sentence, link)
        row = (
            f"<td><a href='{_address(name, page)}'><code>{html.escape(name.name)}</code></a></td>"
            f"<td>{shown}</td>"
        )
        if with_source:
            row += f"<td>{html.escape(sources[name.path])}</td>"
        rows.append(f"<tr>{row}</tr>")
    head = "<th>name</th><th>what it is</th>" + ("<th>Torch7</th>" if with_source else "")
    return (
        "```{raw} html\n<div class='table-wrapper'><table class='names'><thead><tr>"
        f"{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>\n```"
    )


def _intro(module: str, link: Callable[[str], str | None]) -> list[str]:
    """What the file says of itself, without its own name in front."""
    try:
        found: ModuleType = import_module(module)
    except ImportError:
        return []
    doc = inspect.getdoc(found) or ""
    doc = re.sub(r"^tapegrad[\w.]*: ", "", doc)
    return list(_doc(doc[:1].upper() + doc[1:], link)) if doc else []


def _heading(rest: str) -> str:
    """A title from a dotted path: "layers.convolution" -> "Convolution"."""
    last = rest.rpartition(".")[2].replace("_", " ")
    return last[:1].upper() + last[1:]


# Pages --------------------------------------------------------------------------------------------


def reference_pages(uses: Uses) -> dict[str, str]:
    """All pages of the reference, as Markdown, by their path relative to docs/."""
    pages: dict[str, str] = {}
    for space in namespaces().values():
        home = _home(space)
        groups = _pages_of(space)
        if list(groups) == [home]:
            pages[home] = _page(f"`{space.path}`", space, home, groups[home], uses)
        else:
            pages |= _family_pages(space, uses)
            pages[home] = "\n\n".join(
                [
                    f"# `{space.path}`",
                    *_intro(space.module.__name__, _linker(home, space)),
                    *_lists(space),
                    _also(space, home),
                ]
            )
        inside = [other for other in namespaces().values() if _parent(other) == space.path]
        if inside:
            pages[home] += "\n\n## Namespaces inside\n\n" + _list_of(inside, home) + "\n"
    pages["reference/index.md"] = _index()
    return pages


def _home(space: Namespace) -> str:
    return f"reference/{_short(space.path)}.md"


def _parent(space: Namespace) -> str:
    """The namespace on whose page this one is listed; "" for those of the index."""
    path = space.path.rpartition(".")[0]
    while path and path not in namespaces():
        path = path.rpartition(".")[0]
    return "" if path == "tapegrad" else path


def _list_of(spaces: list[Namespace], page: str) -> str:
    lines = []
    for space in sorted(spaces, key=lambda s: s.path):
        first = re.sub(r"^tapegrad[\w.]*: ", "", inspect.getdoc(space.module) or "")
        target = os.path.relpath(_home(space), _folder(page))
        what = docstrings.first_sentence(first)
        lines.append(f"- [{space.path}]({target})" + (f": {what}" if what else ""))
    return "\n".join(lines)


def _folders(space: Namespace) -> dict[str, dict[str, str]]:
    """The pages of a large namespace by folder: {folder: {rest of the path: page}}."""
    home = _home(space).removesuffix(".md")
    found: dict[str, dict[str, str]] = {}
    for page in _pages_of(space):
        rest = page.removeprefix(f"{home}/").removesuffix(".md")
        found.setdefault(rest.rpartition(".")[0], {})[rest] = page
    return found


def _family_pages(space: Namespace, uses: Uses) -> dict[str, str]:
    """The pages of the families, and a page for each folder of several."""
    pages: dict[str, str] = {}
    groups = _pages_of(space)
    for folder, inside in _folders(space).items():
        for rest, page in inside.items():
            title = f"`{space.path}`: {_heading(rest).lower()}"
            pages[page] = _page(title, space, page, groups[page], uses)
        if folder and len(inside) > 1:
            path = _folder_page(space, folder)
            intro = _intro(_package(space, folder), _linker(path, space))
            pages[path] = "\n\n".join(
                [
                    f"# `{space.path}`: {_heading(folder).lower()}",
                    *intro,
                    _items(inside, groups, path),
                ]
            )
    return pages


def _folder_page(space: Namespace, folder: str) -> str:
    return f"{_home(space).removesuffix('.md')}/{folder}/index.md"


def _package(space: Namespace, folder: str) -> str:
    """The module of a folder of families."""
    for family in space.families:
        if f".{folder}." in f".{family}.":
            return family[: f"{family}.".index(f".{folder}.") + len(folder) + 1]
    return space.module.__name__


def _items(
    inside: dict[str, str], groups: Mapping[str, dict[str, list[PublicName]]], page: str
) -> str:
    lines = []
    for rest, target in inside.items():
        names = [name for group in groups[target].values() for name in group]
        some = ", ".join(f"`{name.name}`" for name in names[:8])
        more = f" … {len(names)} names" if len(names) > 8 else ""
        shown = os.path.relpath(target, _folder(page))
        lines.append(f"- [{_heading(rest)}]({shown}): {some}{more}")
    return "\n".join(lines)


def _lists(space: Namespace) -> Iterator[str]:
    """The lists of a large namespace's own page: its folders, and the families that lie in none."""
    home = _home(space)
    groups = _pages_of(space)
    folders: list[str] = []
    alone: dict[str, str] = {}
    for folder, inside in _folders(space).items():
        if folder and len(inside) > 1:
            target = os.path.relpath(_folder_page(space, folder), _folder(home))
            words = ", ".join(_heading(rest).lower() for rest in inside)
            folders.append(f"- [{_heading(folder)}]({target}): {words}")
        else:
            alone |= inside
    if folders:
        yield "\n".join(folders)
    if alone:
        yield _items(alone, groups, home)


def _index() -> str:
    """The first page of the reference."""
    count = len(public_names())
    top = [space for space in namespaces().values() if not _parent(space)]
    return (
        "# Reference\n\n"
        f"The {count:,} public names of tapegrad, by namespace, as people write them; made "
        "of their docstrings when the site was built. The search box finds each by its name. "
        "Shapes are written as tuples: `x: (N, n_in) -> (N, n_out)` takes an array of two axes "
        "and returns one."
        "\n\n" + _list_of(top, "reference/index.md") + "\n"
    )


def _page(
    title: str, space: Namespace, page: str, families: dict[str, list[PublicName]], uses: Uses
) -> str:
    link = _linker(page, space)
    parts = [f"# {title}"]
    alone = len(families) == 1
    own = space.module.__name__
    if own in families or not alone:
        parts += _intro(own, link) if page == f"reference/{_short(space.path)}.md" else []
    parts.append(f"```{{py:currentmodule}} {space.path}\n```")
    for family, names in families.items():
        if not alone:
            parts.append(f"## {_heading(family)}")
        if family != own:
            parts += _intro(family, link)
        parts.append(_table(names, page, space))
        parts += [_entry(name, space, page, uses) for name in names]
    if space.also and page == f"reference/{_short(space.path)}.md":
        parts.append(_also(space, page))
    return "\n\n".join(parts) + "\n"


def _also(space: Namespace, page: str) -> str:
    """Names that the namespace hands on, with the place where they are described."""
    items = ", ".join(
        f'<a href="{_address(public_names()[path], page)}"><code>{html.escape(name)}</code></a>'
        for name, path in sorted(space.also.items())
    )
    return f"```{{raw}} html\n<p class='facts'>Described elsewhere: {items}.</p>\n```"
