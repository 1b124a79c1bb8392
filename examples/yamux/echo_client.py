"""Send lines over parallel yamux streams of one connection: python echo_client.py PORT LINE..."""

from __future__ import annotations

import asyncio
import sys

from yamux import Session


async def ask(session: Session, line: str) -> str:
    async with await session.open() as stream:
        stream.write(line.encode())
        stream.write_eof()
        return (await stream.read()).decode()


async def main(port: int, lines: list[str]) -> None:
    loop = asyncio.get_running_loop()
    _, session = await loop.create_connection(lambda: Session(client=True), "127.0.0.1", port)
    async with session:
        for answer in await asyncio.gather(*(ask(session, line) for line in lines)):
            print(answer)


asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
