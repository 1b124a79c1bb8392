from __future__ import annotations

import asyncio
import socket

import pytest

from agentd.pool import TargetConnection, TargetPool
from tunnel.http1 import DEFAULT_LIMITS
from tunnel.targets import parse_target
from yamux.carrier import TlsOptions


class User:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.connection: TargetConnection | None = None
        self.error = None
        self.data = b""
        self.events: list[str] = []
        self.changed = asyncio.Event()

    def target_ready(self, connection):
        self.connection = connection
        self.changed.set()

    def target_failed(self, error):
        self.error = error
        self.changed.set()

    def target_data(self, data):
        self.data += data
        self.changed.set()

    def target_eof(self):
        self.events.append("eof")

    def target_lost(self, exc):
        self.events.append("lost")
        self.changed.set()

    def target_full(self):
        self.events.append("full")
        self.changed.set()

    def target_drained(self):
        self.events.append("drained")
        self.changed.set()

    async def told(self):
        async with asyncio.timeout(60):
            await self.changed.wait()
        self.changed.clear()


def make(url: str, **options) -> TargetPool:
    settings = {"max_idle": 4, "idle_seconds": 60.0, "dial_seconds": 5.0, "clock": lambda: 0.0}
    return TargetPool(parse_target(url), limits=DEFAULT_LIMITS, tls=TlsOptions(), **(settings | options))


async def stay(client):
    await client.ended()


@pytest.fixture
async def pool(rig):
    target = await rig.target(stay)
    pool = make(target.url)
    yield pool
    await pool.close()
    await rig.settle(lambda: not pool.open)


async def taken(pool: TargetPool) -> tuple[User, TargetConnection]:
    user = User()
    assert pool.acquire(user) is None
    pool.wait(user)
    assert user.connection is None
    await user.told()
    assert user.connection is not None
    return user, user.connection


async def test_dial_release_acquire(pool):
    user, connection = await taken(pool)
    assert (connection.user, connection.reused, pool.idle) == (user, False, 0)
    pool.release(connection)
    assert (connection.user, pool.idle) == (None, 1)
    other = User()
    assert pool.acquire(other) is connection
    assert (connection.user, connection.reused, pool.idle) == (other, True, 0)


async def test_the_one_used_last_comes_first(pool):
    (_, one), (_, two) = await taken(pool), await taken(pool)
    pool.release(one)
    pool.release(two)
    assert pool.acquire(User()) is two


async def test_a_free_connection_serves_who_waits(pool):
    _, connection = await taken(pool)
    waiting = User()
    pool.wait(waiting)
    pool.release(connection)
    assert waiting.connection is connection


async def test_the_dial_nobody_needs_any_more_becomes_idle(rig, pool):
    _, connection = await taken(pool)
    waiting = User()
    pool.wait(waiting)
    pool.release(connection)
    await rig.settle(lambda: pool.idle == 1)


async def test_who_withdraws_is_not_called(rig, pool):
    user = User()
    pool.wait(user)
    pool.withdraw(user)
    await rig.settle(lambda: pool.idle == 1)
    assert user.connection is None
    pool.withdraw(user)


async def test_no_more_idle_than_allowed(rig):
    target = await rig.target(stay)
    pool = make(target.url, max_idle=2)
    held = [(await taken(pool))[1] for _ in range(4)]
    for connection in held:
        pool.release(connection)
    assert pool.idle == 2
    await rig.settle(lambda: target.closed == 2)
    await pool.close()
    await rig.settle(lambda: target.closed == 4)


async def test_idle_limit(rig, pool):
    _, old = await taken(pool)
    pool.release(old)
    pool.sweep(30.0)
    assert pool.acquire(User()) is old
    _, new = await taken(pool)
    pool.release(old)
    pool.release(new)
    pool.sweep(80.0)
    assert pool.idle == 2
    pool.sweep(90.0)
    assert pool.idle == 0


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [(b"timeout=5", 3), (b"max=9, timeout=30", 28), (b"timeout=999", 60), (b"x", 60), (b"timeout=99999999", 60)],
)
async def test_the_targets_own_idle_limit_is_kept(rig, pool, hint, seconds):
    _, connection = await taken(pool)
    pool.release(connection, [hint])
    pool.sweep(seconds - 1.0)
    assert pool.idle == 1
    pool.sweep(float(seconds))
    assert pool.idle == 0


async def test_an_expired_connection_is_not_given(rig, pool):
    _, connection = await taken(pool)
    pool.release(connection, [b"timeout=5"])
    pool.now = 3.0
    assert pool.acquire(User()) is None
    await rig.settle(lambda: not pool.open)


async def test_d9_failure_is_told_to_each_who_waits(rig):
    target = await rig.target(stay)
    target.stop_listening()
    pool = make(target.url)
    users = [User() for _ in range(3)]
    for user in users:
        pool.wait(user)
    for user in users:
        await user.told()
        assert user.error.reason.code == "target_refused"


