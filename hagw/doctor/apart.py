"""The examination in a process of its own: it tries the kernel and waits for lines, which a daemon must not."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Final

from hagw.errors import HagwError
from hagw.model.finding import Finding

TIMEOUT_S: Final = 60.0


async def examine_apart(config: Path) -> tuple[Finding, ...]:
    """Return what `hagw doctor` finds. Raise HagwError where it does not answer."""
    isolated = ("-P",) if sys.flags.safe_path else ()
    command = (sys.executable, *isolated, "-m", "hagw", "doctor", "--json", "--config", str(config))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said, _ = await process.communicate()
            return tuple(Finding(**each) for each in json.loads(said)["findings"])
    except TimeoutError:
        raise HagwError(f"The examination takes longer than {TIMEOUT_S:.0f} s.") from None
    except (ValueError, KeyError, TypeError) as why:
        raise HagwError("The examination ended without an answer; `hagw doctor` says why.") from why
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
