"""A server that speaks first: a banner line, then every byte back. Run as `python -m hagw.lab.echo PORT`."""

import asyncio
import sys
from typing import Final

BANNER: Final = b"220 hagw lab echo\r\n"
_CHUNK: Final = 65536


async def serve(port: int) -> None:
    """Serve IPv4 and IPv6 until cancelled."""
    server = await asyncio.start_server(_converse, None, port, backlog=1024)
    async with server:
        await server.serve_forever()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo until the client has said all, then say that we have too: a half-closed client gets every byte."""
    try:
        writer.write(BANNER)
        while received := await reader.read(_CHUNK):
            writer.write(received)
            await writer.drain()
        writer.write_eof()
    except (ConnectionError, TimeoutError):
        writer.transport.abort()
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