async def test_a_failed_dial_costs_nobody_who_was_served_otherwise(rig):
    target = await rig.target(stay)
    pool = make(target.url)
    _, connection = await taken(pool)
    target.stop_listening()
    waiting = User()
    pool.wait(waiting)
    pool.release(connection)
    assert waiting.connection is connection
    await rig.settle(lambda: not pool._dials)
    assert waiting.error is None
    await pool.close()
    await rig.settle(lambda: not pool.open)


async def test_idle_connection_that_ends(rig):
    end = asyncio.Event()

    async def leave(client):
        await end.wait()

    target = await rig.target(leave)
    pool = make(target.url)
    _, connection = await taken(pool)
    pool.release(connection)
    end.set()
    await rig.settle(lambda: pool.idle == 0 and not pool.open)
    assert pool.acquire(User()) is None


async def test_a_dead_connection_is_not_given_for_what_cannot_be_repeated(rig):
    end = asyncio.Event()
    gone = asyncio.Event()

    async def leave(client):
        await end.wait()
        client.writer.close()
        gone.set()

    target = await rig.target(leave)
    pool = make(target.url)
    _, connection = await taken(pool)
    pool.release(connection)
    assert connection.is_alive()
    connection.transport.pause_reading()  # as if the loop had not come round to it yet
    end.set()
    await rig.settle(lambda: not connection.is_alive())
    assert pool.acquire(User(), sure=True) is None
    await pool.close()


async def test_marks_and_end_are_told(rig, pool):
    user, connection = await taken(pool)
    connection.pause_reading()
    connection.pause_reading()
    assert connection.paused
    pool.release(connection)
    assert not connection.paused
    assert pool.acquire(user) is connection
    connection.pause_writing()
    connection.resume_writing()
    assert user.events == ["full", "drained"]
    connection.transport.abort()
    await rig.settle(lambda: "lost" in user.events)
    assert connection not in pool.open


async def test_a_connection_that_takes_no_more_is_not_used_again(rig, pool):
    """Its target has answered, but does not read the upload. Whoever came next would never be told to stop writing."""
    _, connection = await taken(pool)
    connection.transport.write(bytes(32 << 20))
    await rig.settle(lambda: connection.full)
    pool.release(connection)
    assert pool.idle == 0 and connection not in pool.open and connection.transport.is_closing()
    # The same when it becomes so behind the release.
    _, connection = await taken(pool)
    pool.release(connection)
    connection.transport.write(bytes(32 << 20))
    await rig.settle(lambda: connection.full)
    assert pool.acquire(User()) is None
    assert pool.idle == 0 and connection not in pool.open and connection.transport.is_closing()
    _, connection = await taken(pool)
    connection.pause_writing()
    connection.resume_writing()
    pool.release(connection)
    assert pool.idle == 1


async def test_close_cancels_dials(rig):
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        pool = make(f"http://127.0.0.1:{listener.getsockname()[1]}")
        user = User()
        pool.wait(user)
        await asyncio.sleep(0)
        await pool.close()
        assert (user.connection, user.error) == (None, None)


async def test_unix_sockets(rig, tmp_path):
    await rig.target_socket(stay, str(tmp_path / "s"))
    pool = make(f"unix://{tmp_path}/s")
    _, connection = await taken(pool)
    assert connection.is_alive()
    await pool.close()
    await rig.settle(lambda: not pool.open)


class Lost(asyncio.Transport):
    """A connection about to be closed, with its socket still there."""

    def __init__(self, sock: socket.socket, *, secure: bool = False) -> None:
        super().__init__(extra={"socket": sock, **({"ssl_object": object()} if secure else {})})

    def is_closing(self) -> bool:
        return True


@pytest.mark.parametrize(("secure", "got"), [(False, b"answer"), (True, b"")])
@pytest.mark.parametrize("error", [ConnectionResetError(), None])
async def test_what_lies_unread_when_a_connection_breaks_is_read(
    secure: bool, got: bytes, error: Exception | None
) -> None:
    pool = make("http://127.0.0.1:1")
    user = User()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"answer")
        connection = TargetConnection(pool, user)
        connection.connection_made(Lost(ours, secure=secure))
        connection.connection_lost(error)
    assert user.data == (got if error is not None else b"")
    assert user.events == ["lost"]
    assert connection.user is None


async def test_what_lies_unread_is_read_as_long_as_somebody_wants_it(monkeypatch) -> None:
    monkeypatch.setattr("tunnel.unread.MOST_UNREAD", 10)
    pool = make("http://127.0.0.1:1")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(bytes(100))

        class Done(User):
            def target_data(self, data):
                super().target_data(data)
                connection.user = None

        user = Done()
        connection = TargetConnection(pool, user)
        connection.connection_made(Lost(ours))
        connection.connection_lost(ConnectionResetError())
    assert user.data == bytes(10)
    assert user.events == []
