"""The supervisor against scripted workers that are real processes."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hagw.control import workers
from hagw.control.worker_seat import BACK_OFF_S, SeatPlan
from hagw.control.workers import Workers, retire_surplus, stop_all, worker_count
from hagw.model.intent import FlowLimits
from hagw.model.snapshot import HagSnapshot
from tests.attentive import attentive
from tests.fakes import FAKE_WORKER

SNAPSHOT = HagSnapshot(1, (), 5124, 5124, (), (), (), (), "off", (), FlowLimits(), "cubic", False)


class Crew:
    """A supervisor with its callbacks' records."""

    def __init__(self, runtime_dir: Path, moods: tuple[tuple[str, ...], ...]) -> None:
        self.events: list[dict[str, Any]] = []
        self.changes = 0
        self.plans = tuple(_plan(runtime_dir, index, words) for index, words in enumerate(moods))
        self.workers = Workers(self.plans, on_event=self.events.append, on_change=self._count)

    def _count(self) -> None:
        self.changes += 1

    def pids(self) -> list[int | None]:
        return [report.pid for report in self.workers.reports()]

    async def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> float:
        """Wait for the condition; return how long it took, stalls of the machine aside."""
        async with asyncio.timeout(timeout_s), attentive() as passed_s:
            while not condition():
                await asyncio.sleep(0.01)
            return passed_s()

    async def until_listening(self) -> None:
        await self.until(lambda: self.workers.listening_count() == len(self.plans))


def _plan(runtime_dir: Path, index: int, moods: tuple[str, ...]) -> SeatPlan:
    path = runtime_dir / f"worker-{index}.sock"
    return SeatPlan(index, path, (sys.executable, str(FAKE_WORKER), str(path), *moods), runtime_dir / f"{index}.log")


@asynccontextmanager
async def running(runtime_dir: Path, *moods: tuple[str, ...]) -> AsyncIterator[Crew]:
    """Run a supervisor; leaving the block stops the supervisor, not the workers."""
    crew = Crew(runtime_dir, moods)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(crew.workers.run())
        yield crew
        task.cancel()


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Iterator[Path]:
    """A runtime directory whose workers are gone afterwards."""
    yield tmp_path
    asyncio.run(stop_all(tmp_path, 0.0))


