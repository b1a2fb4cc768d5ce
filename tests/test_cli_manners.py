"""How the command line behaves in a shell: help, completion, colours, messages for mistakes."""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest

from tapegrad import _colour, _completion, cli
from tapegrad._errors import CommandError, reason_of
from tapegrad.autograd.core import progress

PARSER = cli._parser()
PROGRAM, COMMANDS = _completion.described(PARSER)
NAMES = [command.name for command in COMMANDS]


def help_of(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


# Help ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *NAMES])
def test_help_has_examples_whose_arguments_are_understood(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")  # which wraps no example
    text = help_of(capsys, *([command] if command else []))
    below = text.partition("examples:\n")[2]
    lines = [line.strip() for line in below.splitlines() if "tapegrad " in line]
    assert lines, "no example"
    for line in lines:
        found = re.search(r"tapegrad ([^|>)]*)", line)[1]
        if "COMMAND" in found or found.startswith("-"):
            continue
        options = PARSER.parse_args(shlex.split(found))
        assert command in ("", options.command)


def test_every_command_and_argument_has_a_help():
    assert {"demo", "check", "info", "run", "show", "convert", "completion"} == set(NAMES)
    for command in COMMANDS:
        assert command.help
        assert [option.names for option in command.options if not option.help] == []


# Completion ---------------------------------------------------------------------------------------


def bash(script, *words):
    """What bash would offer for the last of the words."""
    program = (
        f"{script}\nCOMP_WORDS=({' '.join(map(shlex.quote, words))})\n"
        "COMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_tapegrad\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.fixture(scope="module")
def script():
    return _completion.completion_script(PARSER, "bash")


def test_bash_completes_commands_options_choices_and_files(script, tmp_path):
    assert set(NAMES) <= set(bash(script, "tapegrad", ""))
    assert bash(script, "tapegrad", "comp") == ["completion"]
    assert bash(script, "tapegrad", "check", "--prof") == ["--profile"]
    assert bash(script, "tapegrad", "check", "--profile", "") == ["pr", "ci", "nightly"]
    assert bash(script, "tapegrad", "completion", "z") == ["zsh"]
    (tmp_path / "a model.t7").touch()
    (tmp_path / "other").touch()
    assert bash(script, "tapegrad", "show", f"{tmp_path}/oth") == [f"{tmp_path}/other"]
    assert bash(script, "tapegrad", "convert", "x", "--weights", f"{tmp_path}/o") == [
        f"{tmp_path}/other"
    ]
    assert bash(script, "tapegrad", "demo", "--epochs", "") == []


def test_a_name_with_a_space_is_one_answer(script, tmp_path):
    (tmp_path / "a model.t7").touch()
    program = (
        f'{script}\nCOMP_WORDS=(tapegrad show "{tmp_path}/a")\nCOMP_CWORD=2\n_tapegrad\n'
        'echo "${#COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize("shell", list(_completion.SHELLS))
def test_every_shell_knows_every_command_and_option(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for command in (PROGRAM, *COMMANDS):
        assert command.name in text
        for option in command.options:
            for name in option.names:
                shown = {"fish": f"-l {name[2:]}" if name[1] == "-" else f"-s {name[1:]}"}
                assert shown.get(shell, name) in text
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=True)
        assert done.stderr == ""


def test_what_is_added_to_a_parser_is_completed():
    parser = argparse.ArgumentParser(prog="other")
    below = parser.add_subparsers(dest="command").add_parser("go", help="it's 100%% [fast]: so")
    below.add_argument("--how", choices=["slow", "fast"], help="in which way")
    for shell in _completion.SHELLS:
        text = _completion.completion_script(parser, shell)
        assert "slow fast" in text
        assert "100%" in text or shell == "bash"
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=text, text=True, check=True)


# Colours ------------------------------------------------------------------------------------------


class Stream:
    def __init__(self, terminal):
        self.isatty = lambda: terminal


@pytest.mark.parametrize(
    ("terminal", "environment", "shown"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(terminal, environment, shown, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = _colour.painted("no", "red", Stream(terminal))
    assert text == ("\033[31mno\033[0m" if shown else "no")


def test_errors_are_red_only_where_colours_are_shown(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert cli.main(["show", "no-such-file.t7"]) == 1
    assert capsys.readouterr().err == "tapegrad show: no-such-file.t7: no such file or directory\n"
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    cli.main(["show", "no-such-file.t7"])
    assert capsys.readouterr().err.startswith("\033[31mtapegrad show:\033[0m no-such-file")


# Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def f(:\n", r"mine: SyntaxError: .*mine\.py, line 1\)"),
        ("x = 1\nraise ValueError('boom')\n", r"mine: ValueError: boom \(.*mine\.py, line 2\)"),
        (
            "import no_such_library\n",
            "mine: ModuleNotFoundError: No module named 'no_such_library'",
        ),
        ("1 / 0\n", r"mine: ZeroDivisionError: .*mine\.py, line 1\)"),
        ("x = 1\n", "mine defines no module"),
    ],
)
def test_a_module_that_cannot_be_checked_is_a_line_and_no_traceback(
    content, message, tmp_path, monkeypatch, capsys
):
    (tmp_path / "mine.py").write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert cli.main(["check", "mine"]) == 1
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.match(f"tapegrad check: {message}", lines[0]), lines[0]


def test_an_error_of_our_own_is_not_hidden(monkeypatch):
    from tapegrad import _check

    def broken(*_, **__):
        raise IndexError

    monkeypatch.setattr(_check, "_values", broken)
    with pytest.raises(IndexError):
        cli.main(["check", "tapegrad.nn"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--epochs", "many"], "'many' is not a whole number"),
        (["demo", "--epochs", "0"], "0 is not a positive number"),
        (["check", "x", "--seed", "-1"], "-1 is negative"),
        (["completion", "tcsh"], "invalid choice: 'tcsh'"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_file_comes_first_in_what_is_wrong_with_it():
    assert reason_of(FileNotFoundError(2, "No such file", "a.t7")) == "a.t7: no such file"
    assert reason_of(OSError("some text")) == "some text"
    assert reason_of(CommandError("other")) == "other"


@pytest.mark.extra
def test_a_reader_that_ends_is_no_error(tmp_path):
    command = f"{shlex.quote(sys.executable)} -m tapegrad info --ops | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


# What takes long ----------------------------------------------------------------------------------


def test_a_long_call_shows_what_it_does_in_a_terminal_alone(capsys, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.01)
    monkeypatch.setattr(progress, "REFRESH", 0.01)
    monkeypatch.setattr(progress, "_setting", [None])
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.working("reading a.t7"):
        time.sleep(0.03)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    with progress.working("reading a.t7"):
        time.sleep(0.06)
    shown = capsys.readouterr().err
    assert shown.startswith("\rreading a.t7  0:00")
    assert shown.endswith("\r\033[K")  # and is gone
