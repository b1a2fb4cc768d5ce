"""`tapegrad completion bash`: what lets a shell complete the commands and their options.

The script is made from the parsers themselves, so that a new option needs nothing here.  It is a
list of words for each command: the shell is not asked to start Python at each press of the tab key.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tapegrad._command import add_command

__all__ = ["SHELLS", "add_completion", "completion_script", "described"]


@dataclass
class Flag:
    """An option: its spellings, what it does, and what follows it."""

    names: list[str]
    help: str
    takes_value: bool
    choices: list[str] = field(default_factory=list)
    is_file: bool = False


@dataclass
class Command:
    """A command (or, without a name, the program): its options and its arguments by position."""

    name: str
    help: str
    options: list[Flag]
    choices: list[str]
    takes_files: bool


def described(parser: argparse.ArgumentParser) -> tuple[Command, list[Command]]:
    """(the program itself, its commands), from an argparse tree."""
    return _command("", "", parser), [
        _command(name, help, below) for name, help, below in _commands_of(parser)
    ]


def _commands_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, Any]]:
    for action in parser._actions:  # noqa: SLF001  # argparse has no public way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as above
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001  # as above
            for name, below in action.choices.items():
                yield name, helps.get(name, ""), below


def _command(name: str, help: str, parser: argparse.ArgumentParser) -> Command:
    options, choices, takes_files = [], [], False
    for action in parser._actions:  # noqa: SLF001  # as above
        listed = [str(choice) for choice in action.choices or ()]
        is_file = getattr(action, "complete", "") == "file"
        if action.option_strings:
            takes_value = action.nargs != 0
            text = _plain(action.help or "")
            options.append(Flag(list(action.option_strings), text, takes_value, listed, is_file))
        elif not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as above
            choices += listed
            takes_files = takes_files or is_file
    return Command(name, _plain(help), options, choices, takes_files)


def _plain(text: str) -> str:
    return " ".join(text.replace("%(default)s", "").replace("%%", "%").split())


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a program for a shell, one of `SHELLS`."""
    program, commands = described(parser)
    return SHELLS[shell](parser.prog, program, commands)


# Shells -------------------------------------------------------------------------------------------

_BASH = """\
# {prog} completion for bash:  source <({prog} completion bash)
_{prog}_words() {{
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen "$@" -- "$cur")
}}
_{prog}() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" word command="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{COMP_WORDS[i]}}" in
            {names}) command="${{COMP_WORDS[i]}}"; break ;;
        esac
    done
    case "$command $prev" in
{values}
    esac
    case "$command" in
{cases}
    esac
}}
complete -o filenames -F _{prog} {prog}
"""


def _bash(prog: str, program: Command, commands: list[Command]) -> str:
    values, cases = [], []
    for command in (program, *commands):
        for option in command.options:
            if not option.takes_value:
                continue
            pattern = "|".join(shlex.quote(f"{command.name} {name}") for name in option.names)
            if option.choices:
                done = f"_{prog}_words -W {shlex.quote(' '.join(option.choices))}"
            else:
                done = f"_{prog}_words -f" if option.is_file else "COMPREPLY=()"
            values.append(f"        {pattern}) {done}; return ;;")
        names = [name for option in command.options for name in option.names]
        words = [*names, *command.choices]
        if not command.name:
            words += [each.name for each in commands]
        line = f"_{prog}_words -W {shlex.quote(' '.join(words))}"
        if command.takes_files:
            line = f'if [[ "$cur" == -* ]]; then {line}; else _{prog}_words -f; fi'
        cases.append(f"        {command.name or chr(34) * 2}) {line} ;;")
    return _BASH.format(
        prog=prog,
        names="|".join(command.name for command in commands),
        values="\n".join(values),
        cases="\n".join(cases),
    )


_ZSH = """\
#compdef {prog}
# {prog} completion for zsh: a file _{prog} in a folder of $fpath, or
# source <({prog} completion zsh)
_{prog}() {{
    local context state line
    typeset -A opt_args
    _arguments -C {options} '1: :->command' '*:: :->arguments'
    case $state in
        command)
            local -a commands
            commands=({names})
            _describe command commands ;;
        arguments)
            case $words[1] in
{cases}
            esac ;;
    esac
}}
if [ "$funcstack[1]" = "_{prog}" ]; then
    _{prog} "$@"
else
    compdef _{prog} {prog}
fi
"""


def _zsh(prog: str, program: Command, commands: list[Command]) -> str:
    def specs(command: Command) -> str:
        found = [_zsh_option(option, name) for option in command.options for name in option.names]
        if command.choices:
            found.append(f"'*: :({' '.join(command.choices)})'")
        elif command.takes_files:
            found.append("'*: :_files'")
        return " ".join(found)

    names = " ".join(
        shlex.quote(f"{command.name}:{_zsh_text(command.help)}") for command in commands
    )
    cases = "\n".join(
        f"                {command.name}) _arguments {specs(command)} ;;" for command in commands
    )
    return _ZSH.format(prog=prog, options=specs(program), names=names, cases=cases)


def _zsh_text(text: str) -> str:
    for sign in ("\\", ":", "[", "]"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _zsh_option(option: Flag, name: str) -> str:
    value = ""
    if option.takes_value:
        what = f"({' '.join(option.choices)})" if option.choices else ""
        value = f":value:{'_files' if option.is_file else what or ' '}"
    return shlex.quote(f"*{name}[{_zsh_text(option.help)}]{value}")


def _fish(prog: str, program: Command, commands: list[Command]) -> str:
    names = " ".join(command.name for command in commands)
    folder = "~/.config/fish/completions"
    lines = [
        f"# {prog} completion for fish: {prog} completion fish > {folder}/{prog}.fish",
        f"complete -c {prog} -f",
    ]
    first = f"not __fish_seen_subcommand_from {names}"
    lines += [
        f"complete -c {prog} -n '{first}' -a {command.name} -d {_fish_text(command.help)}"
        for command in commands
    ]
    for command in (program, *commands):
        when = f"__fish_seen_subcommand_from {command.name}" if command.name else first
        for option in command.options:
            words = [f"complete -c {prog} -n '{when}'"]
            for name in option.names:
                long = name.startswith("--")
                words.append(f"-l {name[2:]}" if long else f"-s {name[1:]}")
            if option.takes_value:
                words.append("-r")
            if option.choices:
                words.append(f"-f -a '{' '.join(option.choices)}'")
            elif option.is_file:
                words.append("-F")
            words.append(f"-d {_fish_text(option.help)}")
            lines.append(" ".join(words))
        if command.choices:
            lines.append(f"complete -c {prog} -n '{when}' -f -a '{' '.join(command.choices)}'")
        elif command.takes_files:
            lines.append(f"complete -c {prog} -n '{when}' -F")
    return "\n".join(lines) + "\n"


def _fish_text(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{plain}'"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def add_completion(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the command that prints the script of a parser."""
    completion = add_command(
        commands,
        "completion",
        help="print what lets a shell complete commands and options",
        description="Prints a script for a shell, which then completes commands, options and names "
        "of files at the tab key.",
        examples=[
            ("source <(tapegrad completion bash)", "in this bash; in ~/.bashrc, in every one"),
            ("source <(tapegrad completion zsh)", "zsh, after compinit"),
            (
                "tapegrad completion fish > ~/.config/fish/completions/tapegrad.fish",
                "fish, once and for all",
            ),
        ],
    )
    completion.add_argument("shell", choices=list(SHELLS))

    def run(options: argparse.Namespace) -> int:
        sys.stdout.write(completion_script(parser, options.shell))
        return 0

    completion.set_defaults(run=run)
