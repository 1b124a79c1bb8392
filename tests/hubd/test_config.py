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
        ({"listen": "0.0.0.0:80"}, "--tls-listen .* trusted_proxies.* --insecure-plain-visitors"),
        ({"listen": "0.0.0.0:80", "dev": True}, "drop --dev"),
        ({"tls_listen": "0.0.0.0:443", "dev": True, "tls": {"cert": "x"}}, "drop --dev"),
        ({"tls_listen": "0.0.0.0:443"}, "--tls-cert"),
        ({"auth": {"agent_certificates": True}}, "give tls.client_ca"),
        (
            {"tls_listen": "127.0.0.1:1", "tls": {"cert": "x", "client_crl": "y"}},
            "tls.client_crl .* give tls.client_ca",
        ),
        ({"visitors": {"client_crl": "y"}}, "visitors.client_crl .* give visitors.client_ca"),
        ({"admin": {"client_crl": "y"}}, "admin.client_crl .* give admin.client_ca"),
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
        ({"limits": {"head": "129 KiB"}}, "less than or equal to 131072"),
        ({"limits": {"line": "9 KiB", "head": "8 KiB"}}, "raise limits.head"),
        ({"limits": {"fields": 501}}, "less than or equal to 500"),
        ({"nonsense": 1}, "not permitted"),
    ],
)
def test_faults(settings, text):
    with pytest.raises(ValidationError, match=text):
        HubConfig.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"listen": "0.0.0.0:80", "insecure_plain_visitors": True},
        {"listen": "0.0.0.0:80", "trusted_proxies": "10.0.0.1"},
        {"tls_listen": "0.0.0.0:443", "tls": {"cert": "x"}},
    ],
)
def test_other_machines_are_served_where_a_setting_says_how(settings):
    assert HubConfig.model_validate(settings).insecure == [
        name for name in settings if name == "insecure_plain_visitors"
    ]


def test_the_store_is_in_memory_for_dev_only(monkeypatch):
    assert HubConfig(dev=True).store_path is None
    assert str(HubConfig().store_path) == "/var/lib/hubd/hub.db"
    monkeypatch.setenv("STATE_DIRECTORY", "/state:/more")
    assert str(HubConfig().store_path) == "/state/hub.db"
    assert str(HubConfig.model_validate({"dev": True, "store": {"path": "x.db"}}).store_path) == "x.db"


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


def test_the_hub_s_id_is_the_machine_s_name_or_given(monkeypatch):
    monkeypatch.setattr("hubd.config.socket.gethostname", lambda: "-box 1!")
    assert HubConfig().id == "box-1"
    assert HubConfig(id="h1").id == "h1"
    with pytest.raises(ValueError, match="is not an id"):
        HubConfig(id="a/b")


def test_f9_the_management_api_needs_tls_on_tcp():
    with pytest.raises(ValueError, match=r"needs TLS: give admin.tls, or listen on unix:/PATH"):
        HubConfig.model_validate({"admin": {"listen": ["unix:/run/a.sock", "127.0.0.1:7443"]}})
    with pytest.raises(ValueError, match="client_ca"):
        HubConfig.model_validate({"admin": {"clients": {"ops": "viewer"}}})
    assert HubConfig.model_validate({"admin": {"listen": ["unix:/run/a.sock"]}}).admin.clients == {}
