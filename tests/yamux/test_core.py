"""Commands, credit and time, with two cores on a wire and with one alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.yamux.wire import (
    QUIET,
    WINDOW,
    Clock,
    Frame,
    Lone,
    Pair,
    ack,
    data,
    ended,
    fin,
    frames,
    go_away,
    names,
    output,
    ping,
    pong,
    received,
    rst,
    syn,
    update,
)

from yamux import (
    Config,
    Connection,
    KeepaliveTimeout,
    RemoteGoAway,
    SessionClosed,
    StreamClosed,
    StreamLimit,
    YamuxError,
)
from yamux.connection import MAX_CONTROL_FRAMES
from yamux.core import LATE_FRAMES_PER_STREAM, TURN_BYTES
from yamux.corestream import CoreStream
from yamux.events import DataReceived, SessionEnded, StreamAnswered, StreamDropped, StreamOpened
from yamux.frames import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW_UPDATE, pack
from yamux.limits import REMEMBERED_GAPS
from yamux.streamstate import OVER, State

roles = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
KIB = 1024


# -- opening -----------------------------------------------------------------------------------------------------------


def test_both_open_at_once() -> None:
    pair = Pair()
    one, two = pair.client.core.open_stream(), pair.server.core.open_stream()
    pair.run()
    assert (one.id, two.id) == (1, 2)
    assert one.state is two.state is State.ESTABLISHED
    for end, other in (pair.ends(True), pair.ends(False)):
        for stream in list(end.core.streams.values()):
            end.core.end_stream(stream)
        pair.run()
        assert end.core.unacked == other.core.unaccepted == 0
    assert not pair.client.core.streams
    assert not pair.server.core.streams


@roles
def test_open_and_close_before_the_accept_hold_their_places_until_it_comes(client: bool) -> None:
    pair = Pair(Config(max_unacked=8, accept_backlog=8, keepalive_interval=0))
    end, other = pair.ends(client)
    other.accepting = False
    for _ in range(8):
        end.core.end_stream(end.core.open_stream())
    pair.run()
    with pytest.raises(StreamLimit):
        end.core.open_stream()
    for stream in other.opened:
        other.core.accept(stream)
    pair.run()
    assert end.core.can_open
    for stream in other.opened:
        other.core.end_stream(stream)
    pair.run()
    assert not end.core.streams
    assert not other.core.streams
    end.core.open_stream()


@roles
def test_opens_the_peer_never_accepts_come_free_at_the_open_timeout(client: bool) -> None:
    pair = Pair(Config(max_unacked=3, accept_timeout=1000, keepalive_interval=0))
    end, other = pair.ends(client)
    other.accepting = False
    streams = [end.core.open_stream() for _ in range(3)]
    end.core.report_answers = True
    end.core.end_stream(streams[0])
    pair.tick(75)
    assert all(stream.state not in OVER for stream in streams), "never early"
    pair.tick(11)
    assert [stream.state for stream in streams] == [State.RESET] * 3
    assert end.answered == 3
    assert "did not answer" in end.stories[streams[1].id].dropped
    assert end.failure is None
    assert end.core.can_open
    assert other.core.unaccepted == 0, "dead streams leave the backlog at once"


@roles
def test_an_open_that_carried_data_waits_for_a_lazy_acknowledgement(client: bool) -> None:
    """rust-yamux and js acknowledge with their first answer, which a request may have to wait for."""
    lone = Lone(client=client, config=Config(keepalive_interval=0))
    stream, asked = lone.core.open_stream(), lone.core.open_stream()
    for one in (stream, asked):
        lone.core.send_data(one, b"a long poll")
    lone.core.end_stream(asked)
    lone.core.data_to_send()
    events = []
    while lone.clock.now < 1000 + 290:
        lone.clock.advance(5)
        events += lone.core.handle_timeout()
    assert events == []
    while lone.clock.now < 1000 + 320:
        lone.clock.advance(5)
        events += lone.core.handle_timeout()
    assert names(events) == ["StreamDropped"]
    assert asked.state is State.RESET, "nothing came for the close timeout after our end"
    assert stream.state is State.SYN_SENT


@roles
def test_the_open_timeout_may_end_the_session(client: bool) -> None:
    lone = Lone(client=client, config=Config(open_timeout_ends_session=True, keepalive_interval=0))
    lone.core.open_stream()
    events = []
    while not events and lone.clock.now < 1200:
        lone.clock.advance(1)
        events = lone.core.handle_timeout()
    assert isinstance(ended(events).error, SessionClosed)
    assert 75 <= lone.clock.now - 1000 <= 85


@roles
def test_a_lazy_acknowledger_is_alive_while_it_gives_credit_or_data(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.core.open_stream()
    for second in range(400):
        lone.clock.advance(1)
        assert lone.core.handle_timeout() == [], second
        if second % 20 == 0:
            lone.feed(update(stream.id, 5000) if second % 40 else data(stream.id, b"x"))
    assert stream.state is State.SYN_SENT


@roles
def test_a_stream_nobody_accepts_is_reset_in_time(client: bool) -> None:
    lone = Lone(client=client)
    (event,) = lone.feed(syn(lone.theirs()))
    assert isinstance(event, StreamOpened)
    told = []
    while not told:
        lone.clock.advance(1)
        lone.feed(data(event.stream.id, b"x"))
        told = lone.core.handle_timeout()
    assert 60 <= lone.clock.now - 1000 < 75
    assert names(told) == ["StreamDropped"]
    assert lone.sent()[-1] == Frame(WINDOW_UPDATE, RST, event.stream.id, 0)


@roles
def test_the_last_id_is_used_and_no_more(client: bool) -> None:
    lone = Lone(client=client)
    old = lone.outbound()
    last = 0xFFFF_FFFD if client else 0xFFFF_FFFC
    lone.core._next_id = last
    stream = lone.core.open_stream()
    assert stream.id == last
    assert not lone.core.can_open
    assert not lone.core.is_full
    unacked = lone.core.unacked
    with pytest.raises(StreamLimit, match="ids"):
        lone.core.open_stream()
    assert lone.core.unacked == unacked, "a failed open keeps no place"
    lone.core.send_data(old, b"fine")
    assert lone.sent()[-1].body == b"fine"


@roles
def test_at_most_256_syns_are_unanswered(client: bool) -> None:
    pair = Pair()
    end, other = pair.ends(client)
    other.accepting = False
    opened = 0
    for _ in range(300):
        if end.core.can_open:
            end.core.open_stream()
            opened += 1
    pair.run()
    assert opened == len(other.opened) == 256
    assert not any(story.dropped for story in end.stories.values())


@roles
def test_five_backlogs_pass_while_the_peer_accepts(client: bool) -> None:
    pair = Pair(Config(max_unacked=8, accept_backlog=8, keepalive_interval=0))
    end, other = pair.ends(client)
    done = 0
    while done < 40:
        while end.core.can_open and done < 40:
            end.core.open_stream()
            done += 1
        pair.run()
    assert len(other.opened) == 40
    assert not any(story.dropped for story in end.stories.values())


@roles
def test_a_local_reset_gives_its_place_back_at_once(client: bool) -> None:
    lone = Lone(client=client, config=Config(max_unacked=1, keepalive_interval=0))
    stream = lone.core.open_stream()
    lone.core.report_answers = True
    lone.core.reset_stream(stream)
    assert lone.core.can_open
    (event,) = lone.core.take_events()
    assert isinstance(event, StreamAnswered)


@roles
def test_commands_on_a_dead_session(client: bool) -> None:
    lone = Lone(client=client)
    stream, waiting = lone.outbound(), lone.core.open_stream()
    end = ended(lone.core.close(SessionClosed("enough")))
    assert set(end.lost) == {stream, waiting}
    assert lone.core.close(SessionClosed("again")) == []
    assert str(lone.core.error) == "enough"
    for command in (lone.core.open_stream, lone.core.ping):
        with pytest.raises(SessionClosed):
            command()
    lone.core.end_stream(stream)
    lone.core.reset_stream(stream)
    lone.core.consume(stream, 0)
    lone.core.go_away()
    assert lone.core.handle_timeout() == []
    assert lone.core.next_timeout() is None
    assert not lone.core.streams


@roles
def test_a_session_that_is_being_closed_opens_nothing(client: bool) -> None:
    lone = Lone(client=client)
    lone.core.closing = True
    assert not lone.core.can_open
    with pytest.raises(SessionClosed):
        lone.core.open_stream()


# -- data and ends -----------------------------------------------------------------------------------------------------


@roles
def test_half_close_leaves_the_other_half(client: bool) -> None:
    pair = Pair()
    end, other = pair.ends(client)
    stream = end.core.open_stream()
    end.core.send_data(stream, b"question")
    end.core.end_stream(stream)
    pair.run()
    assert other.stories[stream.id].data == b"question"
    assert other.stories[stream.id].fin
    assert stream.state is State.LOCAL_ENDED
    with pytest.raises(StreamClosed):
        end.core.send_data(stream, b"more")
    answer = other.opened[0]
    other.core.send_data(answer, bytes(3 * WINDOW))
    other.core.end_stream(answer)
    pair.run()
    assert len(end.stories[stream.id].data) == 3 * WINDOW
    assert end.stories[stream.id].fin
    assert stream.state is answer.state is State.CLOSED


@roles
def test_a_full_window_and_fin_before_the_carrier_goes(client: bool) -> None:
    pair = Pair()
    end, other = pair.ends(client)
    other.consuming = False
    stream = end.core.open_stream()
    end.core.send_data(stream, bytes(WINDOW))
    end.core.end_stream(stream)
    pair.run()
    other.take(other.core.receive_eof())
    assert len(other.stories[stream.id].data) == WINDOW
    assert other.stories[stream.id].fin
    assert other.failure is not None


@roles
def test_small_messages(client: bool) -> None:
    pair = Pair()
    end, other = pair.ends(client)
    stream = end.core.open_stream()
    for _ in range(1000):
        end.core.send_data(stream, b"ping")
        pair.run()
    end.core.end_stream(stream)
    pair.run()
    other.core.end_stream(other.opened[0])
    pair.run()
    assert other.stories[stream.id].data == b"ping" * 1000
    assert not end.core.streams
    assert not other.core.streams


@roles
def test_a_write_into_a_zero_window_takes_nothing_away(client: bool) -> None:
    pair = Pair()
    end, other = pair.ends(client)
    other.consuming = False
    stream = end.core.open_stream()
    end.core.send_data(stream, bytes(WINDOW + 1000))
    pair.run()
    assert (stream.bytes_out, stream.pending_bytes, stream.send_credit) == (WINDOW, 1000, 0)
    assert not end.core.has_output
    end.core.end_stream(stream)
    assert not end.core.has_output, "FIN stays behind its data"
    other.core.consume(other.opened[0], WINDOW)
    pair.run()
    assert len(other.stories[stream.id].data) == WINDOW + 1000
    assert other.stories[stream.id].fin


@roles
def test_half_a_window_and_one_byte_is_credited_to_the_byte(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    lone.feed(data(stream.id, bytes(WINDOW)))
    lone.core.consume(stream, WINDOW // 2 - 1)
    assert lone.sent() == []
    lone.core.consume(stream, 2)
    assert lone.sent() == [Frame(WINDOW_UPDATE, 0, stream.id, WINDOW // 2 + 1)]


@roles
def test_64_reads_of_4_kib_are_two_updates(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    lone.feed(data(stream.id, bytes(WINDOW)))
    for _ in range(64):
        lone.core.consume(stream, 4 * KIB)
    assert [frame.length for frame in lone.sent()] == [WINDOW // 2] * 2


@roles
def test_no_credit_after_an_end_or_a_reset(client: bool) -> None:
    lone = Lone(client=client)
    one, two = lone.inbound(0), lone.inbound(1)
    lone.feed(data(one.id, bytes(WINDOW), FIN), data(two.id, bytes(WINDOW)))
    lone.core.reset_stream(two)
    lone.sent()
    lone.core.consume(one, WINDOW)
    lone.core.consume(two, WINDOW)
    assert lone.sent() == []


@roles
def test_a_large_window_is_filled_at_once(client: bool) -> None:
    pair = Pair(Config(stream_window=512 * KIB, keepalive_interval=0))
    end, other = pair.ends(client)
    other.consuming = False
    stream = end.core.open_stream()
    pair.run()
    end.core.send_data(stream, bytes(512 * KIB))
    pair.run()
    assert stream.pending_bytes == 0
    assert len(other.stories[stream.id].data) == 512 * KIB
    answer = other.opened[0]
    end.consuming = False
    other.core.send_data(answer, bytes(512 * KIB + 1))
    pair.run()
    assert answer.pending_bytes == 1


@roles
@pytest.mark.parametrize("wide_opener", [True, False])
def test_a_larger_window_on_one_side_only(client: bool, wide_opener: bool) -> None:
    wide = Config(stream_window=1024 * KIB, keepalive_interval=0)
    configs = (wide, QUIET) if client == wide_opener else (QUIET, wide)
    pair = Pair(*configs)
    end, other = pair.ends(client)
    end.consuming = other.consuming = False
    stream = end.core.open_stream()
    pair.run()
    end.core.send_data(stream, bytes(2048 * KIB))
    other.core.send_data(other.opened[0], bytes(2048 * KIB))
    pair.run()
    for side in (end, other):
        assert len(side.stories[stream.id].data) == side.core.config.stream_window
    end.consuming = other.consuming = True
    for side, own in ((end, stream), (other, other.opened[0])):
        side.core.consume(own, side.core.config.stream_window)
    pair.run()
    assert len(end.stories[stream.id].data) == len(other.stories[stream.id].data) == 2048 * KIB


@roles
def test_windows_grow_with_the_round_trip_and_stop_at_the_maximum(client: bool) -> None:
    config = Config(max_stream_window=2048 * KIB)
    pair = Pair(config, latency=0.05)
    end, other = pair.ends(client)
    pair.tick(1)
    assert end.core.keepalive.rtt is not None
    stream = end.core.open_stream()
    end.core.send_data(stream, bytes(20 * 1024 * KIB))
    pair.run()
    taken = other.opened[0]
    assert len(other.stories[stream.id].data) == 20 * 1024 * KIB
    assert taken.window == 2048 * KIB
    assert taken.recv_credit + taken.unread <= taken.window
    end.core.end_stream(stream)
    other.core.end_stream(taken)
    pair.run()
    assert other.core._window_left == config.window_budget, "what was lent came back"


@roles
def test_grown_windows_share_a_budget(client: bool) -> None:
    pair = Pair(Config(window_budget=512 * KIB), latency=0.05)
    end, other = pair.ends(client)
    pair.tick(1)
    for _ in range(4):
        end.core.send_data(end.core.open_stream(), bytes(8 * 1024 * KIB))
    pair.run()
    grown = sum(stream.window - WINDOW for stream in other.opened)
    assert 0 < grown <= 512 * KIB
    for stream in other.opened:
        other.core.reset_stream(stream)
    assert other.core._window_left == 512 * KIB


@roles
def test_e6_an_unread_stream_stalls_only_itself(client: bool) -> None:
    pair = Pair()
    end, other = pair.ends(client)
    other.consuming = False
    stuck = end.core.open_stream()
    end.core.send_data(stuck, bytes(4 * WINDOW))
    pair.run()
    stuck_there = other.opened[0]
    other.consuming = True
    streams = [end.core.open_stream() for _ in range(20)]
    for stream in streams:
        end.core.send_data(stream, bytes(2 * WINDOW))
        end.core.end_stream(stream)
    pair.run()
    assert all(len(other.stories[stream.id].data) == 2 * WINDOW for stream in streams)
    assert all(other.stories[stream.id].fin for stream in streams)
    assert stuck_there.unread == WINDOW
    assert stuck.pending_bytes == 3 * WINDOW
    other.core.reset_stream(stuck_there)
    pair.run()
    assert end.stories[stuck.id].dropped
    assert stuck.pending_bytes == 0


def test_a_small_message_waits_for_a_few_frames_of_a_bulk_stream() -> None:
    pair = Pair()
    bulk = pair.client.core.open_stream()
    pair.run()
    pair.client.core.send_data(bulk, bytes(8 * 1024 * KIB))
    small = pair.client.core.open_stream()
    pair.client.core.send_data(small, b"x" * 100)
    sent = frames(output(pair.client.core, TURN_BYTES))
    place = next(n for n, frame in enumerate(sent) if frame.kind == DATA and frame.stream_id == small.id)
    assert place <= 3
    assert sent[place - 1].length <= 16 * KIB


@roles
def test_pongs_and_updates_overtake_queued_data(client: bool) -> None:
    lone = Lone(client=client)
    stream, reading = lone.outbound(), lone.inbound()
    lone.feed(update(stream.id, 1 << 26))
    lone.core.send_data(stream, bytes(1 << 26))
    for _ in range(20):
        output(lone.core, TURN_BYTES)
        lone.feed(ping(7), data(reading.id, bytes(WINDOW // 2)))
        lone.core.consume(reading, WINDOW // 2)
        sent = frames(output(lone.core, TURN_BYTES))
        assert [frame.kind for frame in sent[:2]] == [PING, WINDOW_UPDATE]
        assert sum(frame.length for frame in sent if frame.kind == DATA) <= TURN_BYTES + 64 * KIB


@roles
def test_fin_never_passes_data_in_a_thousand_streams(client: bool) -> None:
    rng = random.Random(60)
    pair = Pair(split=lambda: rng.randint(1, 5000))
    end, other = pair.ends(client)
    for _ in range(1000):
        stream = end.core.open_stream()
        size = rng.randint(0, 3000)
        end.core.send_data(stream, bytes(size))
        end.core.end_stream(stream)
        pair.run()
        story = other.stories[stream.id]
        assert (len(story.data), story.fin) == (size, True)
        other.core.end_stream(other.opened.pop())
    pair.run()
    assert not end.core.streams


@roles
def test_queued_data_may_be_dropped_by_a_reset(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    lone.core.send_data(stream, bytes(1000))
    lone.core.reset_stream(stream)
    lone.core.reset_stream(stream)
    assert lone.sent() == [Frame(WINDOW_UPDATE, RST, stream.id, 0)]
    with pytest.raises(StreamClosed):
        lone.core.send_data(stream, b"x")


@roles
def test_nothing_is_sent_before_the_accept(client: bool) -> None:
    lone = Lone(client=client)
    (event,) = lone.feed(syn(lone.theirs()))
    assert isinstance(event, StreamOpened)
    with pytest.raises(StreamClosed):
        lone.core.send_data(event.stream, b"x")
    with pytest.raises(StreamClosed):
        lone.core.end_stream(event.stream)
    assert lone.sent() == []


# -- time --------------------------------------------------------------------------------------------------------------


@roles
def test_an_unanswered_fin_is_reset_at_the_close_timeout(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    lone.core.end_stream(stream)
    lone.sent()
    told = []
    while not told:
        lone.clock.advance(1)
        told = lone.core.handle_timeout()
    assert 300 <= lone.clock.now - 1000 <= 310
    assert names(told) == ["StreamDropped"]
    assert lone.sent() == [Frame(WINDOW_UPDATE, RST, stream.id, 0)]
    assert not lone.core.streams


@roles
def test_the_close_timeout_spares_a_long_download_after_our_fin(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    lone.core.end_stream(stream)
    for second in range(2000):
        lone.clock.advance(1)
        if second % 100 == 0:
            lone.feed(data(stream.id, b"tick"))
            lone.core.consume(stream, 4)
        assert lone.core.handle_timeout() == []
    assert stream.state is State.LOCAL_ENDED


@roles
def test_the_close_timeout_is_not_put_off_by_data_nobody_wants(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    stream.deaf = True
    lone.core.end_stream(stream)
    told = []
    while not told:
        lone.clock.advance(1)
        lone.feed(data(stream.id, b"x"))
        told = [event for event in lone.core.handle_timeout() if isinstance(event, StreamDropped)]
    assert lone.clock.now - 1000 <= 310


@roles
def test_an_end_that_waits_for_credit_is_reset_too(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    lone.core.send_data(stream, bytes(4 * WINDOW))
    output(lone.core)
    for _ in range(100):
        lone.clock.advance(5)
        assert lone.core.handle_timeout() == [], "a stream that was not ended may wait"
    lone.core.end_stream(stream)
    lone.clock.advance(5)
    assert lone.core.handle_timeout() == []
    for _ in range(3):
        lone.feed(update(stream.id, 2000))
        output(lone.core)
        for _ in range(250):
            lone.clock.advance(1)
            assert lone.core.handle_timeout() == []
    told = []
    while not told:
        lone.clock.advance(1)
        told = lone.core.handle_timeout()
    assert names(told) == ["StreamDropped"]


def test_e17_no_stream_expires_because_the_process_was_stopped() -> None:
    lone = Lone(client=True)
    waiting = [lone.core.open_stream() for _ in range(50)]
    ending = lone.outbound()
    lone.core.end_stream(ending)
    lone.clock.advance(4000)
    assert lone.core.handle_timeout() == []
    assert len(lone.core.streams) == 51
    assert waiting[0].state is State.SYN_SENT


def test_keepalive_pings_both_ways_with_nothing_else_to_do() -> None:
    pair = Pair(Config(keepalive_interval=1))
    pair.tick(10)
    assert 8 <= len(pair.client.pongs) <= 11
    assert 8 <= len(pair.server.pongs) <= 11
    assert all(frame.kind == PING for frame in frames(bytes(pair.seen)))


@roles
def test_keepalive_ends_a_silent_session_with_its_cause(client: bool) -> None:
    lone = Lone(client=client, config=Config(keepalive_interval=30, keepalive_timeout=10))
    stream = lone.core.open_stream()
    events: list[object] = []
    while not events:
        deadline = lone.core.next_timeout()
        assert deadline is not None
        lone.clock.now = max(lone.clock.now, deadline)
        events += lone.core.handle_timeout()
    end = events[-1]
    assert isinstance(end, SessionEnded)
    assert isinstance(end.error, KeepaliveTimeout)
    assert end.lost == [stream]
    assert lone.clock.now - 1000 == pytest.approx(10)
    assert lone.sent()[-1].kind != GO_AWAY, "a dead peer is told nothing"


@roles
def test_a_death_by_keepalive_is_the_last_event(client: bool) -> None:
    config = Config(keepalive_interval=1, keepalive_timeout=0.2, stream_open_timeout=0.2)
    lone = Lone(client=client, config=config)
    lone.core.handle_timeout()
    lone.core.open_stream()
    lone.clock.advance(0.2)
    assert names(lone.core.handle_timeout()) == ["SessionEnded"]


@roles
def test_reading_goes_on_while_nothing_can_be_written(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    for n in range(500):
        assert received(lone.feed(ping(n), data(stream.id, b"x" * 100))) == b"x" * 100
        lone.core.consume(stream, 100)
    assert len([frame for frame in lone.sent() if frame.kind == PING]) == 500
    mine = lone.core.ping()
    assert names(lone.feed(pong(mine))) == ["PingAnswered"]


def test_e18_a_go_away_while_streams_are_open() -> None:
    pair = Pair()
    old = [pair.client.core.open_stream() for _ in range(5)]
    pair.run()
    pair.server.core.go_away()
    pair.run()
    assert pair.client.drained
    with pytest.raises(RemoteGoAway):
        pair.client.core.open_stream()
    for stream, there in zip(old, pair.server.opened, strict=True):
        pair.client.core.send_data(stream, bytes(2 * WINDOW))
        pair.client.core.end_stream(stream)
        pair.server.core.end_stream(there)
    pair.run()
    assert all(len(pair.server.stories[stream.id].data) == 2 * WINDOW for stream in old)
    assert all(pair.client.stories[stream.id].fin for stream in old)
    assert pair.client.failure is pair.server.failure is None
    assert not pair.client.core.streams


# -- random scripts ----------------------------------------------------------------------------------------------------

STEP = st.tuples(
    st.sampled_from(["open", "write", "write", "write", "end", "reset", "ping", "turn", "stop", "go"]),
    st.booleans(),
    st.integers(0, 7),
    st.integers(0, 40_000),
)


def play(steps: list[tuple[str, bool, int, int]], split: Callable[[], int] | None, *, fold: bool) -> object:
    """Play a script on two cores; what both were told in the end."""
    pair = Pair(split=split)
    if fold:
        pair.client.core.fold()
        pair.server.core.fold()
    mine: dict[bool, list[CoreStream]] = {True: [], False: []}
    wanted: dict[tuple[bool, int], bytearray] = {}
    cut: set[int] = set()
    for what, client, index, size in steps:
        end, _ = pair.ends(client)
        known = mine[client] + end.opened
        stream = known[index % len(known)] if known else None
        if what == "open" and end.core.can_open:
            mine[client].append(end.core.open_stream())
        elif what == "ping":
            end.core.ping()
            pair.run()
        elif what == "turn":
            pair.run()
        elif what in ("stop", "go"):
            end.consuming = what == "go"
            if end.consuming:
                for one in known:
                    end.core.consume(one, one.unread)
        elif stream is None or stream.state in OVER:
            continue
        elif what == "write" and stream.state in (State.SYN_SENT, State.ESTABLISHED, State.REMOTE_ENDED):
            if not stream.ending:
                body = random.Random(size).randbytes(size)
                end.core.send_data(stream, body)
                wanted.setdefault((client, stream.id), bytearray()).extend(body)
        elif what == "end":
            end.core.end_stream(stream)
        elif what == "reset":
            end.core.reset_stream(stream)
            cut.add(stream.id)
        for side in (pair.client, pair.server):
            assert all(one.unread + one.recv_credit <= one.window for one in side.core.streams.values())
            assert all(0 <= one.send_credit <= 0xFFFF_FFFF for one in side.core.streams.values())
    pair.run()
    for client in (True, False):
        end, _ = pair.ends(client)
        end.consuming = True
        for one in mine[client] + end.opened:
            if one.unread:
                end.core.consume(one, one.unread)
        end.core.send_acks()
    pair.run()
    for end in (pair.client, pair.server):
        end.core.send_acks()
    pair.run()
    assert pair.client.failure is pair.server.failure is None
    for (client, stream_id), body in wanted.items():
        got = pair.ends(client)[1].story(stream_id).data
        assert body.startswith(got)
        assert len(got) == len(body) or stream_id in cut
    told = {}
    for client in (True, False):
        end, _ = pair.ends(client)
        for stream_id, story in end.stories.items():
            if stream_id not in cut:
                told[client, stream_id] = (bytes(story.data), story.fin, story.dropped)
        states = {stream.id: stream.state for stream in end.core.streams.values()}
        told[client, 0] = (states, end.core.unacked, end.core.unaccepted)  # type: ignore[assignment]
        assert not end.core.unacked
        assert not end.core.unaccepted
    assert set(pair.client.core.streams) == set(pair.server.core.streams)
    return told


@settings(max_examples=150)
@given(
    st.lists(STEP, min_size=5, max_size=80), st.integers(0, 1000), st.sampled_from([1, 13, 1000, 70_000]), st.booleans()
)
def test_random_scripts_end_alike_however_the_bytes_are_cut(
    steps: list[tuple[str, bool, int, int]], seed: int, most: int, fold: bool
) -> None:
    rng = random.Random(seed)
    light = [(what, client, index, size % 2000 if most < 1000 else size) for what, client, index, size in steps]
    assert play(light, lambda: rng.randint(1, most), fold=fold) == play(light, None, fold=fold)


# -- anything at all ---------------------------------------------------------------------------------------------------

ID = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 101, 0xFFFF_FFFD, 0xFFFF_FFFF])
FLAGS = st.sampled_from([0, 0, 0, SYN, ACK, FIN, RST, SYN | FIN, SYN | RST, ACK | FIN, ACK | RST, 0x10, 0xFFFF])
LENGTH = st.sampled_from([0, 0, 1, 5, 1000, WINDOW, WINDOW + 1, 0xFFFF_FFFF - WINDOW, 0xFFFF_FFFF])


class Anything(RuleBasedStateMachine):
    """One core, every command, and a peer that sends whatever it likes. Only documented errors, and bounds that hold."""

    @initialize(client=st.booleans(), reuse=st.booleans(), fold=st.booleans())
    def begin(self, client: bool, reuse: bool, fold: bool) -> None:
        self.clock = Clock()
        self.config = Config(
            accept_backlog=4, max_unacked=3, max_inbound_streams=6, drain_budget=WINDOW, reuse_ids=reuse,
            idle_frames_per_second=40, reset_burst=20,
        )  # fmt: skip
        self.core = Connection(client=client, config=self.config, clock=self.clock)
        if fold:
            self.core.fold()
        self.known: list[CoreStream] = []
        self.over = False
        self.held: dict[int, int] = {}

    def take(self, events: list[object]) -> None:
        for event in events:
            assert not self.over, "an event after the last"
            if isinstance(event, StreamOpened):
                self.known.append(event.stream)
            elif isinstance(event, DataReceived):
                self.held[id(event.stream)] = self.held.get(id(event.stream), 0) + len(event.data)
            elif isinstance(event, SessionEnded):
                self.over = True
                assert isinstance(event.error, YamuxError)

    def pick(self, index: int) -> CoreStream | None:
        return self.known[index % len(self.known)] if self.known else None

    @rule(kind=st.sampled_from([0, 0, 1, 1, 2, 3]), flags=FLAGS, stream_id=ID, length=LENGTH, body=st.integers(0, 5000))
    def frame(self, kind: int, flags: int, stream_id: int, length: int, body: int) -> None:
        if kind == GO_AWAY and length:
            length = 0
        raw = pack(kind, flags, stream_id, length)
        if kind == DATA:
            raw += bytes(min(length, body))
        self.take(self.core.receive_data(raw))

    @rule(stream_id=ID, size=st.integers(0, 5000), flags=FLAGS)
    def whole_data(self, stream_id: int, size: int, flags: int) -> None:
        self.take(self.core.receive_data(data(stream_id, bytes(size), flags)))

    @rule(index=st.integers(0, 9), what=st.sampled_from([ack, fin, rst, syn]))
    def on_known(self, index: int, what: Callable[[int], bytes]) -> None:
        stream = self.pick(index)
        if stream is not None:
            self.take(self.core.receive_data(what(stream.id)))

    @rule(raw=st.binary(max_size=40))
    def noise(self, raw: bytes) -> None:
        self.take(self.core.receive_data(raw))

    @rule(count=st.integers(1, 300), make=st.sampled_from([ping, pong, go_away]))
    def many(self, count: int, make: Callable[[int], bytes]) -> None:
        self.take(self.core.receive_data(make(0) * count))

    @rule()
    def open(self) -> None:
        can = self.core.can_open
        try:
            self.known.append(self.core.open_stream())
            assert can
        except (SessionClosed, StreamLimit):
            assert not can

    @rule(index=st.integers(0, 9))
    def accept(self, index: int) -> None:
        stream = self.pick(index)
        if stream is not None:
            self.core.accept(stream)

    @rule(index=st.integers(0, 9), size=st.integers(0, 100_000))
    def send(self, index: int, size: int) -> None:
        stream = self.pick(index)
        if stream is not None:
            try:
                self.core.send_data(stream, bytes(size))
            except StreamClosed:
                pass

    @rule(index=st.integers(0, 9))
    def end(self, index: int) -> None:
        stream = self.pick(index)
        if stream is not None:
            try:
                self.core.end_stream(stream)
            except StreamClosed:
                pass

    @rule(index=st.integers(0, 9))
    def reset(self, index: int) -> None:
        stream = self.pick(index)
        if stream is not None:
            self.core.reset_stream(stream)

    @rule(index=st.integers(0, 9))
    def consume(self, index: int) -> None:
        stream = self.pick(index)
        if stream is not None:
            self.core.consume(stream, self.held.pop(id(stream), 0))

    @rule()
    def ping(self) -> None:
        try:
            self.core.ping()
        except YamuxError:
            pass

    @rule(seconds=st.sampled_from([0.01, 1, 30, 400]))
    def time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.take(self.core.handle_timeout())

    @rule(limit=st.sampled_from([1, 1000, 1 << 30]))
    def write(self, limit: int) -> None:
        frames(output(self.core, limit))

    @rule()
    def flag(self) -> None:
        self.core.report_answers = True

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "core"):
            return
        core = self.core
        if core.error is None:
            assert core.inbound == sum(not stream.local for stream in core.streams.values())
            assert core.unaccepted == sum(stream.state.name.startswith("SYN_REC") for stream in core.streams.values())
            assert core.unacked == sum(stream.state.name.startswith("SYN_SENT") for stream in core.streams.values())
        assert core.inbound <= self.config.max_inbound_streams
        assert 0 <= core.unaccepted <= self.config.accept_backlog
        assert 0 <= core.unacked <= self.config.max_unacked
        assert len(core.outbox.control) <= MAX_CONTROL_FRAMES + 1000
        assert len(core._partial) < 12
        assert len(core._ids._gaps) <= REMEMBERED_GAPS
        assert 0 <= core._window_left <= self.config.window_budget
        for stream in core.streams.values():
            assert stream.state not in OVER
            assert stream.recv_credit >= 0
            assert stream.recv_credit + stream.unread <= stream.window
            assert 0 <= stream.send_credit <= 0xFFFF_FFFF
            assert stream.pending_bytes == sum(map(len, stream.pending))
        assert (core.error is not None) == self.over
        if core.error is not None:
            assert not core.streams


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_late_frames_are_allowed_for_every_stream_that_was(client: bool = True) -> None:
    lone = Lone(client=client, config=Config(idle_frames_per_second=1, keepalive_interval=0))
    for index in range(50):
        stream = lone.inbound(index)
        lone.core.reset_stream(stream)
        for _ in range(LATE_FRAMES_PER_STREAM):
            lone.feed(update(stream.id, 5000))
        lone.sent()
    assert lone.core.error is None
