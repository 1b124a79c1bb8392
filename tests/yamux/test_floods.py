"""Peers that send what does nothing, or do not read: bounded memory and the right end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.yamux.wire import (
    QUIET,
    WINDOW,
    Frame,
    Lone,
    ack,
    data,
    ended,
    fin,
    go_away,
    ping,
    pong,
    rst,
    syn,
    update,
)

from yamux import Config, FloodDetected, ProtocolError
from yamux.connection import MAX_CONTROL_FRAMES, MAX_OWED_REPLIES
from yamux.events import StreamOpened
from yamux.frames import ACK, FIN, GO_AWAY, RST, SYN, WINDOW_UPDATE

pytestmark = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])

BATCH = 100
MANY = 30_000


def flood(lone: Lone, make: Callable[[int], bytes], *, reading: bool) -> tuple[int, type]:
    """Feed made frames until the session ends: (how many, kind of the end). What waits stays bounded all the time."""
    core = lone.core
    for start in range(0, MANY, BATCH):
        events = core.receive_data(b"".join(make(n) for n in range(start, start + BATCH)))
        for event in events:
            if isinstance(event, StreamOpened) and event.stream.id in core.streams:
                core.accept(event.stream)
        assert len(core.outbox.control) <= MAX_CONTROL_FRAMES + 2 * BATCH
        assert len(core.streams) <= core.config.max_inbound_streams + core.config.max_unacked
        assert sum(stream.unread for stream in core.streams.values()) <= WINDOW * len(core.streams)
        if core.error is not None:
            error = ended(events).error
            assert lone.sent()[-1] == Frame(GO_AWAY, 0, 0, 1)
            return start + BATCH, type(error)
        if reading:
            lone.sent()
    raise AssertionError(f"the session survives {MANY} frames")


def on_stream(make: Callable[[int], bytes]) -> Callable[[Lone], Callable[[int], bytes]]:
    def prepared(lone: Lone) -> Callable[[int], bytes]:
        stream = lone.inbound()
        return lambda _: make(stream.id)

    return prepared


FLOODS: dict[str, Callable[[Lone], Callable[[int], bytes]]] = {
    "ping": lambda lone: lambda n: ping(n),
    "pong": lambda lone: lambda n: pong(n),
    "empty data": on_stream(lambda n: data(n)),
    "empty data, odd flags": on_stream(lambda n: data(n, b"", 0x10)),
    "update of 0": on_stream(lambda n: update(n, 0)),
    "update of 0, odd flags": on_stream(lambda n: update(n, 0, 0x8000)),
    "update of 1": on_stream(lambda n: update(n, 1)),
    "ack": on_stream(lambda n: ack(n)),
    "ack and odd flags": on_stream(lambda n: update(n, 0, ACK | 0x20)),
    "data ack": on_stream(lambda n: data(n, b"", ACK)),
    "fin": on_stream(lambda n: fin(n)),
    "ack and fin": on_stream(lambda n: update(n, 0, ACK | FIN)),
    "go away": lambda lone: lambda n: go_away(0),
    "unknown update": lambda lone: lambda n: update(lone.theirs(99), 5000),
    "unknown fin": lambda lone: lambda n: fin(lone.theirs(99)),
    "unknown reset": lambda lone: lambda n: rst(lone.mine(99)),
    "unknown data": lambda lone: lambda n: data(lone.theirs(99), b"x"),
    "syn and rst": lambda lone: lambda n: syn(lone.theirs(n), 0, RST),
    "open, reset": lambda lone: lambda n: rst(lone.theirs(n // 2)) if n % 2 else syn(lone.theirs(n // 2)),
    "open, end, data": lambda lone: (
        lambda n: syn(lone.theirs(n // 2), 0, FIN) if n % 2 == 0 else data(lone.theirs(n // 2), b"x")
    ),
}


@pytest.mark.parametrize("reading", [True, False], ids=["reading", "not-reading"])
@pytest.mark.parametrize("name", FLOODS)
def test_e5_frames_that_carry_nothing_end_the_session(client: bool, reading: bool, name: str) -> None:
    lone = Lone(client=client)
    count, kind = flood(lone, FLOODS[name](lone), reading=reading)
    assert kind is FloodDetected
    assert 1000 <= count <= 2500, "a second's worth is allowed"


def test_e5_a_second_of_pings_every_second_is_borne(client: bool) -> None:
    lone = Lone(client=client)
    for second in range(10):
        for n in range(9):
            lone.feed(*(ping(n * 100 + m) for m in range(100)))
            assert len(lone.sent()) == 100
        lone.clock.advance(1)
    assert lone.core.error is None, second


def test_e4_syns_beyond_the_backlog_are_reset(client: bool) -> None:
    lone = Lone(client=client)
    events = lone.feed(*(syn(lone.theirs(n)) for n in range(300)))
    assert len(events) == 256
    assert lone.sent() == [Frame(WINDOW_UPDATE, RST, lone.theirs(n), 0) for n in range(256, 300)]
    assert len(lone.core.streams) == 256


def test_e4_accepted_streams_are_bounded_too(client: bool) -> None:
    lone = Lone(client=client, config=Config(max_inbound_streams=300, keepalive_interval=0))
    for n in range(350):
        for event in lone.feed(syn(lone.theirs(n))):
            assert isinstance(event, StreamOpened)
            lone.core.accept(event.stream)
    resets = [frame for frame in lone.sent() if frame.flags == RST]
    assert [frame.stream_id for frame in resets] == [lone.theirs(n) for n in range(300, 350)]
    assert lone.core.inbound == 300


@pytest.mark.parametrize("reading", [True, False], ids=["reading", "not-reading"])
def test_e4_a_syn_flood_ends_the_session(client: bool, reading: bool) -> None:
    lone = Lone(client=client)
    count, kind = flood(lone, lambda n: syn(lone.theirs(n)), reading=reading)
    assert kind is FloodDetected
    assert count <= 1000 + 1000 + BATCH + MAX_OWED_REPLIES


def test_e4_opens_and_resets_at_a_human_pace_are_fine(client: bool) -> None:
    lone = Lone(client=client)
    for n in range(3000):
        lone.feed(syn(lone.theirs(n)), rst(lone.theirs(n)))
        lone.clock.advance(1 / 30)
    assert lone.core.error is None
    assert lone.core.unaccepted == lone.core.inbound == 0


def test_a_peer_that_never_reads_what_short_streams_cost_us_is_left(client: bool) -> None:
    """Whole short streams, each answered by ACK and FIN: nothing idle, nothing reset, and nothing read."""
    lone = Lone(client=client)
    core = lone.core
    for n in range(MANY):
        events = core.receive_data(syn(lone.theirs(n), 0, FIN))
        if core.error is not None:
            break
        (opened, _) = events
        assert isinstance(opened, StreamOpened)
        core.accept(opened.stream)
        core.end_stream(opened.stream)
        assert not core.streams
    assert isinstance(core.error, FloodDetected)
    assert len(core.outbox.control) <= MAX_CONTROL_FRAMES + 4


def test_a_peer_that_reads_may_open_as_many_short_streams_as_it_likes(client: bool) -> None:
    lone = Lone(client=client)
    core = lone.core
    for n in range(5000):
        opened, _ = core.receive_data(syn(lone.theirs(n), 0, FIN))
        assert isinstance(opened, StreamOpened)
        core.accept(opened.stream)
        core.end_stream(opened.stream)
        lone.sent()
        core.receive_data(update(lone.theirs(n), 5000))  # late, as the reference sends it
    assert core.error is None


def test_e5_owed_pongs_are_bounded_whatever_the_rate(client: bool) -> None:
    lone = Lone(client=client)
    fed = 0
    while lone.core.error is None:
        lone.feed(*(ping(n) for n in range(BATCH)))
        fed += BATCH
        lone.clock.advance(1)
    assert fed <= MAX_OWED_REPLIES + BATCH
    assert isinstance(lone.core.error, FloodDetected)


def test_unknown_ids_are_not_drained_for_ever(client: bool) -> None:
    lone = Lone(client=client)
    body = bytes(64 * 1024)
    total = 0
    while lone.core.error is None:
        lone.feed(data(lone.theirs(99), body))
        lone.clock.advance(1)
        total += len(body)
        assert total <= 8 * 1024 * 1024
    assert isinstance(lone.core.error, ProtocolError)
    assert total == QUIET.drain_budget + len(body)


def test_a_peer_that_does_not_read_our_updates_runs_out_of_credit(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    for _ in range(WINDOW // 1024):
        lone.feed(data(stream.id, bytes(1024)))
        lone.core.consume(stream, 1024)
    assert len(lone.core.outbox.control) == 2
    assert sum(frame.length for frame in lone.sent()) == WINDOW


def test_the_name_of_the_end_is_for_counters(client: bool) -> None:
    lone = Lone(client=client)
    while lone.core.error is None:
        lone.feed(*(ping(n, SYN) for n in range(BATCH)))
    assert lone.core.error.reason == "flood_detected"
    assert lone.core.error.code == 1
