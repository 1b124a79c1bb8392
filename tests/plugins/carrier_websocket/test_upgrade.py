from __future__ import annotations

import base64

import pytest

from carrier_api import RAW_FRAMING
from carrier_websocket import SUBPROTOCOL, WebSocketFraming, WebSocketUpgrade
from carrier_websocket.upgrade import accept_key
from yamux.carrier import Fields, UpgradeRefused

UPGRADE = WebSocketUpgrade()
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def request(*extra: tuple[bytes, bytes], key: bytes | None = KEY, version: bytes | None = b"13") -> Fields:
    fields: Fields = list(extra)
    if key is not None:
        fields.append((b"Sec-WebSocket-Key", key))
    if version is not None:
        fields.append((b"sec-websocket-version", version))
    return fields


def test_the_rfc_example() -> None:
    assert accept_key(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_both_sides_agree_on_messages() -> None:
    offer = UPGRADE.offer()
    fields, server = UPGRADE.accept(offer.headers)
    client = offer.confirm(fields)
    assert isinstance(server, WebSocketFraming) and isinstance(client, WebSocketFraming)
    assert (b"Sec-WebSocket-Protocol", SUBPROTOCOL) in fields


def test_keys_are_fresh_and_right() -> None:
    keys = [dict(UPGRADE.offer().headers)[b"Sec-WebSocket-Key"] for _ in range(50)]
    assert len(set(keys)) == 50
    assert all(len(base64.b64decode(key)) == 16 for key in keys)


def test_no_extension_is_offered() -> None:
    assert not any(b"extension" in name.lower() for name, _ in UPGRADE.offer().headers)


@pytest.mark.parametrize("offered", [None, b"", b"chat", b"yamux.v2", b"chat, yamux.v10"])
def test_a_client_that_does_not_offer_our_subprotocol_gets_raw_bytes(offered: bytes | None) -> None:
    extra = [] if offered is None else [(b"Sec-WebSocket-Protocol", offered)]
    fields, framing = UPGRADE.accept(request(*extra))
    assert framing is RAW_FRAMING
    assert not any(name.lower() == b"sec-websocket-protocol" for name, _ in fields)


@pytest.mark.parametrize(
    "values", [[b"yamux.v1"], [b"chat, yamux.v1"], [b"yamux.v2", b"yamux.v1"], [b"yamux.v2 ,yamux.v1\t,x"]]
)
def test_e16_our_subprotocol_is_picked_out_of_a_list(values: list[bytes]) -> None:
    fields, framing = UPGRADE.accept(request(*((b"Sec-WebSocket-Protocol", value) for value in values)))
    assert isinstance(framing, WebSocketFraming)
    assert (b"Sec-WebSocket-Protocol", b"yamux.v1") in fields


def test_a_server_that_does_not_agree_gets_raw_bytes() -> None:
    offer = UPGRADE.offer()
    key = dict(offer.headers)[b"Sec-WebSocket-Key"]
    assert offer.confirm([(b"Sec-Websocket-Accept", accept_key(key))]) is RAW_FRAMING


def test_e13_compression_is_declined() -> None:
    fields, _ = UPGRADE.accept(request((b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits")))
    assert not any(b"extension" in name.lower() for name, _ in fields)


@pytest.mark.parametrize("version", [None, b"8", b"12", b"14", b"13, 8", b""])
def test_e14_version_is_not_13(version: bytes | None) -> None:
    with pytest.raises(UpgradeRefused) as caught:
        UPGRADE.accept(request(version=version))
    assert caught.value.status == 426
    assert (b"Sec-WebSocket-Version", b"13") in caught.value.headers


@pytest.mark.parametrize("key", [None, b"", b"short", b"!" * 24, KEY + b"=", base64.b64encode(bytes(15)), KEY[:-1]])
def test_e14_key_missing_or_bad(key: bytes | None) -> None:
    with pytest.raises(UpgradeRefused) as caught:
        UPGRADE.accept(request(key=key))
    assert (caught.value.status, caught.value.code) == (400, "websocket_key")


def test_e14_two_keys() -> None:
    with pytest.raises(UpgradeRefused) as caught:
        UPGRADE.accept([*request(), (b"Sec-WebSocket-Key", KEY)])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda fields: [], "bad_accept"),
        (lambda fields: [(b"Sec-WebSocket-Accept", accept_key(KEY))], "bad_accept"),
        (lambda fields: fields + fields, "bad_accept"),
        (lambda fields: [*fields, (b"Sec-WebSocket-Extensions", b"permessage-deflate")], "bad_extension"),
        (lambda fields: [fields[0], (b"Sec-WebSocket-Protocol", b"chat")], "bad_subprotocol"),
        (lambda fields: [fields[0], (b"Sec-WebSocket-Protocol", b"yamux.v1, chat")], "bad_subprotocol"),
    ],
)
def test_a_server_answer_that_does_not_fit(change: object, code: str) -> None:
    assert callable(change)
    offer = UPGRADE.offer()
    fields, _ = UPGRADE.accept(offer.headers)
    with pytest.raises(UpgradeRefused) as caught:
        offer.confirm(change(fields))
    assert caught.value.code == code
