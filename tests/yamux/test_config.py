from __future__ import annotations

import pytest

from yamux import Config


@pytest.mark.parametrize(
    "wrong",
    [
        {"stream_window": 256 * 1024 - 1},
        {"stream_window": 1 << 32, "max_stream_window": 1 << 32},
        {"stream_window": 1 << 20, "max_stream_window": 1 << 19},
        {"max_stream_window": 1 << 32},
        {"accept_backlog": 0},
        {"max_unacked": 0},
        {"max_inbound_streams": 0},
        {"shared_frame": 0},
        {"max_frame": 1024},
        {"keepalive_interval": -1},
        {"keepalive_timeout": 0},
        {"stream_open_timeout": 0},
        {"max_outbound_streams": 0},
        {"accept_timeout": -1},
        {"stream_close_timeout": 0},
    ],
)
def test_what_cannot_work_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)  # type: ignore[arg-type]


def test_limits_themselves_are_allowed() -> None:
    Config(stream_window=0xFFFF_FFFF, max_stream_window=0xFFFF_FFFF, accept_backlog=1, keepalive_interval=0)


def test_an_unaccepted_stream_is_reset_before_a_reference_opener_ends_the_session() -> None:
    config = Config()
    assert config.accept_timeout + 5 < config.stream_open_timeout
