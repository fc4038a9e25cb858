"""``extproc completion``: a script by which a shell completes commands and flags. It is made of the parser, once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .base import Command

WordsAfter = dict[tuple[str, ...], list[str]]
"""The commands that have been typed -> what may follow."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=_completion)


COMMAND = Command(
    "completion",
    "a script by which your shell completes commands and flags",
    arguments,
    [
        'eval "$(extproc completion bash)"    # in ~/.bashrc',
        'eval "$(extproc completion zsh)"     # in ~/.zshrc, after compinit',
        "extproc completion fish > ~/.config/fish/completions/extproc.fish",
    ],
    ["0 always"],
)


def words(parser: argparse.ArgumentParser) -> WordsAfter:
    """What may follow each command of *parser*: commands, flags and the values of a fixed choice."""
    return dict(_words(parser, ()))


def _words(parser: argparse.ArgumentParser, typed: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    found: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _words(inner, (*typed, name))
            found += action.choices
        elif action.option_strings:
            found += [name for name in action.option_strings if name.startswith("--")]
        found += [str(value) for value in action.choices or () if not action.option_strings and str(value) not in found]
    yield typed, found


def bash(known: WordsAfter) -> str:
    """The script for bash, and with its compatibility for zsh."""
    cases = "\n".join(
        f'    "{" ".join(typed)}") words="{" ".join(found)}" ;;' for typed, found in sorted(known.items())
    )
    return f"""_extproc() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" typed="" next word words=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    next="${{typed:+$typed }}$word"
    case "$next" in
      {"|".join(f'"{" ".join(typed)}"' for typed in sorted(known) if typed)}) typed="$next" ;;
    esac
  done
  case "$typed" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _extproc extproc
"""


def zsh(known: WordsAfter) -> str:
    """Zsh runs bash's."""
    return "autoload -Uz bashcompinit && bashcompinit\n" + bash(known)


def fish(known: WordsAfter) -> str:
    """A line for each command and what may follow it."""
    tops = " ".join(typed[0] for typed in known if len(typed) == 1)
    lines = [f"complete -c extproc -f -n 'not __fish_seen_subcommand_from {tops}' -a '{' '.join(known[()])}'"]
    for typed, found in sorted(known.items()):
        if typed and found:
            seen = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in typed)
            lines.append(f"complete -c extproc -n '{seen}' -a '{' '.join(found)}'")
    return "\n".join(lines) + "\n"


def _completion(args: argparse.Namespace) -> int:
    from ..cli import parser

    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](words(parser())), end="")
    return 0
