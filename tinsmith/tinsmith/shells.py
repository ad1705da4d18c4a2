"""Completion scripts for bash, zsh and fish, out of the parsers."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

from tinsmith.parsers import all_parsers, brief, shown
from tinsmith_runtime.errors import UsageError

_BASH = """\
# tinsmith's sub-commands and options in bash; made by `tinsmith completion bash`
_tinsmith() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command= options= choices= word IFS=$'\\n'
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) ;; *) command=$word; break ;; esac
    done
    case $command in
    "") options={commands} ;;
{cases}
    esac
    case $command:$previous in
{values}
    esac
    case $choices in
    files) COMPREPLY=($(compgen -f -- "$current")) ;;
    nothing) COMPREPLY=() ;;
    ?*) COMPREPLY=($(compgen -W "$choices" -- "$current")) ;;
    *) case $command:$current in
       :* | *:-*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
       *) COMPREPLY=($(compgen -f -- "$current")) ;;
       esac ;;
    esac
}}
complete -o filenames -F _tinsmith tinsmith
"""
_ZSH = """\
#compdef tinsmith
# tinsmith's sub-commands and options in zsh; made by `tinsmith completion zsh`
_tinsmith() {{
    local curcontext=$curcontext state line
    local -a commands=(
{commands}
    )
    _arguments -C '--help' '--version' '1: :->command' '*:: :->arguments'
    case $state in
    command) _describe command commands ;;
    arguments)
        case $words[1] in
{cases}
        esac ;;
    esac
}}
if [[ $funcstack[1] == _tinsmith ]]; then _tinsmith "$@"; else compdef _tinsmith tinsmith; fi
"""


def completion(shell: str) -> str:
    """Gives the script with which a shell completes sub-commands, options and their values.

    Args:
        shell: `bash`, `zsh` or `fish`.

    Raises:
        UsageError: it is another.
    """
    if shell not in SHELLS:
        raise UsageError(f"completion: expected {', '.join(SHELLS)}, got {shell!r}")
    return SHELLS[shell](all_parsers())


Parsers = dict[str, argparse.ArgumentParser]


def _values(action: argparse.Action) -> str | list[str]:
    """What may stand behind an option: words, `files`, or `nothing` that can be guessed."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    return "nothing" if action.type in (int, float) else "files"


def _bash(parsers: Parsers) -> str:
    cases, values = [], []
    for name, parser in parsers.items():
        options = [word for action in shown(parser) for word in action.option_strings]
        cases.append(f"    {name}) options={_lines(options)} ;;")
        for action in shown(parser):
            if action.choices or (action.option_strings and action.nargs != 0):
                found = _values(action)
                told = found if isinstance(found, str) else _lines(found)
                # What stands without an option comes behind the sub-command.
                words = action.option_strings or [name]
                pattern = " | ".join(f"{name}:{word}" for word in words)
                values.append(f"    {pattern}) choices={told} ;;")
    commands = _lines([*parsers, "--help", "--version"])
    return _BASH.format(commands=commands, cases="\n".join(cases), values="\n".join(values))


def _lines(words: list[str]) -> str:
    return "$'" + "\\n".join(words) + "'"


def _zsh(parsers: Parsers) -> str:
    commands = (
        f"        {shlex.quote(f'{name}:{parser.description}')}" for name, parser in parsers.items()
    )
    cases = []
    for name, parser in parsers.items():
        specs = " ".join(map(shlex.quote, _zsh_specs(parser)))
        cases.append(f"        {name}) _arguments {specs} ;;")
    return _ZSH.format(commands="\n".join(commands), cases="\n".join(cases))


def _zsh_specs(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in shown(parser):
        about = brief(parser, action)
        for mark in "\\[]:":
            about = about.replace(mark, f"\\{mark}")
        found = _values(action)
        filled = {"files": "_files", "nothing": " "}
        value = filled[found] if isinstance(found, str) else f"({' '.join(found)})"
        for word in action.option_strings:
            yield f"*{word}[{about}]" + ("" if action.nargs == 0 else f":value:{value}")
        if action.choices and not action.option_strings:
            yield f":value:{value}"
    yield "*:file:_files"


def _fish(parsers: Parsers) -> str:
    lines = ["# tinsmith's sub-commands and options in fish; made by `tinsmith completion fish`"]
    for name, parser in parsers.items():
        about = _fish_text(str(parser.description))
        lines.append(f"complete -c tinsmith -f -n __fish_use_subcommand -a {name} -d {about}")
        for action in shown(parser):
            found = _values(action)
            value = {"files": "-r -F", "nothing": "-x"}.get(str(found), "")
            value = value or f"-x -a {_fish_text(' '.join(found))}"
            words = " ".join(
                f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}"
                for word in action.option_strings
            )
            seen = f"'__fish_seen_subcommand_from {name}'"
            if action.choices and not words:
                lines.append(f"complete -c tinsmith -n {seen} {value}")
            if words:
                about = _fish_text(brief(parser, action))
                value = "" if action.nargs == 0 else f" {value}"
                lines.append(f"complete -c tinsmith -n {seen} {words}{value} -d {about}")
    return "\n".join(lines) + "\n"


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
PLACES = {
    "bash": Path("~/.local/share/bash-completion/completions/tinsmith"),
    "zsh": Path("~/.zfunc/_tinsmith"),
    "fish": Path("~/.config/fish/completions/tinsmith.fish"),
}
