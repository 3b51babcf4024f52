"""The manual page and the completions of `sallyport-agent`, made from the command line's own parser.

`python -m agent.package.documents FOLDER` writes sallyport-agent.1, .bash, .zsh and .fish there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.__main__ import parser
from agent.wire import AGENT_VERSION

NAME = "sallyport-agent"
Options = list[argparse.Action]


def commands(top: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Each command with its one line of help."""
    chosen = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in chosen._choices_actions}
    return {name: (helps.get(name, ""), made) for name, made in chosen.choices.items()}


def options(made: argparse.ArgumentParser) -> Options:
    """What a command takes and says."""
    return [action for action in made._actions if action.help is not argparse.SUPPRESS]


def flags(made: argparse.ArgumentParser) -> list[str]:
    return [flag for action in options(made) for flag in action.option_strings]


def man(top: argparse.ArgumentParser) -> str:
    """A page for man(1), section 1."""
    lines = [
        f'.TH SALLYPORT-AGENT 1 "" "Sallyport {AGENT_VERSION}" "Sallyport"',
        ".SH NAME",
        f"{NAME} \\- {_roff((top.description or '').rstrip('.').lower())}",
        ".SH SYNOPSIS",
        f".B {NAME}",
        ".I COMMAND",
        "[options]",
        ".SH COMMANDS",
    ]
    for name, (text, made) in commands(top).items():
        lines += [".TP", f".B {_roff(name)} {_roff(_taken(made))}".rstrip(), _roff(_sentence(text))]
        for action in options(made):
            if action.dest != "help":
                lines += [".RS", ".TP", f".B {_roff(_shown(action))}", _roff(_sentence(_help(action))), ".RE"]
    return "\n".join([*lines, *_FILES, ""])


_FILES = (
    ".SH ENVIRONMENT",
    ".TP",
    ".B SALLYPORT_AGENT_STATE_DIR",
    "Where the device key and the enrolment are; /var/lib/sallyport-agent.",
    ".TP",
    ".B SALLYPORT_AGENT_CLAMD_SOCKET",
    "The socket of clamd, where it is not in the usual place.",
    ".SH EXIT STATUS",
    "0 when it is done (status: when packets flow; doctor: when all is in order), 1 when not, 2 for a wrong call.",
    ".SH SEE ALSO",
    ".BR wg (8),",
    ".BR nft (8),",
    ".BR resolvectl (1)",
)


def bash(top: argparse.ArgumentParser) -> str:
    """A completion for bash."""
    cases = "\n".join(
        f'    {name}) words="{" ".join([*flags(made), *_choices(made)])}" ;;'
        for name, (_, made) in commands(top).items()
    )
    return f"""# bash completion for {NAME}; made from its parser
_sallyport_agent() {{
  local words="{" ".join([*commands(top), *flags(top)])}"
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  [ "$COMP_CWORD" -gt 1 ] || words="{" ".join([*commands(top), *flags(top)])}"
  case "${{COMP_WORDS[COMP_CWORD-1]}}" in --ca|--output) COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}")); return ;; esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _sallyport_agent {NAME}
"""


def zsh(top: argparse.ArgumentParser) -> str:
    """A completion for zsh."""
    named = "\n".join(f"    '{name}:{_quoted(text)}'" for name, (text, _) in commands(top).items())
    cases = "\n".join(
        f"    {name}) _arguments {' '.join(_zsh_option(action) for action in options(made) if action.option_strings)} ;;"
        for name, (_, made) in commands(top).items()
    )
    return f"""#compdef {NAME}
# made from its parser
_sallyport_agent() {{
  local -a commands=(
{named}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  local command=$words[2]
  shift words; (( CURRENT-- ))
  case $command in
{cases}
  esac
}}
_sallyport_agent "$@"
"""


def fish(top: argparse.ArgumentParser) -> str:
    """A completion for fish."""
    lines = [f"# fish completion for {NAME}; made from its parser", f"complete -c {NAME} -f"]
    for name, (text, made) in commands(top).items():
        lines.append(f"complete -c {NAME} -n __fish_use_subcommand -a {name} -d '{_quoted(text)}'")
        for action in options(made):
            for flag in action.option_strings:
                kind = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                takes = " -r -F" if action.metavar == "FILE" else " -r" if action.nargs != 0 else ""
                said = f"-d '{_quoted(_help(action))}'"
                lines.append(f"complete -c {NAME} -n '__fish_seen_subcommand_from {name}' {kind}{takes} {said}")
    return "\n".join([*lines, ""])


def _zsh_option(action: argparse.Action) -> str:
    flag = max(action.option_strings, key=len)
    value = (
        "" if action.nargs == 0 else f":{action.dest}:{'_files' if action.metavar == 'FILE' else _zsh_choices(action)}"
    )
    return f"'{flag}[{_quoted(_help(action))}]{value}'"


def _zsh_choices(action: argparse.Action) -> str:
    return f"({' '.join(map(str, action.choices))})" if action.choices else " "


def _choices(made: argparse.ArgumentParser) -> Iterator[str]:
    for action in options(made):
        yield from map(str, action.choices or ())


def _taken(made: argparse.ArgumentParser) -> str:
    return " ".join(str(action.metavar or action.dest) for action in options(made) if not action.option_strings)


def _shown(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    value = action.metavar or (("|".join(map(str, action.choices))) if action.choices else action.dest.upper())
    return names if action.nargs == 0 or not action.option_strings else f"{names} {value}"


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _quoted(text: str) -> str:
    return text.replace("'", "’").replace("[", "(").replace("]", ")").replace(":", "\\:")


def _roff(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


DOCUMENTS = {".1": man, ".bash": bash, ".zsh": zsh, ".fish": fish}


def write(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending, make in DOCUMENTS.items():
        (folder / f"{NAME}{ending}").write_text(make(parser()))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
