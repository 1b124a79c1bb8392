"""Visitors that are other people's clients: curl, Node's http and Node's fetch, which is undici. They read; we compare."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from conformance.children import Child
from conformance.smuggling.answering import Answer

Read = Callable[[str, bytes], Awaitable[Answer]]
"""Takes a URL and a method, gives the answer as the client read it."""

# Seconds a client waits for an answer; one that waits for more than there is must show as a fault.
PATIENCE = 10
# Heads that are refused are answered with 502; the largest that is passed on is below this.
_LARGEST_HEAD = 1 << 20

_NODE = """
const http = require('node:http');
const agent = new http.Agent({keepAlive: true, maxSockets: 1});

function byHttp(method, url) {
  return new Promise((resolve) => {
    const seen = {status: 0, interim: [], body: '', whole: false, names: []};
    const request = http.request(url, {method, agent, timeout: PATIENCE * 1000, maxHeaderSize: LARGEST}, (answer) => {
      const parts = [];
      seen.status = answer.statusCode;
      seen.names = answer.rawHeaders.filter((_, place) => place % 2 === 0);
      answer.on('data', (part) => parts.push(part));
      answer.on('error', () => {});
      answer.on('close', () => {
        seen.whole = answer.complete;
        seen.body = Buffer.concat(parts).toString('base64');
        resolve(seen);
      });
    });
    request.on('information', (answer) => seen.interim.push(answer.statusCode));
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(seen));
    request.end();
  });
}

async function byFetch(method, url) {
  const seen = {status: 0, interim: [], body: '', whole: false, names: []};
  try {
    const signal = AbortSignal.timeout(PATIENCE * 1000);
    const answer = await fetch(url, {method, redirect: 'manual', signal});
    seen.status = answer.status;
    seen.names = [...answer.headers.keys()];
    seen.body = Buffer.from(await answer.arrayBuffer()).toString('base64');
    seen.whole = true;
  } catch (error) {
    // An answer that was cut, or none: what was seen so far tells.
  }
  return seen;
}

const ways = {http: byHttp, fetch: byFetch};
require('node:readline').createInterface({input: process.stdin}).on('line', async (line) => {
  const {way, method, url} = JSON.parse(line);
  console.log('answer ' + JSON.stringify(await ways[way](method, url)));
});
console.log('ready');
"""


@contextlib.asynccontextmanager
async def _node(way: str) -> AsyncIterator[Read]:
    program = _NODE.replace("PATIENCE", str(PATIENCE)).replace("LARGEST", str(_LARGEST_HEAD))
    async with await Child.start(
        "node", [_found("node"), f"--max-http-header-size={_LARGEST_HEAD}", "-e", program]
    ) as child:
        await child.wait_line("^ready$")

        async def read(url: str, method: bytes) -> Answer:
            assert child.process.stdin is not None
            child.lines.clear()
            asked = json.dumps({"way": way, "method": method.decode(), "url": url})
            child.process.stdin.write(asked.encode() + b"\n")
            told = json.loads((await child.wait_line("^answer (.*)$"))[1])
            names = frozenset(name.lower().encode("latin-1") for name in told["names"])
            body = base64.b64decode(told["body"])
            return Answer(told["status"], tuple(told["interim"]), body, told["whole"], names)

        yield read


@contextlib.asynccontextmanager
async def _curl() -> AsyncIterator[Read]:
    with tempfile.TemporaryDirectory(prefix="curl-") as folder:
        heads, body = Path(folder) / "heads", Path(folder) / "body"

        async def read(url: str, method: bytes) -> Answer:
            for path in (heads, body):
                path.write_bytes(b"")
            # With --head, curl writes the head where the body would be.
            how = ["--head", "--output", "/dev/null"] if method == b"HEAD" else ["--output", str(body)]
            argv = ["--silent", "--http1.1", "--max-time", str(PATIENCE), "--dump-header", str(heads), *how, url]
            process = await asyncio.create_subprocess_exec(_found("curl"), *argv, stdin=asyncio.subprocess.DEVNULL)
            code = await process.wait()
            return _by_curl(heads.read_bytes(), body.read_bytes(), whole=code == 0)

        yield read


def _by_curl(heads: bytes, body: bytes, *, whole: bool) -> Answer:
    """What curl wrote down, as an answer."""
    # It writes the fields of a trailer behind the heads; no trailer is passed on, so there is none.
    blocks = [block.split(b"\r\n") for block in heads.split(b"\r\n\r\n") if block.startswith(b"HTTP/")]
    statuses = [int(lines[0].split(b" ")[1]) for lines in blocks]
    if not statuses or statuses[-1] < 200:
        return Answer(0, tuple(statuses), body, whole=False, names=frozenset())
    names = frozenset(line.partition(b":")[0].lower() for line in blocks[-1][1:])
    return Answer(statuses[-1], tuple(statuses[:-1]), body, whole, names)


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} is missing"
    return path


CLIENTS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Read]]] = {
    "curl": _curl,
    "node http": lambda: _node("http"),
    "node fetch": lambda: _node("fetch"),
}
TELLS_INTERIM = frozenset({"curl", "node http"})
"""Clients that say which interim answers they saw."""
REFUSED = {
    # What undici's fetch takes for no answer at all; nobody else does, and none of it is a matter of framing.
    "node fetch": {
        "right-encoded": "it unpacks a body that says it is packed, and this one is not",
        "right-status-407": "a proxy's word is an error to it",
        "right-interim-100": "it takes no 100 it did not ask for",
    }
}
"""Good payloads that a client refuses, with why."""
