"""What comes in, in both roles, against frames made by hand."""

from __future__ import annotations

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
    names,
    ping,
    pong,
    received,
    rst,
    syn,
    update,
)

from yamux import Config, ProtocolError, RemoteGoAway, SessionClosed, WindowExceeded
from yamux.events import DataReceived, PingAnswered, StreamDropped, StreamOpened
from yamux.frames import ACK, DATA, FIN, GO_AWAY, HEADER_SIZE, PING, RST, SYN, WINDOW_UPDATE, pack
from yamux.streamstate import State

pytestmark = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
MAX = 0xFFFF_FFFF


def protocol_error(lone: Lone, *raw: bytes, kind: type[ProtocolError] = ProtocolError) -> None:
    """Feed ``raw``: the session ends with GoAway(1), last on the wire, and an empty table."""
    error = ended(lone.feed(*raw)).error
    assert isinstance(error, kind)
    assert error.code == 1
    assert lone.sent()[-1] == Frame(GO_AWAY, 0, 0, 1)
    assert not lone.core.streams
    assert lone.feed(syn(lone.theirs(40))) == [], "nothing is read after the end"
    assert lone.core.next_timeout() is None


# -- 28, 29, 31: opening and accepting ---------------------------------------------------------------------------------


def test_the_opener_sends_one_syn_with_its_window(client: bool) -> None:
    lone = Lone(client=client, config=Config(stream_window=512 * 1024, keepalive_interval=0))
    stream = lone.core.open_stream()
    lone.core.send_data(stream, b"early")
    assert lone.sent() == [
        Frame(WINDOW_UPDATE, SYN, lone.mine(), WINDOW),
        Frame(DATA, 0, lone.mine(), 5, b"early"),
    ]
    lone.feed(ack(stream.id))
    lone.core.send_data(stream, b"late")
    lone.core.end_stream(stream)
    assert not any(frame.flags & SYN for frame in lone.sent())


def test_the_acceptor_sends_one_ack_first(client: bool) -> None:
    lone = Lone(client=client)
    (event,) = lone.feed(syn(lone.theirs()))
    assert isinstance(event, StreamOpened)
    assert lone.sent() == [], "the accept is the acknowledgement"
    lone.core.accept(event.stream)
    lone.core.accept(event.stream)
    lone.core.send_data(event.stream, b"x")
    assert lone.sent() == [Frame(WINDOW_UPDATE, ACK, lone.theirs(), 0), Frame(DATA, 0, lone.theirs(), 1, b"x")]


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        (lambda n: ack(n), State.ESTABLISHED, []),
        (lambda n: ack(n, 1 << 20), State.ESTABLISHED, []),
        (lambda n: data(n, b"", ACK), State.ESTABLISHED, []),
        (lambda n: data(n, b"x", ACK), State.ESTABLISHED, ["DataReceived"]),
        (lambda n: fin(n), State.REMOTE_ENDED, ["StreamEnded"]),
        (lambda n: update(n, 0, ACK | FIN), State.REMOTE_ENDED, ["StreamEnded"]),
        (lambda n: data(n, b"x", ACK | FIN), State.REMOTE_ENDED, ["DataReceived", "StreamEnded"]),
        (lambda n: rst(n), State.RESET, ["StreamDropped"]),
        (lambda n: update(n, 0, ACK | RST), State.RESET, ["StreamDropped"]),
        (lambda n: data(n, b"", RST), State.RESET, ["StreamDropped"]),
    ],
    ids=[
        "ack",
        "ack+credit",
        "data-ack",
        "data-ack-body",
        "fin",
        "ack-fin",
        "data-ack-fin",
        "rst",
        "ack-rst",
        "data-rst",
    ],
)
def test_every_answer_resolves_the_open(client: bool, answer, state: State, told: list[str]) -> None:
    lone = Lone(client=client, config=Config(max_unacked=1, keepalive_interval=0))
    stream = lone.core.open_stream()
    lone.core.report_answers = True
    lone.sent()
    assert not lone.core.can_open
    assert names(lone.feed(answer(stream.id))) == ["StreamAnswered", *told]
    assert stream.state is state
    assert lone.core.can_open
    assert lone.core.unacked == 0


