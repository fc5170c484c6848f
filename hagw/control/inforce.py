"""What a starting daemon runs: the generation in force, whatever became of the configuration file meanwhile.

A journal found open tells of a transaction that a crash or a loss of power cut short. The link is the judge: if it
points to the target, the commit happened and is finished here; else the checkpoint is in force and the target was
rolled back.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hagw.config.load import load, load_file
from hagw.control.durable import Disk
from hagw.control.generations import Generations, StateDamaged, digest
from hagw.control.journal import Journal
from hagw.errors import ConfigError, Refused
from hagw.log import log_of
from hagw.model.intent import Intent
from hagw.plan.slots import keep_slots, slots_of

CUT_SHORT: Final = "the daemon ended before it was committed"
_FILE_MODE: Final = 0o600

log = log_of("hagw.config")


@dataclass(frozen=True, slots=True)
class InForce:
    """What runs. `generation` 0 = the file itself, as the state directory cannot be used; `notice` says why."""

    generation: int
    text: str
    intent: Intent
    notice: str = ""


class Archive:
    """The generations, the journal and the configuration file: all that a transaction writes to the disk."""

    def __init__(self, state_dir: Path, config_file: Path, disk: Disk | None = None) -> None:
        self._disk = disk or Disk()
        self.generations = Generations(state_dir, self._disk)
        self.journal = Journal(state_dir, self._disk)
        self.file = config_file

    def file_text(self) -> str | None:
        """Return the configuration file's text as it is now, None where it cannot be read."""
        try:
            return self.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def commit(self, number: int, *, write_file: bool) -> str:
        """Put a generation in force for good; return what could not be done beside that, "" = nothing.

        Raises OSError while it is not in force; once it is there is no way back, only what is left to do.
        """
        self.generations.put_in_force(number)
        try:
            notice = self._write_file(self.generations.text(number)) if write_file else ""
            self.generations.judge(number, "committed", "", utc_now())
            self.journal.close()
        except (OSError, StateDamaged) as why:
            return f"The state directory cannot be used ({why}); what is left to do there is done at the next start."
        return notice

    def _write_file(self, text: str) -> str:
        """Have the configuration file say what is in force; edits in it that were never applied are kept beside it."""
        path = self.file.resolve()
        present = self.file_text()
        if present == text:
            return ""
        try:
            mode = path.stat().st_mode & 0o777 if present is not None else _FILE_MODE
            notice = ""
            if present is not None and digest(present) not in {known.sha256 for known in self.generations.all()}:
                beside = path.with_name(f"{path.name}.unapplied")
                self._disk.replace(beside, present, mode)
                notice = f"What {path} said had never been applied: it is kept as {beside}."
            path.parent.mkdir(parents=True, exist_ok=True)
            self._disk.replace(path, text, mode)
        except OSError as why:
            return f"{path} could not be written ({why.strerror}) and still says something else."
        return notice


def take_up(archive: Archive) -> InForce:
    """Return what to run. Raise ConfigError where there is neither a usable generation nor a usable file."""
    try:
        _finish_what_was_cut_short(archive)
        number = archive.generations.in_force()
        if number is not None:
            return _kept(archive, number)
        notice = ""
    except (OSError, StateDamaged, ConfigError) as why:
        notice = (
            f"The generation in force cannot be used ({_one_line(why)}); the configuration file is in force instead."
        )
        log.error("generation in force cannot be used", reason=_one_line(why))
    return _from_file(archive, notice)


def adopt(archive: Archive, file: Path, by: str) -> int:
    """Put a file in force for the next start, with no daemon running; return its generation. Raise ConfigError."""
    intent, text = load_file(file), file.read_text(encoding="utf-8")
    try:
        known = archive.generations.in_force()
        slots = archive.generations.get(known).slots if known is not None else {}
    except StateDamaged:
        slots = {}
    try:
        made = archive.generations.add(
            text, slots_of(keep_slots(intent, slots)), created=utc_now(), by=by, note="while no daemon ran"
        )
        archive.journal.close()
        archive.commit(made.number, write_file=file.resolve() != archive.file.resolve())
    except OSError as why:
        raise Refused(f"The state directory cannot be used: {why}.") from why
    return made.number


def utc_now() -> str:
    """Return the present time as generations note it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _finish_what_was_cut_short(archive: Archive) -> None:
    entry = archive.journal.read()
    if entry is None:
        return
    if archive.generations.in_force() == entry.target:
        archive.commit(entry.target, write_file=entry.write_file)
        log.info("commit finished after a crash", generation=entry.target)
        return
    log.warning("configuration rolled back", generation=entry.checkpoint, refused=entry.target, reason=CUT_SHORT)
    archive.generations.judge(entry.target, "rolled back", CUT_SHORT, utc_now())
    archive.journal.close()


def _kept(archive: Archive, number: int) -> InForce:
    known, text = archive.generations.get(number), archive.generations.text(number)
    intent = keep_slots(load(text, f"generation {number}"), known.slots)
    if archive.file_text() != text:
        log.warning("configuration file is not what is in force", generation=number, file=str(archive.file))
    return InForce(number, text, intent)


def _from_file(archive: Archive, notice: str) -> InForce:
    intent = load_file(archive.file)
    text = archive.file.read_text(encoding="utf-8")
    try:
        made = archive.generations.add(
            text, slots_of(intent), created=utc_now(), by="hagw", note="the file found at start"
        )
        archive.commit(made.number, write_file=False)
    except OSError as why:
        log.error("state directory cannot be used", reason=str(why))
        words = f"The state directory cannot be used ({why}): the configuration cannot be changed while running."
        return InForce(0, text, intent, f"{notice} {words}".strip())
    return InForce(made.number, text, intent, notice)


def _one_line(why: Exception) -> str:
    return "; ".join(str(why).splitlines())
