"""Whether our own API answers, asked like anybody else would."""

import asyncio
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 1.0
_QUESTION: Final = b"GET /api/v1/health HTTP/1.1\r\nHost: hagw\r\nConnection: close\r\n\r\n"


async def answers(path: Path) -> bool:
    """Say whether the API on this socket answers within TIMEOUT_S that it is well."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(_QUESTION)
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
