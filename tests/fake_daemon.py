"""The daemon over a kernel in memory and scripted workers: run as a process of its own. Usage: fake_daemon.py DIR."""

import asyncio
import sys
from pathlib import Path

from hagw.access.desk import Desk
from hagw.control.door import answers
from hagw.control.durable import Disk
from hagw.control.gateway import Gateway
from hagw.control.inforce import Archive, InForce
from hagw.control.instance import only_instance
from hagw.control.transaction import Transactions
from hagw.control.worker_seat import SeatPlan
from hagw.daemon import serve
from hagw.history.keeper import Keeper, Tap
from hagw.log import set_up
from tests.fakes import CPE, FAKE_WORKER, FakeHealth, FakeKernel


def seats(runtime_dir: Path) -> tuple[SeatPlan, ...]:
    """Return two seats of scripted workers."""
    paths = [runtime_dir / f"worker-{index}.sock" for index in range(2)]
    return tuple(
        SeatPlan(index, path, (sys.executable, str(FAKE_WORKER), str(path)), runtime_dir / f"worker-{index}.log")
        for index, path in enumerate(paths)
    )


async def main(runtime_dir: Path) -> None:
    """Serve until told to end."""
    gateway = Gateway(CPE, "0.1.0", FakeKernel(), FakeHealth(), lambda _: seats(runtime_dir))
    archive = Archive(runtime_dir / "state", runtime_dir / "hagw.yaml")
    transactions = Transactions(gateway, archive, InForce(1, "", CPE), lambda: answers(runtime_dir / "hagw.sock"))
    await gateway.prepare()
    await serve(
        gateway,
        transactions,
        Desk(runtime_dir / "state", Disk()),
        Keeper(runtime_dir / "state", Tap()),
        (),
        runtime_dir,
    )


if __name__ == "__main__":
    set_up()
    directory = Path(sys.argv[1])
    with only_instance(directory):
        asyncio.run(main(directory))
