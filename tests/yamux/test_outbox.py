from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from tests.yamux.wire import Frame, frames

from yamux.corestream import NO_PIECES, CoreStream
from yamux.frames import DATA, FIN, PING, SYN, WINDOW_UPDATE, pack
from yamux.outbox import Outbox

KIB = 1024
BIG = 1 << 40


class Bench:
    def __init__(self, max_frame: int = 64 * KIB, shared_frame: int = 16 * KIB) -> None:
        self.box = Outbox(max_frame, shared_frame)

    def stream(self, stream_id: int, *bodies: bytes, credit: int = 256 * KIB) -> CoreStream:
        stream = CoreStream(stream_id, 256 * KIB, 0, local=True)
        stream.send_credit = credit
        for body in bodies:
            self.queue(stream, body)
        return stream

    def queue(self, stream: CoreStream, body: bytes) -> None:
        stream.pending = deque((*stream.pending, body))
        stream.pending_bytes += len(body)
        self.box.enqueue(stream)

    def take(self, limit: int = BIG) -> list[Frame]:
        return frames(b"".join(self.box.take(limit)))


def test_control_goes_first_and_in_order() -> None:
    bench = Bench()
    bench.stream(1, b"data")
    bench.box.control += [pack(PING, SYN, 0, 7), pack(WINDOW_UPDATE, 0, 3, 5)]
    assert [frame.kind for frame in bench.take()] == [PING, WINDOW_UPDATE, DATA]
    assert not bench.box


def test_many_writes_leave_as_one_frame() -> None:
    bench = Bench()
    bench.stream(1, b"a" * 10, b"b" * 20, b"c")
    (frame,) = bench.take()
    assert frame.body == b"a" * 10 + b"b" * 20 + b"c"


def test_streams_take_turns_with_small_frames_and_a_lone_one_sends_large_ones() -> None:
    bench = Bench()
    bench.stream(1, bytes(100 * KIB))
    bench.stream(3, b"hello")
    sent = bench.take()
    assert [(frame.stream_id, frame.length) for frame in sent] == [
        (1, 16 * KIB),
        (3, 5),
        (1, 64 * KIB),
        (1, 20 * KIB),
    ]


def test_the_limit_bounds_data_and_not_control() -> None:
    bench = Bench()
    bench.stream(1, bytes(256 * KIB))
    bench.box.control += [pack(PING, SYN, 0, n) for n in range(100)]
    sent = bench.take(64 * KIB)
    assert len(sent) == 101
    assert bench.box.taken == 64 * KIB
    assert bench.box


def test_credit_bounds_a_stream_and_only_that_stream() -> None:
    bench = Bench()
    stuck = bench.stream(1, bytes(100), credit=40)
    bench.stream(3, bytes(100))
    assert sum(frame.length for frame in bench.take()) == 140
    assert stuck.pending_bytes == 60
    assert not bench.box, "a stream without credit waits outside the ring"
    stuck.send_credit = 10
    bench.box.enqueue(stuck)
    assert [frame.length for frame in bench.take()] == [10]


def test_fin_follows_the_last_byte_in_its_own_frame() -> None:
    bench = Bench()
    stream = bench.stream(1, bytes(20 * KIB))
    bench.stream(3, bytes(20 * KIB))
    stream.ending = True
    mine = [frame for frame in bench.take() if frame.stream_id == 1]
    assert [frame.kind for frame in mine] == [DATA, DATA, WINDOW_UPDATE]
    assert mine[-1].flags == FIN
    assert all(frame.flags == 0 for frame in mine[:-1])
    assert bench.box.ended == [stream]


def test_a_fin_waits_for_credit_with_its_data() -> None:
    bench = Bench()
    stream = bench.stream(1, bytes(10), credit=4)
    stream.ending = True
    assert [frame.length for frame in bench.take()] == [4]
    assert not bench.box.ended
    stream.send_credit = 6
    bench.box.enqueue(stream)
    assert [(frame.kind, frame.length) for frame in bench.take()] == [(DATA, 6), (WINDOW_UPDATE, 0)]


def test_the_low_mark_is_told_once_it_is_reached() -> None:
    bench = Bench()
    stream = bench.stream(1, bytes(100 * KIB))
    stream.low_mark = 40 * KIB
    bench.take(1)
    assert bench.box.drained == [stream]
    stream.low_mark = -1
    bench.take()
    assert bench.box.drained == [stream]


def test_a_stream_that_was_emptied_meanwhile_sends_nothing() -> None:
    bench = Bench()
    stream = bench.stream(1, b"gone")
    stream.pending = NO_PIECES
    stream.pending_bytes = 0
    assert bench.take() == []
    assert not stream.queued


@given(
    st.lists(st.tuples(st.sampled_from([1, 3, 5]), st.binary(min_size=1, max_size=300)), max_size=60),
    st.lists(st.integers(0, 400), min_size=1),
    st.integers(1, 600),
)
def test_bytes_leave_in_order_within_credit_and_frames_within_their_limits(
    writes: list[tuple[int, bytes]], grants: list[int], limit: int
) -> None:
    bench = Bench(max_frame=128, shared_frame=32)
    streams = {number: bench.stream(number, credit=50) for number in (1, 3, 5)}
    wanted = {number: bytearray() for number in streams}
    credit = dict.fromkeys(streams, 50)
    sent = {number: bytearray() for number in streams}
    for number, body in writes:
        bench.queue(streams[number], body)
        wanted[number] += body
    for round_ in range(len(grants) + 60):
        for frame in bench.take(limit):
            assert 0 < frame.length <= 128
            sent[frame.stream_id] += frame.body
        for number, stream in streams.items():
            assert len(sent[number]) <= credit[number]
            assert wanted[number].startswith(sent[number])
            count = grants[round_ % len(grants)]
            credit[number] += count
            stream.send_credit += count
            if stream.pending_bytes:
                bench.box.enqueue(stream)
    for _ in range(2000):
        for stream in streams.values():
            stream.send_credit += 100
            if stream.pending_bytes:
                bench.box.enqueue(stream)
        for frame in bench.take():
            sent[frame.stream_id] += frame.body
        if not any(stream.pending_bytes for stream in streams.values()):
            break
    assert sent == wanted
