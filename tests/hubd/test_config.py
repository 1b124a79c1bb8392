"""Settings and their faults."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hubd.config import HubConfig
from tunnel.settings import HostPort


def test_defaults_are_loopback_and_closed():
    config = HubConfig()
    assert config.listen == HostPort("127.0.0.1", 8882) and not config.dev
    assert config.trusted_proxies == () and config.tls_listen is None
    assert config.limits.backlog == 4096 and config.timeouts.header == 10


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"listen": "0.0.0.0:80"}, "open to other machines"),
        ({"listen": "0.0.0.0:80", "dev": True}, "drop --dev"),
        ({"listen": ":80"}, "names no host"),
        ({"tls_listen": "127.0.0.1:1"}, "--tls-cert"),
        ({"tls": {"cert": "x"}}, "--tls-listen"),
        ({"listen": None}, "nothing to listen on"),
        ({"domain": "a_b"}, "not a domain name"),
        ({"domain": ""}, "not a domain name"),
        ({"policy": "best"}, "least-streams"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, "not an address"),
        ({"trusted_proxies": "nowhere"}, "not an address"),
        ({"limits": {"handshakes": 0}}, "greater than or equal to 1"),
        ({"nonsense": 1}, "not permitted"),
    ],
)
def test_faults(settings, text):
    with pytest.raises(ValidationError, match=text):
        HubConfig.model_validate(settings)


def test_values():
    config = HubConfig.model_validate(
        {
            "domain": "T.Example.",
            "trusted_proxies": "10.0.0.0/8, ::1",
            "timeouts": {"idle": "2m"},
            "limits": {"body": "1 MiB"},
        }
    )
    assert config.domain == "t.example" and [str(n) for n in config.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert config.timeouts.idle == 120 and config.limits.body == 1 << 20
