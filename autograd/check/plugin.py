"""``pytest --laws mypackage.layers``: one test item for each law of each class in a package.

The items are appended to those that pytest collects, so ``-k``, ``-x`` and reports work as usual.
A run without file arguments collects only the laws.  A class without a case becomes one item that
fails as unchecked.  A law that does not apply is a skip with its reason, and the summary counts
examples, gradients proved, unresolved verdicts and laws not covered.
"""

from __future__ import annotations

import secrets
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapegrad.autograd.check.gradients import UsageError
from tapegrad.autograd.check.report import LawError
from tapegrad.autograd.check.running import PROFILES, Outcome
from tapegrad.autograd.check.subjects import FIRST, Subject, find
from tapegrad.autograd.check.summary import NO_CASE, Summary

__all__ = ["LawsPlugin"]


class LawItem(pytest.Item):
    """The item of one law on one class; `law` is None for a class that has no case."""

    def __init__(self, *, subject: Subject, law: Any, plugin: LawsPlugin, **options: Any) -> None:
        super().__init__(**options)
        self.subject = subject
        self.law = law
        self.plugin = plugin

    def runtest(self) -> None:
        """Check the law, or fail as unchecked."""
        subject, plugin = self.subject, self.plugin
        if self.law is None:
            plugin.summary.unchecked.append(subject)
            raise LawError(NO_CASE.format(name=subject.name))
        if subject.name in plugin.impossible:
            raise LawError(
                f"unchecked: {subject.name} fails what every law needs: "
                f"{plugin.impossible[subject.name]}"
            )
        seed = None
        if plugin.seed is not None:
            seed = zlib.crc32(f"{subject.short} {self.law.name} {plugin.seed}".encode())
        outcome = subject.examine_law(self.law, plugin.profile, seed=seed, isolate=plugin.isolate)
        plugin.summary.outcomes.append((subject, outcome))
        if self.law.name in FIRST and not outcome.ok:
            plugin.impossible[subject.name] = str(outcome.error).splitlines()[0]
        _conclude(outcome)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The law's message, and how to repeat the example, without frames of the checker."""
        error = excinfo.value
        if isinstance(error, LawError) or self.config.getoption("tbstyle") == "no":
            return "\n".join([str(error), *getattr(error, "__notes__", [])])
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """The path and name under which reports list the item."""
        return Path(self.subject.name.partition(":")[0]), None, self.name


def _conclude(outcome: Outcome) -> None:
    """End the test item as the outcome says: pass, skip or raise."""
    if outcome.verdict == "not covered":
        pytest.skip("not covered: " + "; ".join(outcome.reasons))
    if outcome.verdict == "convention":
        pytest.skip("convention: " + "; ".join(outcome.conventions))
    if outcome.verdict == "excepted":
        pytest.skip(f"excepted: {outcome.exception}")
    outcome.raise_error()


class _SubjectCollector(pytest.Collector):
    """Collects the items of one class."""

    def __init__(self, *, subject: Subject, plugin: LawsPlugin, **options: Any) -> None:
        super().__init__(**options)
        self.subject = subject
        self.plugin = plugin

    def collect(self) -> Iterator[Any]:
        laws: list[Any] = [None] if self.subject.case is None else self.subject.laws()
        for law in laws:
            yield LawItem.from_parent(
                self,
                name="unchecked" if law is None else law.name,
                subject=self.subject,
                law=law,
                plugin=self.plugin,
            )


class LawsPlugin:
    """The plugin: it collects the items and prints the summary."""

    def __init__(self, config: Any) -> None:
        self.paths = config.getoption("laws")
        self.profile = PROFILES[config.getoption("laws_profile")]
        self.seed = config.getoption("laws_seed")
        self.isolate = config.getoption("laws_isolate")
        if self.seed is None and not self.profile.derandomize:
            self.seed = secrets.randbelow(2**32)
        self.summary = Summary()
        self.impossible: dict[str, str] = {}
        self.alone = config.args_source.name in ("TESTPATHS", "INVOCATION_DIR")
        # As with `python -m pytest`, the named package need not be installed.
        if str(config.invocation_params.dir) not in sys.path:
            sys.path.insert(0, str(config.invocation_params.dir))

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Ignore all test files if pytest was given no path."""
        return True if self.alone else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: Any, items: list[Any]) -> None:
        """Append the items of the laws, before ``-k`` and markers are applied."""
        for path in self.paths:
            try:
                subjects = find(path)
            except (ImportError, ValueError, UsageError) as error:
                raise pytest.UsageError(f"--laws {path}: {error}") from error
            for subject in subjects:
                collector = _SubjectCollector.from_parent(
                    session, name=subject.name, nodeid=subject.name, subject=subject, plugin=self
                )
                items.extend(collector.collect())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the counts, and the classes that were unchecked or not covered."""
        counted = self.summary.counts()
        terminalreporter.section("laws")
        parts = [f"{count} {what}" for what, count in counted.items()]
        terminalreporter.write_line(", ".join(parts))
        for subject in self.summary.unchecked:
            terminalreporter.write_line(f"unchecked, has no case: {subject.name}")
        for word in ("convention", "not covered"):
            counts: dict[str, int] = {}
            for subject, outcome in self.summary.outcomes:
                if outcome.verdict == word:
                    counts[subject.name] = counts.get(subject.name, 0) + 1
            for name, count in counts.items():
                terminalreporter.write_line(f"{word}: {count} laws of {name} (-rs says why)")
        if self.seed is not None:
            terminalreporter.write_line(f"drawn with --laws-seed {self.seed}")
