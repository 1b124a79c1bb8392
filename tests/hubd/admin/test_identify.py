"""Who calls, and the gate they pass."""

from __future__ import annotations

import ssl

import grpc
import pytest
import trustme

from hubd.admin.api import Api
from hubd.admin.caller import LOCAL, Caller, current, enter
from hubd.admin.errors import ApiError
from hubd.admin.gate import Gate
from hubd.admin.identify import local, remote
from hubd.admin.roles import Role


class FakeContext:
    def __init__(self, metadata=(), **auth):
        self._metadata = metadata
        self._auth = auth
        self.aborted = None

    def invocation_metadata(self):
        return self._metadata

    def auth_context(self):
        return self._auth

    def peer(self):
        return "ipv4:127.0.0.1:1"

    async def abort(self, code, message, trailers):
        self.aborted = code
        raise grpc.aio.AbortError


def test_a_token_beats_a_certificate():
    viewer = Caller("tokens/v", Role.VIEWER)
    identify = remote({"v": viewer}.get, {"root": "admin"})
    certificate = {"x509_subject_alternative_name": [b"other", b"root"]}
    assert identify(FakeContext((("authorization", "bearer  v"),), **certificate)) is viewer
    assert identify(FakeContext(**certificate)) == Caller("cert/root", Role.ADMIN)
    assert identify(FakeContext(x509_common_name=[b"root"])).role is Role.ADMIN
    assert identify(FakeContext(x509_common_name=[b"else"])) == Caller("cert/else", Role.NONE)
    assert identify(FakeContext()) is None
    with pytest.raises(ApiError, match="opens nothing"):
        remote({}.get, {})(FakeContext((("authorization", b"Bearer v"),)))
    assert local(FakeContext()) is LOCAL


def test_a_revoked_certificate_opens_nothing_even_with_a_token(tmp_path):
    ca = trustme.CA()
    text = ca.issue_cert("root").cert_chain_pems[0].bytes()
    seen = []
    identify = remote({"v": Caller("tokens/v", Role.VIEWER)}.get, {"root": "admin"}, lambda der: not seen.append(der))
    with pytest.raises(ApiError, match="this client certificate was revoked"):
        identify(FakeContext((("authorization", "bearer v"),), x509_common_name=[b"root"], x509_pem_cert=[text]))
    assert seen == [ssl.PEM_cert_to_DER_cert(text.decode())]


async def test_f9_a_method_that_is_not_in_the_table_is_refused_to_everybody(bench):
    async def anything(request, context):
        raise AssertionError("must not be reached")

    async def found(details):
        return grpc.unary_unary_rpc_method_handler(anything)

    class Details:
        method = "/new.Service/Method"

    handler = await Gate(bench.hub, local).intercept_service(found, Details)
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        await handler.unary_unary(None, context)
    assert context.aborted is grpc.StatusCode.PERMISSION_DENIED


def test_the_caller_is_known_during_the_call():
    enter(LOCAL)
    assert current().actor == "admin@unix"
    assert Api.__doc__
