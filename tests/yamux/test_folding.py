"""SYN, ACK and FIN on data frames, for peers that are known to take them."""

from __future__ import annotations

import asyncio

import pytest
from tests.yamux.wire import QUIET, WINDOW, Frame, Lone, Pair, data, names, sessions, syn, until, update

from yamux import Config, StreamClosed, StreamReset
from yamux.frames import ACK, DATA, FIN, GO_AWAY, RST, SYN, WINDOW_UPDATE
from yamux.shell import ACKS_OWED
from yamux.streamstate import State
from yamux.testing import Recorder

roles = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


def folding(client: bool, config: Config = QUIET) -> Lone:
    lone = Lone(client=client, config=config)
    lone.core.fold()
    return lone


@roles
def test_a_request_and_its_end_are_one_frame(client: bool) -> None:
    lone = folding(client)
    stream = lone.core.open_stream(b"question", end=True)
    assert lone.core.has_output
    assert lone.sent() == [Frame(DATA, SYN | FIN, stream.id, 8, b"question")]
    assert stream.state is State.SYN_SENT_ENDED
    assert names(lone.feed(data(stream.id, b"answer", ACK | FIN))) == ["DataReceived", "StreamEnded"]
    assert stream.state is State.CLOSED
    assert lone.core.unacked == 0
    assert not lone.core.streams


@roles
def test_an_answer_and_its_end_are_one_frame(client: bool) -> None:
    lone = folding(client)
    opened, received = lone.feed(data(lone.theirs(), b"question", SYN | FIN))
    assert names([opened, received]) == ["StreamOpened", "DataReceived", "StreamEnded"]
    stream = opened.stream
    lone.core.accept(stream)
    assert not lone.core.has_output, "the ACK waits for company"
    lone.core.send_data(stream, b"ans")
    lone.core.send_data(stream, b"wer")
    lone.core.end_stream(stream)
    assert lone.sent() == [Frame(DATA, ACK | FIN, stream.id, 6, b"answer")]
    assert not lone.core.streams
    lone.core.send_acks()
    assert not lone.core.has_output, "it has been said"


@roles
def test_a_whole_answer_at_once_is_the_same_frame(client: bool) -> None:
    lone = folding(client)
    opened, _ = lone.feed(data(lone.theirs(), b"question", SYN | FIN))
    lone.core.accept(opened.stream)
    lone.core.send_last(opened.stream, b"answer")
    with pytest.raises(StreamClosed):
        lone.core.send_last(opened.stream, b"more")
    assert lone.sent() == [Frame(DATA, ACK | FIN, opened.stream.id, 6, b"answer")]
    assert not lone.core.streams


@roles
def test_a_whole_answer_at_once_waits_behind_what_is_queued_and_for_credit(client: bool) -> None:
    lone = folding(client)
    opened, _ = lone.feed(data(lone.theirs(), b"question", SYN | FIN))
    stream = opened.stream
    lone.core.accept(stream)
    lone.core.send_data(stream, bytes(WINDOW))
    lone.core.send_last(stream, b"end")
    assert sum(frame.length for frame in lone.sent() if frame.kind == DATA) == WINDOW
    lone.feed(update(stream.id, WINDOW))
    assert lone.sent() == [Frame(DATA, FIN, stream.id, 3, b"end")]


