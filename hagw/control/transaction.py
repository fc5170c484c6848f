"""Put another configuration in force: all of it, or nothing of it.

    check → refuse what cannot work → journal → switch → look whether traffic flows → commit, or wait for a confirmation
                                                                                   └→ else switch back

The journal is on the disk before anything is touched, and moving the archive's link is the one step that commits:
wherever the daemon dies, the next one runs the checkpoint or the target. Transactions run one after the other in a task
of the daemon's, so that a caller who hangs up cuts none short, and the timer of an unconfirmed one needs nobody but
the daemon.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from hagw.config.load import load
from hagw.control.condition import Condition, regressions
from hagw.control.generations import Generation, StateDamaged, digest
from hagw.control.inforce import Archive, InForce, utc_now
from hagw.control.journal import Entry
from hagw.control.ports import Preview
from hagw.control.standing import Standing
from hagw.control.wish import Outcome, Planned, Wish
from hagw.errors import HagwError, Refused, StaleEdit
from hagw.log import log_of
from hagw.model.intent import Intent
from hagw.plan.caller import Caller, cut_off
from hagw.plan.feasible import concerns_gateways, impossibilities
from hagw.plan.slots import inherit_slots, slots_of
from hagw.plan.words import changes, steps

CHECK_TIMEOUT_S: Final = 5.0  # a new gateway or worker may take this long to show that it works
LOOK_EVERY_S: Final = 0.02
TICK_MAX_S: Final = 1.0  # the deadline counts time asleep too, which the loop's own clock does not

T = TypeVar("T")
log = log_of("hagw.config")


class Live(Protocol):
    """The running gateway."""

    @property
    def intent(self) -> Intent: ...

    async def preview(self, intent: Intent) -> Preview: ...

    async def switch(self, intent: Intent) -> int: ...

    async def condition(self, caller: Caller | None, *, with_trial: bool) -> Condition: ...


@dataclass(frozen=True, slots=True)
class _Pending:
    entry: Entry
    before: InForce
    deadline: float


def boot_time() -> float:
    """Return the seconds since boot, those asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Transactions:
    """Changes what a running gateway works by. Methods raise HagwError: ConfigError, or Refused with the reason."""

    def __init__(
        self,
        live: Live,
        archive: Archive,
        in_force: InForce,
        api_answers: Callable[[], Awaitable[bool]],
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._live = live
        self._archive = archive
        self._now = in_force  # what the gateway works by; its link follows when it is committed
        self._api_answers = api_answers
        self._clock = clock
        self._pending: _Pending | None = None
        self._tried: _Pending | None = None  # what is neither committed nor taken back, while it is worked on
        self._jobs: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = asyncio.Queue()
        self._file_seen: tuple[object, bool] = (None, False)

    # -- asked from outside

    async def apply(self, wish: Wish) -> Outcome:
        """Put a configuration in force, or leave everything as it is."""
        return await self._in_turn(lambda: self._apply(wish))

    async def change(self, edit: Callable[[str, str], str], wish: Wish) -> tuple[str, str, Outcome]:
        """Put in force what `edit` makes of the text in force and the name it goes by; return both texts too.

        Everything but the text is as the wish says. Raises also what `edit` raises, and nothing has changed then.
        """
        return await self._in_turn(lambda: self._change(edit, wish))

    async def confirm(self) -> Outcome:
        """Keep what waits for it."""
        return await self._in_turn(self._confirm)

    async def rollback(self, generation: int | None, by: str, caller: Caller | None) -> Outcome:
        """Take back what waits for confirmation; else put an older generation, by default the last, in force again."""
        return await self._in_turn(lambda: self._rollback(generation, by, caller))

    async def rollback_share(
        self, generation: int | None, share: Callable[[str, str, str], str], by: str, caller: Caller | None
    ) -> Outcome:
        """Take back what waits for confirmation; else put in force what `share` makes of an older generation.

        It is given the text in force, the older one, and the name the text goes by. Raises also what it raises, and
        nothing has changed then.
        """
        return await self._in_turn(lambda: self._rollback_share(generation, share, by, caller))

    async def plan(self, wish: Wish) -> Planned:
        """Say what applying would do; changes nothing."""
        intent = await asyncio.to_thread(load, wish.text, wish.filename)
        return await self._plan(inherit_slots(intent, self._live.intent), wish.caller)

    def standing(self) -> Standing:
        """Return how the configuration stands."""
        pending = self._pending
        left = None if pending is None else max(0.0, round(pending.deadline - self._clock(), 1))
        return Standing(self._now.generation, left, self._file_differs(), self._now.notice)

    def text(self, generation: int | None) -> str:
        """Return the text in force, or a generation's."""
        if generation is None or generation == self._now.generation:
            return self._now.text
        try:
            return self._archive.generations.text(generation)
        except StateDamaged as why:
            raise Refused(f"{_sentence(str(why))}") from why

    def file_text(self) -> str | None:
        """Return the configuration file's text as it is now, None where it cannot be read."""
        return self._archive.file_text()

    def history(self) -> tuple[Generation, ...]:
        """Return all generations kept, oldest first."""
        return self._archive.generations.all()

    async def run(self) -> None:
        """Serve requests in their order and keep the deadline, for ever."""
        while True:
            try:
                async with asyncio.timeout(self._patience_s()):
                    act, answer = await self._jobs.get()
            except TimeoutError:
                await self._revert_if_due()
                continue
            await self._serve(act, answer)

    # -- one at a time

    async def _in_turn(self, act: Callable[[], Awaitable[T]]) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put_nowait((act, answer))
        return await answer

    async def _serve(self, act: Callable[[], Awaitable[Any]], answer: "asyncio.Future[Any]") -> None:
        try:
            result = await act()
        except HagwError as why:
            failure = why
        except Exception as why:  # noqa: BLE001 - the API handler's boundary: act runs for one who waits for an answer
            failure = await self._undo(why)
        else:
            if not answer.done():
                answer.set_result(result)
            return
        if not answer.done():
            answer.set_exception(failure)

    async def _undo(self, why: Exception) -> HagwError:
        """Switch back after a failure that nobody foresaw; return what to tell who asked."""
        tried, reason = self._tried, _unforeseen(why)
        log.error("changing the configuration failed", reason=reason, exc_info=why)
        if tried is None:
            return HagwError(f"Nothing was changed: {reason}.")
        await self._revert(tried, reason)
        return Refused(f"Rolled back to generation {tried.entry.checkpoint}: {reason}.")

    def _patience_s(self) -> float | None:
        if self._pending is None:
            return None
        return min(TICK_MAX_S, max(0.0, self._pending.deadline - self._clock()))

    async def _revert_if_due(self) -> None:
        pending = self._pending
        if pending is not None and self._clock() >= pending.deadline:
            await self._revert(pending, f"not confirmed within {pending.entry.confirm_within_s:g} s")

    async def _apply(self, wish: Wish) -> Outcome:
        self._refuse_while_pending()
        self._refuse_stale(wish)
        before = self._now
        if not before.generation:
            raise Refused(before.notice)
        intent = await asyncio.to_thread(load, wish.text, wish.filename)
        intent = inherit_slots(intent, self._live.intent)
        if wish.text == before.text:
            return Outcome("unchanged", before.generation)
        if intent == self._live.intent:  # a comment, say
            return await self._keep_text(wish, intent)
        needs_trial = concerns_gateways(self._live.intent, intent)
        # The trial waits for the gateway, the rest for kernel and disk: together they take as long as the longest.
        prepared, condition = await asyncio.gather(
            self._prepare(wish, intent), self._condition(wish.caller, needs_trial), return_exceptions=True
        )
        planned, entry = _result(prepared)
        self._tried = pending = _Pending(entry, before, 0.0)
        self._now = InForce(entry.target, wish.text, intent)
        try:
            known = _result(condition)
            taken = await self._live.switch(intent)
            faults = await self._faults(known, wish.caller)
        except HagwError as why:
            faults = (str(why),)
        if faults:
            reason = "; ".join(faults)
            await self._revert(pending, reason)
            raise Refused(f"Rolled back to generation {entry.checkpoint}: {reason}.")
        if wish.confirm_within_s is None:
            return await self._commit(pending, planned.changes, taken)
        self._pending = replace(pending, deadline=self._clock() + wish.confirm_within_s)
        self._tried = None
        await asyncio.to_thread(self._judge, entry.target, "pending", "")
        log.info("configuration waits for confirmation", generation=entry.target, within_s=wish.confirm_within_s)
        return Outcome("pending", entry.target, planned.changes, taken, wish.confirm_within_s)

    async def _change(self, edit: Callable[[str, str], str], wish: Wish) -> tuple[str, str, Outcome]:
        self._refuse_while_pending()
        self._refuse_stale(wish)
        if self._file_differs():
            raise Refused(
                "Nothing was changed: the configuration file says something else than what is in force"
                " (`hagw diff` shows it); apply it first, or take the edits out."
            )
        before, name = self._now.text, str(self._archive.file)
        after = await asyncio.to_thread(edit, before, name)
        return before, after, await self._apply(replace(wish, text=after, filename=name, write_file=True))

    def _refuse_stale(self, wish: Wish) -> None:
        """Refuse what was made of another configuration than the one in force: it would undo what came between."""
        if wish.base_generation not in (None, self._now.generation):
            raise StaleEdit(self._now.generation, wish.base_generation)

    async def _confirm(self) -> Outcome:
        pending = self._pending
        if pending is None:
            raise Refused("Nothing waits for a confirmation.")
        self._tried = pending
        return await self._commit(pending, (), 0)

    async def _rollback_share(
        self, generation: int | None, share: Callable[[str, str, str], str], by: str, caller: Caller | None
    ) -> Outcome:
        pending = self._pending
        if pending is not None and generation in (None, pending.entry.checkpoint):
            return await self._rollback(generation, by, caller)
        self._refuse_while_pending()
        number = generation if generation is not None else self._last_before()
        older = self.text(number)
        wish = Wish("", "", by=by, note=f"generation {number} again", caller=caller)
        _, _, outcome = await self._change(lambda text, file: share(text, older, file), wish)
        return outcome

    async def _rollback(self, generation: int | None, by: str, caller: Caller | None) -> Outcome:
        pending = self._pending
        if pending is not None:
            await self._revert(pending, f"asked for by {by}")
            if generation in (None, pending.entry.checkpoint):
                return Outcome("rolled back", pending.entry.checkpoint)
        number = generation if generation is not None else self._last_before()
        wish = Wish(
            self.text(number),
            f"generation {number}",
            by=by,
            note=f"generation {number} again",
            write_file=True,
            caller=caller,
        )
        return await self._apply(wish)

    # -- the parts

    def _refuse_while_pending(self) -> None:
        if self._pending is not None:
            left = self.standing().pending_confirm_s or 0.0
            raise Refused(
                f"Generation {self._now.generation} waits for its confirmation for another {left:.0f} s:"
                " `hagw confirm` or `hagw rollback` first."
            )

    async def _plan(self, intent: Intent, caller: Caller | None) -> Planned:
        present = self._live.intent
        preview = await self._live.preview(intent)
        obstacles = impossibilities(present, intent, preview.facts)
        if caller is not None and not obstacles:
            obstacles = cut_off(caller, present, intent, preview.facts, preview.actual, preview.desired)
        names = {slot: name for each in (present, intent) for name, slot in slots_of(each).items()}
        return Planned(intent, preview, changes(present, intent), steps(preview.plan, names), obstacles)

    async def _prepare(self, wish: Wish, intent: Intent) -> tuple[Planned, Entry]:
        """Refuse what cannot work; have the rest on the disk as what is tried."""
        planned = await self._plan(intent, wish.caller)
        if planned.obstacles:
            raise Refused("Nothing was changed: " + "; ".join(planned.obstacles) + ".")
        return planned, await self._note(wish, intent)

    async def _keep_text(self, wish: Wish, intent: Intent) -> Outcome:
        before = self._now
        entry = await self._note(wish, intent)
        self._tried = pending = _Pending(entry, before, 0.0)
        self._now = InForce(entry.target, wish.text, intent)
        return await self._commit(pending, (), 0)

    async def _note(self, wish: Wish, intent: Intent) -> Entry:
        """Have the new generation and the way back on the disk."""

        def write() -> Entry:
            made = self._archive.generations.add(
                wish.text, slots_of(intent), created=utc_now(), by=wish.by, note=wish.note
            )
            entry = Entry(self._now.generation, made.number, wish.confirm_within_s, wish.write_file)
            self._archive.journal.open(entry)
            return entry

        try:
            return await asyncio.to_thread(write)
        except OSError as why:
            raise Refused(f"Nothing was changed: the state directory cannot be used ({why}).") from why

    async def _condition(self, caller: Caller | None, with_trial: bool) -> Condition:
        looking = self._live.condition(caller, with_trial=with_trial)
        condition, answers = await asyncio.gather(looking, self._api_answers())
        return replace(condition, api=answers)

    async def _faults(self, before: Condition, caller: Caller | None) -> tuple[str, ...]:
        """Look until everything works that did before; return what does not after CHECK_TIMEOUT_S."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CHECK_TIMEOUT_S
        while True:
            found = regressions(before, await self._condition(caller, before.converter == ""))
            if not found or loop.time() > deadline:
                return found
            await asyncio.sleep(LOOK_EVERY_S)

    async def _commit(self, pending: _Pending, changed: tuple[str, ...], taken: int) -> Outcome:
        entry = pending.entry

        def write() -> str:
            return self._archive.commit(entry.target, write_file=entry.write_file)

        try:
            notice = await asyncio.to_thread(write)
        except OSError as why:  # not for the next start, so not now either: the disk is full, or gone
            reason = f"the state directory cannot be used ({why})"
            await self._revert(pending, reason)
            raise Refused(f"Rolled back to generation {entry.checkpoint}: {reason}.") from why
        self._pending = self._tried = None
        log.info("configuration in force", generation=entry.target, before=entry.checkpoint)
        self._file_seen = (None, False)
        return Outcome("in force", entry.target, changed, taken, notice=notice)

    async def _revert(self, pending: _Pending, reason: str) -> None:
        """Switch back to the checkpoint. A kernel that refuses that too is asked again by the reconcile loop."""
        entry = pending.entry
        log.warning("configuration rolled back", generation=entry.checkpoint, refused=entry.target, reason=reason)
        try:
            await self._live.switch(pending.before.intent)
        except HagwError as why:
            log.error("rolling back is not complete", reason=str(why))
        except Exception as why:  # a defect: the rest of the way back is gone all the same
            log.error("rolling back is not complete", reason=_unforeseen(why), exc_info=why)
        self._pending = self._tried = None
        self._now = pending.before
        await asyncio.to_thread(self._judge, entry.target, "rolled back", reason)
        await asyncio.to_thread(self._close_journal)

    def _judge(self, number: int, result: Any, reason: str) -> None:
        try:
            self._archive.generations.judge(number, result, reason, utc_now())
        except (OSError, StateDamaged) as why:
            log.error("state directory cannot be used", reason=str(why))

    def _close_journal(self) -> None:
        try:
            self._archive.journal.close()
        except OSError as why:
            log.error("state directory cannot be used", reason=str(why))

    def _last_before(self) -> int:
        older = [g.number for g in self.history() if g.result == "committed" and g.number < self._now.generation]
        if not older:
            raise Refused("There is no older generation to go back to.")
        return older[-1]

    def _file_differs(self) -> bool:
        """Say whether the configuration file says something else; reads it only when it was touched."""
        try:
            found = self._archive.file.stat()
        except OSError:
            return True
        seen = (found.st_mtime_ns, found.st_size, found.st_ino, self._now.generation)
        if self._file_seen[0] != seen:
            text = self._archive.file_text()
            self._file_seen = (seen, text is None or digest(text) != digest(self._now.text))
        return self._file_seen[1]


def _unforeseen(why: Exception) -> str:
    return f"something failed that should not ({type(why).__name__}: {why}); the daemon's log says where"


def _result(found: T | BaseException) -> T:
    """Return what a gathered task returned, or raise what it raised."""
    if isinstance(found, BaseException):
        raise found
    return found


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
