from __future__ import annotations

import pytest
from tests.yamux.wire import Clock, Frame, frames

from yamux import Config, KeepaliveTimeout, YamuxError
from yamux.corestream import Buffer
from yamux.frames import PING, SYN
from yamux.keepalive import LATE, MAX_PINGS, SAMPLES, Keepalive

CONFIG = Config(keepalive_interval=30, keepalive_timeout=10)


class Bench:
    """A Keepalive, its clock and its output."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.clock = Clock()
        self.keepalive = Keepalive(config, self.clock)
        self.control: list[Buffer] = []

    def sent(self) -> list[Frame]:
        found = frames(b"".join(self.control))
        self.control.clear()
        return found

    def due(self) -> list[Frame]:
        """Go to the deadline and do what is due."""
        assert self.keepalive.deadline is not None
        self.clock.now = self.keepalive.deadline
        return self.handle()

    def handle(self) -> list[Frame]:
        self.keepalive.handle(self.clock.now, self.control)
        return self.sent()

    def hear(self, count: int = 12) -> None:
        self.keepalive.bytes_in += count


def test_the_first_ping_leaves_at_once_and_the_next_an_interval_after_the_answer() -> None:
    bench = Bench()
    (ping,) = bench.handle()
    assert ping == Frame(PING, SYN, 0, 0)
    bench.clock.advance(0.2)
    assert bench.keepalive.answered(0) == pytest.approx(0.2)
    assert bench.keepalive.deadline == pytest.approx(bench.clock.now + 30)
    assert [frame.length for frame in bench.due()] == [1]


def test_off_means_off() -> None:
    bench = Bench(Config(keepalive_interval=0))
    assert bench.keepalive.deadline is None
    bench.clock.advance(1e6)
    assert bench.handle() == []


def test_silence_after_a_ping_is_death_with_its_cause() -> None:
    bench = Bench()
    bench.handle()
    with pytest.raises(KeepaliveTimeout, match=r"nothing came from the peer for 10 s after a keepalive ping") as caught:
        bench.due()
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, ConnectionError)


def test_a_timer_as_late_as_timers_are_is_not_taken_for_a_stop() -> None:
    bench = Bench()
    bench.handle()
    bench.clock.advance(10 + LATE / 2)
    with pytest.raises(KeepaliveTimeout):
        bench.handle()


def test_any_byte_is_a_sign_of_life() -> None:
    bench = Bench()
    bench.handle()
    for _ in range(10):
        bench.hear(1)
        assert bench.due() == [], "no second ping while one is out"
    with pytest.raises(KeepaliveTimeout):
        bench.due()


def test_e7_a_full_carrier_that_drains_is_a_sign_of_life() -> None:
    bench = Bench()
    bench.handle()
    for _ in range(10):
        bench.keepalive.drained += 1
        bench.due()
    with pytest.raises(KeepaliveTimeout):
        bench.due()


def test_e17_a_process_that_was_stopped_gives_its_peer_another_round() -> None:
    bench = Bench()
    bench.handle()
    bench.clock.advance(70)
    assert bench.handle() == []
    bench.hear()
    bench.clock.advance(10)
    assert bench.handle() == []


def test_e17_a_stop_that_ends_just_after_the_deadline_is_no_death() -> None:
    bench = Bench()
    bench.handle()
    bench.clock.advance(10.5)
    assert bench.handle() == [], "timers may run before the socket is read"
    bench.hear()
    assert bench.due() == []


def test_e17_a_loop_that_is_always_late_still_finds_the_dead() -> None:
    bench = Bench()
    bench.handle()
    rounds = 0
    with pytest.raises(KeepaliveTimeout):
        while rounds < 10:
            rounds += 1
            assert bench.keepalive.deadline is not None
            bench.clock.now = bench.keepalive.deadline + 1
            bench.handle()
    assert rounds == 2


def test_the_round_trip_is_the_least_of_the_last_samples() -> None:
    bench = Bench()
    for milliseconds in (50, 20, 90):
        ping_id = bench.keepalive.ping(bench.control)
        bench.clock.advance(milliseconds / 1000)
        bench.keepalive.answered(ping_id)
    assert bench.keepalive.rtt == pytest.approx(0.020)
    for _ in range(8):
        ping_id = bench.keepalive.ping(bench.control)
        bench.clock.advance(0.070)
        bench.keepalive.answered(ping_id)
    assert bench.keepalive.rtt == pytest.approx(0.070), "old samples are forgotten"


def test_unknown_duplicate_and_forgotten_pongs_are_nobodys() -> None:
    bench = Bench()
    ping_id = bench.keepalive.ping(bench.control)
    assert bench.keepalive.answered(ping_id + 1) is None
    assert bench.keepalive.answered(ping_id) is not None
    assert bench.keepalive.answered(ping_id) is None
    forgotten = bench.keepalive.ping(bench.control)
    bench.keepalive.forget(forgotten)
    assert bench.keepalive.answered(forgotten) is None


def test_unanswered_pings_are_bounded() -> None:
    bench = Bench()
    for _ in range(MAX_PINGS):
        bench.keepalive.ping(bench.control)
    with pytest.raises(YamuxError):
        bench.keepalive.ping(bench.control)
    assert len(bench.sent()) == MAX_PINGS
    assert bench.handle() == [], "keepalive waits for a place too"


def test_ids_wrap() -> None:
    bench = Bench()
    bench.keepalive._next_id = 0xFFFF_FFFF
    assert [bench.keepalive.ping(bench.control), bench.keepalive.ping(bench.control)] == [0xFFFF_FFFF, 0]


def test_the_least_round_trip_leaves_with_its_sample() -> None:
    bench = Bench()
    for seconds, least in [(0.5, 0.5), (0.2, 0.2), (0.4, 0.2), *[(0.3, 0.2)] * (SAMPLES - 2), (0.6, 0.3), (0.1, 0.1)]:
        ping_id = bench.keepalive.ping(bench.control)
        bench.clock.advance(seconds)
        assert bench.keepalive.answered(ping_id) == pytest.approx(seconds)
        assert bench.keepalive.rtt == pytest.approx(least), seconds