def test_workers_start_apply_the_snapshot_and_report(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, (), ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            reports = crew.workers.reports()
            assert [r.state for r in reports] == ["running", "running"]
            assert [r.generation for r in reports] == [1, 1]
            assert reports[0].stats["flows_active"] == 2
            assert crew.changes > 0

    asyncio.run(scenario())


def test_a_new_supervisor_adopts_the_running_workers(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, (), ()) as first:
            first.workers.publish(SNAPSHOT)
            await first.until_listening()
            pids = first.pids()
        async with running(runtime_dir, (), ()) as second:
            second.workers.publish(replace(SNAPSHOT, generation=7))
            await second.until(lambda: all(r.generation == 7 for r in second.workers.reports()))
            assert second.pids() == pids
            assert all(r.adopted and r.starts == 0 for r in second.workers.reports())

    asyncio.run(scenario())


def test_a_killed_worker_is_replaced_and_gets_the_snapshot(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, (), ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            first, second = crew.pids()
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await crew.until(lambda: crew.pids()[0] != first and crew.workers.listening_count() == 2)
            assert crew.pids()[1] == second

    asyncio.run(scenario())


@pytest.mark.parametrize("adopted", [False, True])
def test_a_stopped_worker_is_killed_and_replaced_within_two_seconds(runtime_dir: Path, adopted: bool) -> None:
    async def scenario() -> None:
        if adopted:
            async with running(runtime_dir, ()) as earlier:
                earlier.workers.publish(SNAPSHOT)
                await earlier.until_listening()
        async with running(runtime_dir, ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            (pid,) = crew.pids()
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            assert await crew.until(lambda: crew.workers.listening_count() == 0) < 2.0
            await crew.until_listening()
            assert crew.pids() != [pid]

    asyncio.run(scenario())


def test_a_worker_that_never_answers_is_replaced(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("deaf",)) as crew:
            await crew.until(lambda: crew.workers.reports()[0].starts == 2)

    asyncio.run(scenario())


def test_time_in_which_the_daemon_did_not_run_is_no_silence(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            pids = crew.pids()
            assert pids[0] is not None
            os.kill(pids[0], signal.SIGSTOP)
            for _ in range(2):  # the whole machine stands still, but for one turn of the loop
                time.sleep(1.5)
                await asyncio.sleep(0.01)
            os.kill(pids[0], signal.SIGCONT)
            await asyncio.sleep(0.7)
            assert crew.pids() == pids
            assert crew.workers.reports()[0].starts == 1

    asyncio.run(scenario())


def test_a_crash_loop_is_slowed_down(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("crash-start",)) as crew:
            began = time.monotonic()
            await crew.until(lambda: crew.workers.reports()[0].starts == 4)
            assert time.monotonic() - began > 0.99 * sum(BACK_OFF_S[1:4])
            assert crew.workers.reports()[0].state in ("ended", "starting")

    asyncio.run(scenario())


def test_a_worker_that_nobody_could_reach_yet_ends_with_its_supervisor(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("late",)) as crew:
            await crew.until(lambda: list(runtime_dir.glob("pid-*")))
        (mark,) = runtime_dir.glob("pid-*")
        assert os.waitpid(int(mark.name.removeprefix("pid-")), 0)[1] == signal.SIGKILL

    asyncio.run(scenario())


def test_only_the_newest_snapshot_reaches_a_slow_worker(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("slow",)) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            for generation in range(2, 30):
                crew.workers.publish(replace(SNAPSHOT, generation=generation))
                await asyncio.sleep(0)
            await crew.until(lambda: 29 in crew.workers.reports()[0].stats.get("applied", ()))
            assert crew.workers.reports()[0].stats["applied"] == [1, 2, 29]

    asyncio.run(scenario())


def test_a_look_tells_of_now_and_of_after_the_newest_snapshot(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("slow",)) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            for generation in (2, 3):
                crew.workers.publish(replace(SNAPSHOT, generation=generation))
            await crew.workers.look(timeout_s=8.0)
            assert crew.workers.reports()[0].stats["snapshot_generation"] == 3
            crew.workers.heard("hag1", 7.0)
            await crew.workers.look(timeout_s=8.0)
            assert crew.workers.reports()[0].stats["heard"] == ["hag1"]

    asyncio.run(scenario())


def test_a_worker_that_never_answers_does_not_stall_a_look(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, (), ("deaf",)) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until(lambda: all(report.generation == 1 for report in crew.workers.reports()))
            began = time.monotonic()
            async with attentive() as passed_s:
                await crew.workers.look(timeout_s=0.3)
                assert passed_s() < 1.0
            assert time.monotonic() - began >= 0.3

    asyncio.run(scenario())


def test_a_silent_worker_does_not_stall_flows(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("paged-flows",), ("mute-flows",)) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            silent: tuple[int, ...] = ()
            while silent != (1,):  # on a busy machine the other one may be late, too
                async with attentive() as passed_s:
                    answer = await crew.workers.flows(60.0, timeout_s=0.3)
                    assert passed_s() < 0.6
                silent = answer.silent
                assert 1 in silent
            assert len(answer.flows) == 2

    asyncio.run(scenario())


def test_events_reach_the_callback(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("chatty",)) as crew:
            await crew.until(lambda: crew.events)
            assert crew.events[0]["event"] == "destination-refused"
            assert crew.events[0]["port"] == 81

    asyncio.run(scenario())


def test_an_event_that_cannot_be_handled_costs_no_worker(runtime_dir: Path) -> None:
    async def scenario() -> None:
        def choke(message: dict[str, Any]) -> None:
            raise RuntimeError(message["event"])

        mishaps: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: mishaps.append(context))
        plan = _plan(runtime_dir, 0, ("chatty",))
        workers = Workers((plan,), on_event=choke, on_change=lambda: None)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(workers.run())
            while not (mishaps and workers.reports()[0].state == "running"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.4)
            assert workers.reports()[0].starts == 1
            task.cancel()

    asyncio.run(scenario())


def test_an_older_worker_is_not_asked_again_for_what_it_does_not_know(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(_batch: str, _day: str, _used: list[list[Any]]) -> None:
        raise AssertionError("nothing was read")

    async def scenario() -> None:
        async with running(runtime_dir, ("older",), ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            (before, _) = (report.stats["readings"] for report in crew.workers.reports())
            monkeypatch.setattr(workers, "USAGE_TIMEOUT_S", 0.2)
            for _ in range(3):
                await crew.workers.read_usage(keep)
            await crew.until(lambda: crew.workers.reports()[0].stats["readings"] != before)
            assert crew.workers.reports()[0].stats["readings"] == before + 1

    asyncio.run(scenario())


def test_proofs_of_life_are_passed_on(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            crew.workers.heard("hag1", 5.0)
            await crew.until(lambda: crew.workers.reports()[0].stats.get("heard") == ["hag1"])

    asyncio.run(scenario())


def test_a_worker_talking_nonsense_is_replaced(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, ("nonsense",)) as crew:
            await crew.until(lambda: crew.workers.reports()[0].starts == 2)

    asyncio.run(scenario())


def test_a_stale_socket_file_is_no_worker(runtime_dir: Path) -> None:
    (runtime_dir / "worker-0.sock").write_text("left over")

    async def scenario() -> None:
        async with running(runtime_dir, ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()

    asyncio.run(scenario())


def test_surplus_workers_of_an_earlier_configuration_are_stopped(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, (), ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            kept, surplus = crew.pids()
        assert surplus is not None
        assert await retire_surplus(runtime_dir, 1) == (surplus,)
        assert os.waitpid(surplus, 0)[0] == surplus
        async with running(runtime_dir, ()) as crew:
            await crew.until(lambda: crew.workers.reports()[0].state == "running")
            assert crew.pids() == [kept]

    asyncio.run(scenario())


def test_stopping_all_ends_also_a_worker_that_does_not_listen_to_us(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, (), ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            pids = crew.pids()
        assert pids[0] is not None
        os.kill(pids[0], signal.SIGSTOP)
        async with attentive() as passed_s:
            assert await stop_all(runtime_dir, drain_s=0.1) == 2
            assert passed_s() < 3.0
        for pid in pids:
            assert pid is not None
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        assert list(runtime_dir.glob("*.sock")) == []
        assert await stop_all(runtime_dir) == 0

    asyncio.run(scenario())


def test_there_are_never_fewer_than_two_workers() -> None:
    assert worker_count(1) == 2
    assert worker_count(5) == 5
    assert worker_count(0) >= 2


def test_seats_come_and_go_while_the_others_stay(runtime_dir: Path) -> None:
    async def scenario() -> None:
        async with running(runtime_dir, (), ()) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            before = crew.pids()
            three = (*crew.plans, _plan(runtime_dir, 2, ()))
            crew.workers.resize(three)
            await crew.until(lambda: crew.workers.listening_count() == 3)
            assert crew.pids()[:2] == before
            leaving = crew.pids()[2]
            assert leaving is not None
            crew.workers.resize(crew.plans)
            assert crew.pids() == before
            await crew.until(lambda: not _lives(leaving))
            crew.workers.resize(three)
            await crew.until(lambda: crew.workers.listening_count() == 3)
            assert crew.pids()[:2] == before

    asyncio.run(scenario())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_busiest_flows_of_all_workers_are_told_also_beside_one_of_an_older_version(runtime_dir: Path) -> None:
    async def story() -> None:
        async with running(runtime_dir, (), ("old",), ("old", "mute-flows")) as crew:
            crew.workers.publish(SNAPSHOT)
            await crew.until_listening()
            answer = await crew.workers.busiest(3, 2.0)
            assert [flow["down_bps"] for flow in answer.flows] == [200, 100, 0]
            assert (answer.total, answer.silent) == (2001, (2,))
            *_, older = flows = (await crew.workers.busiest(9, 2.0)).flows
            assert (len(flows), older["down_bps"], older["up_bps"]) == (6, 0, 0)

    asyncio.run(story())
