"""Keeps keys out of what is shown of a configuration: differences are printed and pasted into mails."""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

import yaml

_KEY: Final = re.compile(r"\b[0-9a-fA-F]{64}\b")
# A webhook's path is as good as a password, and so is what stands behind `secret:`, however YAML lets one write it.
_PLAIN_URL: Final = re.compile(r"([\"']?https?://[^/\s\"'\\]+/)[^\s\"'\\]+([\"']?)")
_PASSWORD: Final = re.compile(r'(://[^\s:/@]*:)[^\s"]+(?=@)')
_QUERIED: Final = re.compile(r"([?&]password=)[^\s&\"']+")
# Somebody's webhook that is out of use for now, in a comment.
_COMMENT: Final = re.compile(r"^[^\"'\n]*?(?:^|[ \t])#.*$", re.MULTILINE)
_COMMENTED: Final = re.compile(r"(\bsecret[\"']?[ \t]*:[ \t]*)([^\s].*)$")
_COMMENTED_URL: Final = re.compile(r"(https?://[^/\s\"']+/)[^\s\"',}]+")
# In what is no YAML: all behind the word, and what is indented deeper below it.
_LOOSE: Final = re.compile(r"(.*?\b(?:secret|url)[\"']?[ \t]*)(:|$)")


def masked(text: str) -> str:
    """Return the text with each secret replaced by a mark that differs when it does, and without URLs' passwords.

    A whole YAML text stays one, of the same structure. Of anything else, a line or a log, more may be replaced.
    """
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        root = None
    if isinstance(root, yaml.MappingNode):
        for begin, end, name, value in sorted(_secrets(root), reverse=True):
            text = text[:begin] + _hidden(text[begin:end], name, value) + text[end:]
        text = _COMMENT.sub(lambda found: _uncommented(found[0]), text)
    else:
        text = "".join(_loosely(text))
    text = _KEY.sub(lambda found: f"<key {_mark(found.group())}>", text)
    return _QUERIED.sub(r"\1<password>", _PASSWORD.sub(r"\1<password>", text))


def _secrets(node: yaml.Node | None) -> Iterator[tuple[int, int, str, str]]:
    """Yield where values may be secret: begin, end, key, and the value as YAML reads it."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in ("secret", "url", "key") and value.value:
                yield value.start_mark.index, value.end_mark.index, key.value, str(value.value)
            else:
                yield from _secrets(value)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _secrets(each)


def _uncommented(line: str) -> str:
    line = _COMMENTED.sub(lambda found: f"{found[1]}<secret {_mark(found[2])}>", line)
    return _COMMENTED_URL.sub(lambda found: f"{found[1]}<path {_mark(found[0])}>", line)


def _loosely(text: str) -> Iterator[str]:
    hidden = -1  # how deep the line was whose secret may go on in the next
    for line in text.splitlines(keepends=True):
        depth = len(line) - len(line.lstrip(" \t"))
        if hidden >= 0 and line.strip() and depth > hidden:
            continue
        found = _LOOSE.match(line)
        hidden = depth if found else -1
        yield f"{found[1]}: <secret {_mark(line)}>\n" if found else line


def _hidden(written: str, name: str, value: str) -> str:
    if name == "url" and (plain := _PLAIN_URL.fullmatch(written)):
        return f"{plain[1]}<path {_mark(written)}>{plain[2]}"
    if (name == "key" and not _KEY.search(value)) or (name == "url" and "@" not in value and value.count("/") < 3):
        return written
    if (name == "key" or (name == "url" and not value.startswith("http"))) and value in written:
        return written  # plainly written keys and passwords are found by themselves
    return f"<{'path' if name == 'url' else name} {_mark(written)}>" + "\n" * written.endswith("\n")


def _mark(key: str) -> str:
    """Return eight digits that nobody can turn back into the key, which has 256 random bits."""
    return hashlib.sha256(b"hagw mark of a key:" + key.lower().encode()).hexdigest()[:8]
