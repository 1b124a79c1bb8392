"""Echo every yamux stream back: python echo_server.py [PORT]"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from yamux import Session, Stream, YamuxError


async def echo(stream: Stream) -> None:
    with suppress(YamuxError):  # a stream that was cut ends only itself
        async with stream:
            async for data in stream:
                stream.write(data)
                await stream.drain()


async def serve(session: Session) -> None:
    async with asyncio.TaskGroup() as group:
        async for stream in session:
            group.create_task(echo(stream))


async def main(port: int) -> None:
    async with asyncio.TaskGroup() as group:

        def connected() -> Session:
            session = Session(client=False)
            group.create_task(serve(session))
            return session

        server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", port)
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