@roles
def test_without_it_the_same_commands_make_frames_of_their_own(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.core.open_stream(b"question", end=True)
    assert lone.sent() == [
        Frame(WINDOW_UPDATE, SYN, stream.id, 0),
        Frame(DATA, 0, stream.id, 8, b"question"),
        Frame(WINDOW_UPDATE, FIN, stream.id, 0),
    ]


@roles
def test_a_stream_opened_without_data_says_its_syn_alone(client: bool) -> None:
    lone = folding(client)
    stream = lone.core.open_stream()
    ended = lone.core.open_stream(end=True)
    assert lone.sent() == [
        Frame(WINDOW_UPDATE, SYN | FIN, ended.id, 0),
        Frame(WINDOW_UPDATE, SYN, stream.id, 0),
    ]
    lone.core.send_data(stream, b"x")
    assert lone.sent() == [Frame(DATA, 0, stream.id, 1, b"x")]


@roles
def test_a_larger_window_needs_a_syn_of_its_own(client: bool) -> None:
    lone = folding(client, Config(keepalive_interval=0, stream_window=2 * WINDOW))
    stream = lone.core.open_stream(b"x")
    assert lone.sent() == [Frame(WINDOW_UPDATE, SYN, stream.id, WINDOW), Frame(DATA, 0, stream.id, 1, b"x")]


@roles
def test_acks_without_data_leave_when_told(client: bool) -> None:
    lone = folding(client)
    streams = []
    for index in range(3):
        (event,) = lone.feed(syn(lone.theirs(index)))
        lone.core.accept(event.stream)
        streams.append(event.stream)
    lone.core.end_stream(streams[1])
    lone.core.send_acks()
    ids = [stream.id for stream in streams]
    assert lone.sent() == [
        Frame(WINDOW_UPDATE, ACK | FIN, ids[1], 0),
        Frame(WINDOW_UPDATE, ACK, ids[0], 0),
        Frame(WINDOW_UPDATE, ACK, ids[2], 0),
    ]
    assert not lone.core.owed_acks


@roles
def test_credit_carries_an_ack_too(client: bool) -> None:
    lone = folding(client)
    opened, received = lone.feed(data(lone.theirs(), bytes(WINDOW), SYN))
    lone.core.accept(opened.stream)
    lone.core.consume(opened.stream, len(received.data))
    assert lone.sent() == [Frame(WINDOW_UPDATE, ACK, opened.stream.id, WINDOW)]


@roles
def test_a_reset_after_the_accept_is_no_refusal(client: bool) -> None:
    """Whoever opened it takes a stream reset without an ACK for one that nobody has touched, and asks again."""
    lone = folding(client)
    opened, *_ = lone.feed(data(lone.theirs(), b"x", SYN))
    lone.core.accept(opened.stream)
    lone.core.reset_stream(opened.stream)
    assert [frame.flags for frame in lone.sent()] == [ACK, RST]


@roles
def test_a_stream_reset_before_its_syn_left_is_never_heard_of(client: bool) -> None:
    lone = folding(client)
    lone.core.reset_stream(lone.core.open_stream(b"x"))
    lone.core.reset_stream(lone.core.open_stream())
    assert lone.sent() == []
    assert lone.core.unacked == 0
    pair = Pair()
    for end in (pair.client, pair.server):
        end.core.fold()
    pair.client.core.reset_stream(pair.client.core.open_stream(b"x"))
    kept = pair.client.core.open_stream(b"y", end=True)
    pair.run()
    assert pair.server.story(kept.id).data == b"y"
    assert pair.server.failure is None


@roles
def test_a_syn_with_data_may_be_refused(client: bool) -> None:
    lone = folding(client)
    lone.core.go_away()
    lone.sent()
    assert lone.feed(data(lone.theirs(), b"x", SYN | FIN), syn(lone.theirs(1))) == []
    assert [(frame.flags, frame.stream_id) for frame in lone.sent()] == [(RST, lone.theirs()), (RST, lone.theirs(1))]
    assert lone.core.frames_in == 2


@roles
def test_what_is_accepted_is_acknowledged_before_a_go_away(client: bool) -> None:
    lone = folding(client)
    lone.feed(data(lone.theirs(), b"x", SYN))
    lone.core.accept(lone.core.streams[lone.theirs()])
    lone.core.go_away()
    assert [(frame.kind, frame.flags, frame.stream_id) for frame in lone.sent()] == [
        (WINDOW_UPDATE, ACK, lone.theirs()),
        (GO_AWAY, 0, 0),
    ]
    assert not lone.core.owed_acks


def test_a_long_body_has_its_flags_on_the_first_and_the_last_frame() -> None:
    pair = Pair()
    for end in (pair.client, pair.server):
        end.core.fold()
    body = bytes(range(256)) * 4 * 1024
    stream = pair.client.core.open_stream(body, end=True)
    pair.run()
    story = pair.server.story(stream.id)
    assert (story.data, story.fin) == (body, True)
    pair.server.core.end_stream(pair.server.opened[0])
    pair.run()
    assert not pair.client.core.streams
    assert not pair.server.core.streams


@roles
def test_only_streams_nobody_listens_to_have_a_close_timeout(client: bool) -> None:
    lone = folding(client)
    patient, done = lone.outbound(), lone.outbound()
    for stream in (patient, done):
        lone.core.end_stream(stream)
    done.deaf = True
    told = []
    for _ in range(400):
        lone.clock.advance(1)
        told += names(lone.core.handle_timeout())
    assert told == ["StreamDropped"]
    assert list(lone.core.streams.values()) == [patient]


# -- on asyncio --------------------------------------------------------------------------------------------------------


async def test_a_session_answers_in_time_though_no_data_comes() -> None:
    server = Recorder()
    async with sessions(server_factory=lambda: server) as both:
        both.client.fold()
        both.server.fold()
        stream = both.client.open_stream(Recorder(), b"hello", end=True)
        await asyncio.wait_for(both.client.answered(stream), 30)
        assert bytes(server.data) == b"hello"


async def test_many_unanswered_streams_are_answered_at_once() -> None:
    async with sessions(server_factory=Recorder) as both:
        both.client.fold()
        both.server.fold()
        both.server._acking = True  # no timer: only their number can set the ACKs free
        streams = [both.client.open_stream(Recorder(), b"x") for _ in range(ACKS_OWED)]
        await until(lambda: all(stream.answered for stream in streams))
        both.server._acking = False


async def test_accepted_streams_are_answered_too() -> None:
    async with sessions() as both:
        both.client.fold()
        both.server.fold()
        opened = both.client.open_stream(Recorder(), b"hello")
        stream = await both.server.accept()
        assert await stream.read(5) == b"hello"
        await asyncio.wait_for(both.client.answered(opened), 30)


async def test_both_ends_are_told_and_nothing_is_left() -> None:
    class Echo(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            self.transport.write(bytes(self.data))
            self.transport.close()
            return True

    async with sessions(server_factory=Echo) as both:
        both.client.fold()
        both.server.fold()
        mine = Recorder()
        both.client.open_stream(mine, b"hello", end=True)
        await until(lambda: mine.closed)
        assert (bytes(mine.data), mine.error) == (b"hello", None)
        await until(lambda: not both.server.num_streams)


async def test_an_eof_told_before_our_own_fin_left_still_ends_the_stream() -> None:
    async with sessions(server_factory=Recorder) as both:
        mine = Recorder(keep_open=True)
        stream = both.client.open_stream(mine)
        await asyncio.wait_for(both.client.answered(stream), 30)
        both.client.pause_writing()
        stream.write(b"x")
        stream.write_eof()
        for other in list(both.server.core.streams.values()):
            other.owner.close()
        await until(lambda: mine.eof)
        assert not mine.closed
        both.client.resume_writing()
        await until(lambda: mine.closed)


async def test_a_reset_reaches_a_stream_that_has_said_its_end() -> None:
    server = Recorder(keep_open=True)
    async with sessions(server_factory=lambda: server) as both:
        both.client.fold()
        both.server.fold()
        stream = both.client.open_stream(Recorder(), b"hello", end=True)
        await until(lambda: bool(server.data))
        stream.abort()
        await until(lambda: server.closed)
        assert isinstance(server.error, StreamReset)
