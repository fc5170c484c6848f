"""hagw's manual page and shell completions, made from docs/cli.md and from the command line itself."""

import gzip
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

TREE: Final = Path(__file__).parents[2]
_LAST: Final = "## HTTP"  # what follows is no matter of the command line

_BASH: Final = """\
# hagw: completion of verbs and options for bash
_hagw() {
    local word=${COMP_WORDS[COMP_CWORD]} verb='' candidates=''
    [ "$COMP_CWORD" -gt 1 ] && verb=${COMP_WORDS[1]}
    [ "$COMP_CWORD" -gt 2 ] && case $verb in @GROUPS@) verb="$verb ${COMP_WORDS[2]}" ;; esac
    case $verb in
@CASES@
    esac
    COMPREPLY=($(compgen -W "$candidates" -- "$word"))
}
complete -o default -F _hagw hagw
"""
_ZSH: Final = """\
#compdef hagw
# hagw: completion of verbs and options for zsh
_hagw() {
    local -a verbs options
    if (( CURRENT == 2 )); then
        verbs=(
@VERBS@
        )
        _describe verb verbs
        return
    fi
    local verb=$words[2]
    case $verb in @GROUPS@) (( CURRENT > 3 )) && verb="$verb $words[3]" ;; esac
    case $verb in
@CASES@
    esac
    _describe option options
    _files
}
_hagw "$@"
"""


def manual() -> bytes:
    """Return hagw(1), compressed."""
    text = (TREE / "docs/cli.md").read_text(encoding="utf-8").partition(f"\n{_LAST}\n")[0]
    head = ['.TH HAGW 1 "" "hagw" "Hybrid-access gateway"', ".SH NAME", r"hagw \- hybrid-access gateway"]
    head += [".SH SYNOPSIS", r".B hagw", r"\fIVERB\fR [\fIOPTION\fR]..."]
    page = "\n".join([*head, *_roff(text.splitlines()[1:])]) + "\n"
    return gzip.compress(page.encode(), mtime=0)


def completions() -> dict[str, bytes]:
    """Return the files of completions by their path in a file system."""
    verbs = dict(_verbs())
    first = {name: about for name, (about, _) in verbs.items() if " " not in name}
    groups = "|".join(dict.fromkeys(name.split()[0] for name in verbs if " " in name))
    lines = [f"        '{name}') candidates='{' '.join(words)}' ;;" for name, (_, words) in verbs.items()]
    bash = _BASH.replace("@CASES@", "\n".join(["        '') candidates='" + " ".join(first) + "' ;;", *lines]))
    listed = [f"            '{name}:{_quoted(about)}'" for name, about in first.items()]
    cases = [f"        '{name}') options=({' '.join(words)}) ;;" for name, (_, words) in verbs.items()]
    zsh = _ZSH.replace("@VERBS@", "\n".join(listed)).replace("@CASES@", "\n".join(cases))
    bash, zsh = (script.replace("@GROUPS@", groups) for script in (bash, zsh))
    return {
        "usr/share/bash-completion/completions/hagw": bash.encode(),
        "usr/share/zsh/vendor-completions/_hagw": zsh.encode(),
    }


def _verbs() -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Walk the command line: each verb, also of two words, what it does, and the words that may follow it."""
    sys.path.insert(0, str(TREE))
    from typer.main import get_command

    from hagw.cli.app import app

    yield from _below(get_command(app), "")


def _below(group: Any, before: str) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    for name, command in sorted(group.commands.items()):
        words = sorted(getattr(command, "commands", {}))
        for parameter in command.params:
            words += [word for word in parameter.opts if word.startswith("--")]
        yield before + name, (command.get_short_help_str(60), [*words, "--help"])
        if hasattr(command, "commands"):
            yield from _below(command, f"{before}{name} ")


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''").replace(":", "\\:")


def _roff(lines: list[str]) -> Iterator[str]:
    """Turn the Markdown that docs/cli.md is written in into the language of manual pages."""
    code = False
    for line in lines:
        if line.startswith("```"):
            code = not code
            yield from ((".PP", ".nf", ".RS 4") if code else (".RE", ".fi"))
        elif code:
            yield _plain(line)
        elif line.startswith("### "):
            yield f".SS {_inline(line[4:])}"
        elif line.startswith("## "):
            yield f".SH {_inline(line[3:]).upper() if line[3:] != 'hagw' else 'VERBS'}"
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not set(cells[0]) <= set("-: "):
                yield ".TP"
                yield _inline(cells[0])
                yield _inline(" ".join(cells[1:])) or "\\&"
        elif line.startswith(("- ", "* ")):
            yield ".IP \\(bu 2"
            yield _inline(line[2:])
        elif not line.strip():
            yield ".PP"
        else:
            yield _inline(line.strip())


def _inline(text: str) -> str:
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)
    text = _plain(text)
    text = re.sub(r"\*\*(.+?)\*\*", r"\\fB\1\\fR", text)
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)


def _plain(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
