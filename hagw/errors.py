"""Errors that reach a person, each with the exit code it ends the program with."""

from dataclasses import dataclass
from typing import ClassVar


class HagwError(Exception):
    """Something the user asked for did not happen; the message is one clear sentence."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One thing wrong in a configuration file; `line` is 1-based, None where no line can be blamed."""

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(HagwError):
    """The configuration cannot be used; nothing was changed."""

    exit_code = 2

    def __init__(self, issues: tuple[ConfigIssue, ...]) -> None:
        self.issues = issues
        super().__init__("\n".join(str(issue) for issue in issues))


class DaemonUnreachable(HagwError):
    """No daemon answers on the runtime directory's socket."""

    exit_code = 3


class UnsupportedEnvironment(HagwError):
    """The machine lacks something hagw needs: a kernel feature, a program, a right."""

    exit_code = 4


class Refused(HagwError):
    """The request was understood and refused, or rolled back."""

    exit_code = 5


class StaleEdit(Refused):
    """A change was made of another configuration than the one that is in force by now."""

    def __init__(self, generation: int, base: int | None) -> None:
        self.generation = generation
        super().__init__(f"Generation {generation} is in force by now, the change was made of {base}: look again.")


class KernelRefused(HagwError):
    """The kernel did not take a step; what was done before it stays until the next pass."""


class RegistryUnavailable(HagwError):
    """The registry of customers cannot be reached now; what is known of it stays in force."""