def test_a_second_ack_frees_no_second_place(client: bool) -> None:
    lone = Lone(client=client)
    first = lone.core.open_stream()
    lone.core.open_stream()
    lone.feed(ack(first.id), ack(first.id), data(first.id, b"x", ACK))
    assert lone.core.unacked == 1
    inbound = lone.inbound()
    lone.feed(ack(inbound.id))
    assert lone.core.unacked == 1


def test_data_without_ack_is_delivered_and_answers_nothing(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.core.open_stream()
    assert received(lone.feed(data(stream.id, b"eager"))) == b"eager"
    assert lone.core.unacked == 1
    lone.feed(ack(stream.id))
    assert stream.state is State.ESTABLISHED


def test_both_ends_may_end_before_the_ack(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.core.open_stream()
    lone.core.end_stream(stream)
    lone.sent()
    assert stream.state is State.SYN_SENT_ENDED
    assert names(lone.feed(fin(stream.id))) == ["StreamEnded"]
    assert stream.state is State.CLOSED
    assert not lone.core.streams
    assert lone.core.unacked == 0


# -- 30, 32, 33: what a SYN may carry ----------------------------------------------------------------------------------


def test_syn_on_data_with_a_body(client: bool) -> None:
    lone = Lone(client=client)
    events = lone.feed(data(lone.theirs(), b"hello", SYN))
    assert names(events) == ["StreamOpened", "DataReceived"]
    assert received(events) == b"hello"


def test_syn_and_fin_with_a_body(client: bool) -> None:
    lone = Lone(client=client)
    events = lone.feed(data(lone.theirs(), b"hello", SYN | FIN))
    assert names(events) == ["StreamOpened", "DataReceived", "StreamEnded"]
    (stream,) = lone.core.streams.values()
    assert stream.state is State.SYN_RECEIVED_ENDED
    lone.core.accept(stream)
    assert stream.state is State.REMOTE_ENDED
    assert lone.sent() == [Frame(WINDOW_UPDATE, ACK, stream.id, 0)], "the ACK goes out even after the peer's FIN"
    lone.core.end_stream(stream)
    assert not lone.core.streams


def test_syn_and_fin_bare(client: bool) -> None:
    assert names(Lone(client=client).feed(syn(2 if client else 1, 0, FIN))) == ["StreamOpened", "StreamEnded"]


@pytest.mark.parametrize(
    "frame", [lambda n: syn(n, 0, RST), lambda n: data(n, b"abc", SYN | RST)], ids=["wupd", "data"]
)
def test_syn_and_rst(client: bool, frame) -> None:
    lone = Lone(client=client)
    assert names(lone.feed(frame(lone.theirs()), syn(lone.theirs(1)))) == [
        "StreamOpened",
        "StreamDropped",
        "StreamOpened",
    ]
    assert list(lone.core.streams) == [lone.theirs(1)]
    assert lone.core.unaccepted == lone.core.inbound == 1


def test_a_syn_with_a_full_window_passes(client: bool) -> None:
    lone = Lone(client=client)
    assert received(lone.feed(data(lone.theirs(), bytes(WINDOW), SYN))) == bytes(WINDOW)


def test_a_syn_with_more_than_a_window_ends_the_session(client: bool) -> None:
    protocol_error(Lone(client=client), data(2 if client else 1, bytes(WINDOW + 1), SYN), kind=WindowExceeded)
    wide = Lone(client=client, config=Config(stream_window=1 << 20, keepalive_interval=0))
    protocol_error(wide, data(wide.theirs(), bytes(WINDOW + 1), SYN), kind=WindowExceeded)


def test_more_than_the_initial_window_needs_the_ack_first(client: bool) -> None:
    lone = Lone(client=client, config=Config(stream_window=512 * 1024, keepalive_interval=0))
    (event,) = lone.feed(syn(lone.theirs()))
    assert isinstance(event, StreamOpened)
    lone.feed(data(lone.theirs(), bytes(WINDOW)))
    lone.core.accept(event.stream)
    assert lone.sent() == [Frame(WINDOW_UPDATE, ACK, lone.theirs(), WINDOW)]
    assert len(received(lone.feed(data(lone.theirs(), bytes(WINDOW))))) == WINDOW
    protocol_error(lone, data(lone.theirs(), b"x"), kind=WindowExceeded)


def test_what_was_consumed_before_the_accept_is_credited_once(client: bool) -> None:
    lone = Lone(client=client, config=Config(stream_window=512 * 1024, keepalive_interval=0))
    opened, *_ = lone.feed(data(lone.theirs(), bytes(1000), SYN))
    assert isinstance(opened, StreamOpened)
    lone.core.consume(opened.stream, 1000)
    lone.core.accept(opened.stream)
    assert sum(frame.length for frame in lone.sent()) <= WINDOW + 1000
    assert opened.stream.recv_credit + opened.stream.unread <= 512 * 1024


# -- 34, 35: ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [syn, lambda n: data(n, b"body", SYN)], ids=["wupd", "data"])
def test_e3_wrong_parity_and_id_0(client: bool, form) -> None:
    for wrong in (0, 1 if client else 2, 77 if client else 78):
        protocol_error(Lone(client=client), form(wrong))


def test_e3_duplicate_syn_on_a_live_id(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    protocol_error(lone, syn(stream.id))


def test_e3_a_syn_on_an_id_of_ours_that_is_open(client: bool) -> None:
    lone = Lone(client=client)
    protocol_error(lone, syn(lone.outbound().id))


@pytest.mark.parametrize("end", ["fin", "rst", "reset here", "refused"])
def test_e3_a_used_id_comes_back(client: bool, end: str) -> None:
    for reuse in (False, True):
        lone = Lone(client=client, config=Config(reuse_ids=reuse, keepalive_interval=0))
        if end == "refused":
            lone.core.go_away()
            lone.feed(syn(lone.theirs()))
            lone.core.local_go_away = False
        else:
            stream = lone.inbound()
            if end == "fin":
                lone.feed(fin(stream.id))
                lone.core.end_stream(stream)
            elif end == "rst":
                lone.feed(rst(stream.id))
            else:
                lone.core.reset_stream(stream)
        lone.sent()
        assert not lone.core.streams
        if reuse:
            assert names(lone.feed(syn(lone.theirs()))) == ["StreamOpened"]
        else:
            protocol_error(lone, syn(lone.theirs()))


def test_ids_may_come_out_of_order(client: bool) -> None:
    lone = Lone(client=client)
    order = [4, 1, 3, 0, 2]
    assert names(lone.feed(*(syn(lone.theirs(n)) for n in order))) == ["StreamOpened"] * 5
    assert sorted(lone.core.streams) == [lone.theirs(n) for n in range(5)]


# -- 36, 37: unknown ids -----------------------------------------------------------------------------------------------


def strays(stream_id: int) -> list[bytes]:
    return [
        data(stream_id, b"stray"),
        data(stream_id),
        update(stream_id, 1000),
        ack(stream_id),
        fin(stream_id),
        rst(stream_id, 7),
        data(stream_id, b"stray", FIN),
        data(stream_id, b"stray", RST),
    ]


def test_e2_frames_on_unknown_ids_are_ignored(client: bool) -> None:
    lone = Lone(client=client)
    for unknown in (0, lone.theirs(7), lone.mine(7), MAX):
        assert lone.feed(*strays(unknown)) == []
    assert lone.sent() == [], "and never answered"
    assert names(lone.feed(syn(lone.theirs()))) == ["StreamOpened"], "the framing holds"


@pytest.mark.parametrize("end", ["fin", "rst", "reset here"])
@pytest.mark.parametrize("ours", [True, False], ids=["outbound", "inbound"])
def test_e2_frames_on_just_closed_ids_are_ignored(client: bool, end: str, ours: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound() if ours else lone.inbound()
    if end == "fin":
        lone.core.end_stream(stream)
        lone.feed(fin(stream.id))
    elif end == "rst":
        lone.feed(rst(stream.id))
    else:
        lone.core.reset_stream(stream)
    assert not lone.core.streams
    lone.sent()
    assert lone.feed(*strays(stream.id)) == []
    assert lone.sent() == []


def test_e2_a_body_on_its_way_when_we_reset_is_skipped_to_the_byte(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    raw = data(stream.id, bytes(1000))
    assert len(received(lone.feed(raw[:500]))) == 500 - HEADER_SIZE
    lone.core.reset_stream(stream)
    events = lone.feed(raw[500:], ping(9))
    assert events == []
    assert [frame.kind for frame in lone.sent()] == [WINDOW_UPDATE, PING]


def test_e2_the_fin_of_a_body_on_its_way_when_we_reset_is_skipped_too(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    raw = data(stream.id, bytes(1000), FIN)
    lone.feed(raw[:500])
    lone.core.reset_stream(stream)
    assert lone.feed(raw[500:]) == []
    assert stream.state is State.RESET


def test_a_mebibyte_on_an_unknown_id_is_drained_without_a_buffer(client: bool) -> None:
    lone = Lone(client=client)
    lone.feed(pack(DATA, 0, lone.theirs(9), 1 << 20))
    for _ in range(1024):
        assert lone.feed(bytes(1024)) == []
        assert len(lone.core._partial) == 0
    assert lone.feed(ping(1)) == []
    assert [frame.kind for frame in lone.sent()] == [PING]


def test_more_than_the_drain_budget_ends_the_session(client: bool) -> None:
    lone = Lone(client=client, config=Config(drain_budget=1 << 20, keepalive_interval=0))
    assert lone.feed(pack(DATA, 0, lone.theirs(9), 1 << 20), bytes(1 << 20)) == []
    protocol_error(lone, pack(DATA, 0, lone.theirs(9), 1))


def test_what_was_still_allowed_on_a_stream_we_dropped_is_no_fault(client: bool) -> None:
    lone = Lone(client=client, config=Config(drain_budget=0, keepalive_interval=0))
    for index in range(3):
        stream = lone.inbound(index)
        lone.core.reset_stream(stream)
        assert lone.feed(data(stream.id, bytes(WINDOW))) == []
    protocol_error(lone, data(lone.theirs(0), b"x"))


def test_a_reset_may_not_announce_a_body_without_end(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    protocol_error(lone, pack(DATA, RST, stream.id, MAX))


# -- 38, 39: after FIN -------------------------------------------------------------------------------------------------


def test_a_second_fin_is_ignored(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    assert names(lone.feed(fin(stream.id), fin(stream.id), data(stream.id, b"", FIN))) == ["StreamEnded"]
    assert stream.state is State.REMOTE_ENDED
    lone.core.send_data(stream, b"still writable")
    assert lone.sent()[0].body == b"still writable"


@pytest.mark.parametrize("flags", [0, ACK, FIN])
def test_data_after_fin_resets_that_stream(client: bool, flags: int) -> None:
    lone = Lone(client=client)
    stream, other = lone.inbound(0), lone.inbound(1)
    events = lone.feed(fin(stream.id), data(stream.id, b"too late", flags), data(other.id, b"fine"))
    assert names(events) == ["StreamEnded", "StreamDropped", "DataReceived"]
    assert received(events) == b"fine"
    assert lone.sent() == [Frame(WINDOW_UPDATE, RST, stream.id, 0)]
    assert lone.core.error is None


# -- 40, 41, 42: windows -----------------------------------------------------------------------------------------------


def test_e2_one_byte_over_the_window_ends_the_session_after_what_came_before(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    events = lone.feed(data(stream.id, bytes(WINDOW - 1)), data(stream.id, b"ab"))
    assert len(received(events)) == WINDOW - 1
    assert isinstance(ended(events).error, WindowExceeded)
    assert lone.sent() == [Frame(GO_AWAY, 0, 0, 1)]


def test_the_whole_window_in_one_frame_is_fine(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    assert len(received(lone.feed(data(stream.id, bytes(WINDOW))))) == WINDOW
    assert stream.recv_credit == 0


@pytest.mark.parametrize("flags", [0, ACK, FIN])
def test_e3_the_send_window_ends_at_2_to_the_32_minus_1(client: bool, flags: int) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    assert lone.core.error is None
    lone.feed(update(stream.id, MAX - WINDOW, flags))
    assert stream.send_credit == MAX
    protocol_error(lone, update(stream.id, 1))


def test_e3_a_syn_with_too_much_credit(client: bool) -> None:
    lone = Lone(client=client)
    assert names(lone.feed(syn(lone.theirs(), MAX - WINDOW))) == ["StreamOpened"]
    protocol_error(Lone(client=client), syn(2 if client else 1, MAX - WINDOW + 1))


def test_an_update_of_nothing_and_one_after_both_ends(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    assert lone.feed(update(stream.id, 0)) == []
    assert stream.send_credit == WINDOW
    lone.core.end_stream(stream)
    lone.feed(fin(stream.id))
    assert lone.feed(update(stream.id, 1000)) == []
    assert lone.core.error is None


def test_the_length_of_a_reset_is_a_code_and_no_credit(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    (event,) = lone.feed(rst(stream.id, 42))
    assert isinstance(event, StreamDropped)
    assert (event.error.code, event.error.remote) == (42, True)
    assert isinstance(event.error, ConnectionResetError)
    assert stream.send_credit == WINDOW


def test_a_reset_tells_whether_the_stream_was_ever_acknowledged(client: bool) -> None:
    lone = Lone(client=client)
    refused, accepted = lone.core.open_stream(), lone.core.open_stream()
    lone.feed(update(accepted.id, 0, ACK))
    (first,) = lone.feed(rst(refused.id))
    (second,) = lone.feed(rst(accepted.id))
    assert isinstance(first, StreamDropped) and first.error.refused
    assert isinstance(second, StreamDropped) and not second.error.refused


def test_a_reset_stops_what_was_queued(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    lone.core.send_data(stream, bytes(100_000))
    lone.core.end_stream(stream)
    lone.feed(rst(stream.id))
    assert lone.sent() == []
    assert stream.pending_bytes == 0


# -- 44, 45: splits ----------------------------------------------------------------------------------------------------


def script(lone: Lone) -> bytes:
    first, second, third = (lone.theirs(n) for n in range(3))
    return b"".join([
        syn(first, 5000),
        data(first, b"some data"),
        data(second, b"early", SYN),
        ping(77),
        data(first),
        update(first, 9),
        data(second, b"last", FIN),
        syn(third),
        data(lone.theirs(9), b"nobody's"),
        rst(third, 3),
        go_away(0),
        data(first, bytes(300)),
        fin(first),
    ])  # fmt: skip


def outcome(lone: Lone, pieces: list[bytes]) -> object:
    """What is seen of the session, without regard to the pieces bodies come in."""
    told: list[object] = []
    bodies: dict[int, bytes] = {}
    for piece in pieces:
        for event in lone.core.receive_data(piece):
            if isinstance(event, DataReceived):
                bodies[event.stream.id] = bodies.get(event.stream.id, b"") + bytes(event.data)
                if event.last:
                    told.append(("StreamEnded", event.stream.id))
            else:
                told.append((type(event).__name__, getattr(getattr(event, "stream", None), "id", None)))
    states = {n: stream.state for n, stream in lone.core.streams.items()}
    credit = {n: (stream.send_credit, stream.recv_credit, stream.unread) for n, stream in lone.core.streams.items()}
    return told, bodies, states, credit, lone.sent()


def test_e15_any_cut_gives_the_same_as_whole(client: bool) -> None:
    raw = script(Lone(client=client))
    whole = outcome(Lone(client=client), [raw])
    for cut in range(1, len(raw)):
        assert outcome(Lone(client=client), [raw[:cut], raw[cut:]]) == whole
        assert outcome(Lone(client=client), [raw[:cut], memoryview(raw)[cut:]]) == whole


@pytest.mark.parametrize("size", [1, 2, 11, 12, 13, 64])
def test_e15_small_pieces_give_the_same_as_whole(client: bool, size: int) -> None:
    raw = script(Lone(client=client))
    whole = outcome(Lone(client=client), [raw])
    assert outcome(Lone(client=client), [raw[at : at + size] for at in range(0, len(raw), size)]) == whole


def test_e15_a_thousand_frames_at_once(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    bodies = [bytes([n % 256]) * (n % 200 + 1) for n in range(1000)]
    assert received(lone.feed(*(data(stream.id, body) for body in bodies))) == b"".join(bodies)


def test_a_large_body_is_handed_over_as_it_trickles_in(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    other = lone.outbound()
    lone.feed(pack(DATA, 0, stream.id, WINDOW))
    for _ in range(50):
        assert received(lone.feed(b"tick")) == b"tick"
        lone.core.send_data(other, b"work goes on")
        assert [frame.body for frame in lone.sent()] == [b"work goes on"]


def test_what_waits_pins_no_more_than_a_few_times_its_size(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.inbound()
    raw = b"".join(data(stream.id, bytes(100)) for _ in range(1000))
    for event in lone.feed(raw):
        assert isinstance(event, DataReceived)
        assert isinstance(event.data, bytes), "a small view would keep the whole buffer"


# -- 46 to 49: the session ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0x0100, 0x0101, 0xFF00, 4, 0x00FF])
def test_e1_unknown_version_or_type(client: bool, kind: int) -> None:
    protocol_error(Lone(client=client), pack(kind, 0, 0, 0))


@pytest.mark.parametrize("bit", [1 << n for n in range(4, 16)])
def test_e1_unknown_flags_are_ignored(client: bool, bit: int) -> None:
    lone = Lone(client=client)
    assert names(lone.feed(syn(lone.theirs(), 0, bit))) == ["StreamOpened"]
    stream = lone.core.streams[lone.theirs()]
    lone.core.accept(stream)
    assert received(lone.feed(data(stream.id, b"abc", bit))) == b"abc"
    assert names(lone.feed(update(stream.id, 1, bit), update(stream.id, 0, FIN | bit))) == ["StreamEnded"]
    lone.sent()
    lone.feed(ping(5, SYN | bit))
    assert lone.sent() == [Frame(PING, ACK, 0, 5)]


@pytest.mark.parametrize("value", [0, 7, MAX])
@pytest.mark.parametrize("flags", [SYN, SYN | ACK])
@pytest.mark.parametrize("stream_id", [0, 5])
def test_every_ping_gets_one_pong(client: bool, value: int, flags: int, stream_id: int) -> None:
    lone = Lone(client=client)
    assert lone.feed(ping(value, flags, stream_id)) == []
    assert lone.sent() == [Frame(PING, ACK, 0, value)]
    assert lone.sent() == []


def test_pongs_nobody_asked_for_are_ignored_and_ours_come_back_in_any_order(client: bool) -> None:
    lone = Lone(client=client)
    assert lone.feed(pong(0), pong(99)) == []
    first, second = lone.core.ping(), lone.core.ping()
    lone.clock.advance(0.5)
    events = lone.feed(pong(second), pong(first), pong(second), pong(first))
    assert [(event.ping_id, event.rtt) for event in events if isinstance(event, PingAnswered)] == [
        (second, 0.5),
        (first, 0.5),
    ]
    assert len(events) == 2
    assert [frame.flags for frame in lone.sent()] == [SYN, SYN], "a pong is never answered"


def test_go_away_0_refuses_opens_and_lets_streams_live(client: bool) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    assert names(lone.feed(go_away(0, stream_id=9, flags=3), go_away(0))) == ["GoAwayReceived"]
    assert not lone.core.can_open
    with pytest.raises(RemoteGoAway):
        lone.core.open_stream()
    assert received(lone.feed(data(stream.id, b"alive"))) == b"alive"
    assert names(lone.feed(syn(lone.theirs()))) == ["StreamOpened"], "the peer may still open"


@pytest.mark.parametrize("code", [1, 2, 3, 4101, MAX])
def test_other_go_aways_end_the_session_with_their_code(client: bool, code: int) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    end = ended(lone.feed(data(stream.id, b"before"), go_away(code), data(stream.id, b"after")))
    assert isinstance(end.error, RemoteGoAway)
    assert end.error.code == code
    assert end.lost == [stream]
    assert lone.sent() == [], "nothing is answered"
    with pytest.raises(SessionClosed):
        lone.core.open_stream()


def test_our_go_away_refuses_what_the_peer_opens(client: bool) -> None:
    lone = Lone(client=client)
    old = lone.inbound()
    lone.core.go_away()
    assert lone.feed(syn(lone.theirs(1)), data(lone.theirs(1), b"refused"), fin(lone.theirs(1))) == []
    assert lone.sent() == [Frame(GO_AWAY, 0, 0, 0), Frame(WINDOW_UPDATE, RST, lone.theirs(1), 0)]
    assert names(lone.feed(data(old.id, b"x"), fin(old.id))) == ["DataReceived", "StreamEnded"]


# -- 52, 53: cuts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "place"),
    [(b"", "between frames"), (bytes(5), "header"), (pack(DATA, 0, 99, 10) + b"abc", "body")],
    ids=["between", "header", "body"],
)
def test_an_end_of_the_carrier_is_named_by_its_place(client: bool, rest: bytes, place: str) -> None:
    lone = Lone(client=client)
    stream = lone.outbound()
    lone.feed(rest)
    end = ended(lone.core.receive_eof())
    assert isinstance(end.error, SessionClosed)
    assert place in str(end.error)
    assert end.lost == [stream]
    assert lone.core.receive_eof() == []


def test_settings_of_the_module_are_what_the_tests_assume(client: bool) -> None:
    assert QUIET.stream_window == WINDOW
    assert Lone(client=client).core.client is client
