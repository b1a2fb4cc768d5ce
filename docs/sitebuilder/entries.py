"""The entry of a public name in the reference: docstring, members, and what is known of it."""

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
from sitebuilder.addresses import address, folder_of, linker
from sitebuilder.examples import seen
from sitebuilder.names import Namespace, PublicName, name_of, namespaces
from sitebuilder.written import shown

__all__ = [
    "Uses",
    "as_markdown",
    "entry",
    "for_readers",
    "heading",
    "intro",
    "members",
    "signature",
    "table",
]

MOST_PAGES = 8  # named behind "Used in"
SPELLING = re.compile(r"`\w+`, in Python's spelling")  # of a method that is described already

# In a file's docstring: " (`draws.py`)", and what else only the readers of the source need
NAMED_FILE = re.compile(r" \((?:see )?`?[\w/]+(?:\.py|/)`?\)")
OF_THE_SOURCE = re.compile(r"\w+\.py\b|`[\w/]+/`|\b[Tt]his file\b")
PRIVATE = re.compile(
    r"\b[Ff]ront door\b|\brooms?\b|(?<!\w)_[a-z]+\b|\blinter\b|\bNothing in \w+ imports"
)

Uses = Mapping[str, list[tuple[str, str]]]  # path of a name -> [(title of a page, its path)]


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


def as_markdown(doc: str, link: Callable[[str], str | None]) -> Iterator[str]:
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
        lines.append(f"Shapes in a call: <code class='literal'>{html.escape(line)}</code>")
    also = [space.path for space in namespaces().values() if name.path in space.also.values()]
    if also:
        shown = ", ".join(f"<code class='literal'>{html.escape(path)}</code>" for path in also)
        lines.append(f"Also in {shown}.")
    used = uses.get(name.path, [])
    if used:
        here = folder_of(page)
        shown = ", ".join(
            f"<a href='{os.path.relpath(target[:-3], here)}.html'>{html.escape(title)}</a>"
            for title, target in used[:MOST_PAGES]
        )
        more = f" and {len(used) - MOST_PAGES} more" if len(used) > MOST_PAGES else ""
        lines.append(f"Used in: {shown}{more}.")
    if not lines:
        return ""
    return "```{raw} html\n<p class='facts'>" + "<br>\n".join(lines) + "</p>\n```"


def members(cls: type) -> list[tuple[str, str, str, str, type]]:
    """(kind, name, signature, docstring, base) of a class, what hidden bases give it included.

    What a base with a public name has is documented there; what a base without one has, here.  What
    has no docstring is described where it is overridden.
    """
    elsewhere = {
        base for parent in cls.__mro__[1:] if name_of(parent) is not None for base in parent.__mro__
    }
    found: dict[str, tuple[str, str, str, str, type]] = {}
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
                found[name] = ("py:attribute", name, "", doc, base)
            else:
                found[name] = ("py:method", name, signature(function), doc, base)
    return list(found.values())


def entry(name: PublicName, space: Namespace, page: str, uses: Uses) -> str:
    """All that the reference says of a name, as Markdown."""
    find = linker(page, space)
    own = _arguments(name.value)

    def link(word: str) -> str | None:
        return None if word in own else find(word)  # `size`, an argument, is not ops.size

    example = shown(name.path)
    body = [
        *as_markdown(name.doc, link),
        f"```pycon\n{example}\n```" if example else "",
        _facts(name, uses, page),
    ]
    arguments = "" if name.kind == "data" else signature(name.value)
    if inspect.isclass(name.value) and issubclass(name.value, BaseException):
        arguments = ""
    if inspect.isclass(name.value):
        body += _members(name.value, link)
    text = "\n\n".join(piece for piece in body if piece)
    return f"``````{{py:{name.kind}}} {name.name}{arguments}\n\n{text}\n``````"


def _members(cls: type, link: Callable[[str], str | None]) -> Iterator[str]:
    """The members of a class; of one that hidden bases give most, under the words of each base."""
    found = members(cls)
    again = [member for _, member, _, doc, _ in found if SPELLING.match(doc)]
    bases = {base for *_, base in found}
    shown: type = cls
    for directive, member, text, doc, base in found:
        if member in again:
            continue
        if base is not shown and len(bases) > 3 and base.__doc__:
            words = docstrings.inline(
                docstrings.first_sentence(inspect.cleandoc(base.__doc__)), link
            )
            yield f"```{{raw}} html\n<p class='group'>{words}</p>\n```"
        shown = base
        inside = "\n\n".join(as_markdown(doc, link))
        yield f"`````{{{directive}}} {member}{text}\n{inside}\n`````"
    if again:
        words = ", ".join(f"<code class='literal'>{html.escape(member)}</code>" for member in again)
        yield f"```{{raw}} html\n<p class='facts'>In Python's spelling, too: {words}.</p>\n```"


def table(names: list[PublicName], page: str, space: Namespace) -> str:
    """The names in a row each: what it is, and the original's class where there is one."""
    link = linker(page, space)
    sources = {name.path: docstrings.source_class(name.doc) for name in names}
    with_source = any(sources.values())
    rows = []
    for name in names:
        sentence = docstrings.first_sentence(name.doc)
        shown = docstrings.inline(sentence, link)
        row = (
            f"<td><a href='{address(name, page)}'><code>{html.escape(name.name)}</code></a></td>"
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


def intro(module: str, link: Callable[[str], str | None]) -> list[str]:
    """What the file says of itself, without its own name in front."""
    try:
        found: ModuleType = import_module(module)
    except ImportError:
        return []
    doc = inspect.getdoc(found) or ""
    doc = for_readers(re.sub(r"^tapegrad[\w.]*: ", "", doc))
    return list(as_markdown(doc[:1].upper() + doc[1:], link)) if doc else []


def for_readers(doc: str) -> str:
    """A file's docstring without what it says of files, folders and private names.

    That is for people who change the file: a sentence with a file's name is left out, and a whole
    paragraph about private names.  The first paragraph stays as it is.
    """
    first, *others = re.split(r"\n\s*\n", doc)
    kept = [first]
    for paragraph in others:
        text = NAMED_FILE.sub("", paragraph)
        if text.startswith(" ") or not (OF_THE_SOURCE.search(text) or PRIVATE.search(text)):
            kept.append(text)
        elif not PRIVATE.search(text):
            sentences = re.split(r"(?<=\.)\s+(?=[A-Z`])", text)
            kept.append(" ".join(s for s in sentences if not OF_THE_SOURCE.search(s)))
    return "\n\n".join(filter(None, kept))


def heading(rest: str) -> str:
    """A title from a dotted path: "layers.convolution" -> "Convolution"."""
    last = rest.rpartition(".")[2].replace("_", " ")
    return last[:1].upper() + last[1:]
