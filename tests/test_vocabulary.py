"""Arguments of nn's constructors are spelled as tests/vocabulary.py decides."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from torch7_records import classes_of, records
from vocabulary import OURS, OURS_BESIDE, SPELLED_OUT, bigdl_arguments, torch7_arguments

from tapegrad import nn
from tapegrad.nn.formats.torch7.files import known

TORCH7 = torch7_arguments()
BIGDL = bigdl_arguments()
# Classes of torch/rnn without arguments, of which there is no recorded run.
UNRECORDED = {"ReverseSequence", "ReverseUnreverse"}
CLASSES = {
    name: cls
    for name, cls in ((name, getattr(nn, name)) for name in sorted(nn.__all__))
    if inspect.isclass(cls) and (issubclass(cls, nn.Module) or name in TORCH7)
}


def arguments_of(cls: type) -> tuple[str, ...]:
    return tuple(inspect.signature(cls).parameters)


def misspelled(name: str, arguments: tuple[str, ...]) -> str | None:
    """What is wrong with a constructor's arguments, and what to do; None if nothing is."""
    if name in TORCH7:
        expected = (*TORCH7[name], *OURS_BESIDE.get(name, ()))
        if arguments != expected:
            return f"nn.{name} takes {arguments}; Torch7's (tests/vocabulary.py) are {expected}"
        return None
    if name in BIGDL:
        if arguments != BIGDL[name]:
            return f"nn.{name} takes {arguments}; BigDL's (tests/vocabulary.py) are {BIGDL[name]}"
        return None
    unknown = [word for word in arguments if word not in OURS]
    if unknown:
        return (
            f"nn.{name} takes {', '.join(unknown)}: use a word of OURS in tests/vocabulary.py, or "
            "add a line there for an idea that has none yet"
        )
    return None


@pytest.mark.parametrize("name", CLASSES)
def test_arguments_are_spelled_as_the_vocabulary_says(name: str) -> None:
    wrong = misspelled(name, arguments_of(CLASSES[name]))
    assert wrong is None, wrong


def test_a_new_spelling_is_found() -> None:
    assert "use a word of OURS" in str(misspelled("Conv4d", ("in_channels", "kernelSize")))
    assert "Torch7's" in str(misspelled("Linear", ("in_features", "out_features", "bias")))
    assert misspelled("Conv4d", ("in_channels", "kernel_size")) is None


def test_every_torch7_class_is_listed_or_recorded() -> None:
    theirs: dict[str, Any] = {
        name.removeprefix("nn."): cls for name, cls in known().items() if cls in CLASSES.values()
    }
    recorded = {name for record in records() for name in classes_of(record)}
    missing = {
        name
        for name, cls in theirs.items()
        if name not in TORCH7
        and (name not in recorded | UNRECORDED or arguments_of(cls) not in ((), ("modules",)))
    }
    assert not missing, (
        "is this a class of Torch7's?  If not, give it an entry with absent=True in "
        "nn/formats/torch7/layer_entries.py or composite_entries.py, so that Torch7's files do not "
        "name it; if so, give its arguments a line in TORCH7 of tests/vocabulary.py"
    )


def test_the_vocabulary_has_nothing_that_no_class_needs() -> None:
    assert set(TORCH7) <= set(CLASSES)
    assert set(BIGDL) <= set(CLASSES)
    assert not set(BIGDL) & set(TORCH7)
    assert {name for name, _ in SPELLED_OUT} <= set(TORCH7)
    assert set(OURS_BESIDE) <= set(TORCH7)
    used = {
        word
        for name, cls in CLASSES.items()
        if name not in TORCH7 and name not in BIGDL
        for word in arguments_of(cls)
    }
    assert set(OURS) - used <= {"axes", "axis", "in_features", "out_features", "p"}
