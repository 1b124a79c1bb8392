"""``hubd healthcheck``."""

from __future__ import annotations

import http.server
import ssl
import tempfile
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from typer.testing import CliRunner, Result

from hubd.cli import app
from hubd.commands.health import ask_visitors_way
from hubd.config import HubConfig


class Answers(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def management() -> Iterator[tuple[str, health.HealthServicer]]:
    with tempfile.TemporaryDirectory() as folder:
        server = grpc.server(futures.ThreadPoolExecutor(2))
        servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        address = f"unix:{folder}/admin.sock"
        server.add_insecure_port(address)
        server.start()
        yield address, servicer
        server.stop(0).wait()


def run(*arguments: object, **environ: str) -> Result:
    return CliRunner().invoke(app, ["healthcheck", *map(str, arguments)], env=environ)


def test_shallow(server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    where = f"127.0.0.1:{server.server_port}"
    done = run("--shallow", "--listen", where)
    assert (done.exit_code, done.stdout) == (0, f"{where} serves\n")
    monkeypatch.setattr(Answers, "status", 503)
    done = run("--shallow", "--listen", where)
    assert (done.exit_code, done.stderr) == (1, f"hubd: {where} drains\n")
    monkeypatch.setattr(Answers, "status", 500)
    assert "answers 500" in run("--shallow", "--listen", where).stderr


def test_nobody_there() -> None:
    done = run("--shallow", "--listen", "127.0.0.1:1")
    assert (done.exit_code, done.stderr) == (1, "hubd: 127.0.0.1:1 does not answer: Connection refused\n")


def test_settings_that_cannot_be_used_or_name_no_port() -> None:
    assert run("--shallow", "--listen", "nonsense").exit_code == 78
    assert "name no port" in run("--shallow", "--listen", "127.0.0.1:0").stderr


def test_everywhere_is_asked_at_home(server: http.server.HTTPServer) -> None:
    done = run("--shallow", "--listen", f"0.0.0.0:{server.server_port}", HUBD_INSECURE_PLAIN_VISITORS="1")
    assert done.stdout == f"127.0.0.1:{server.server_port} serves\n"


def test_with_the_management_api(
    server: http.server.HTTPServer, management: tuple[str, health.HealthServicer], tmp_path: Path
) -> None:
    address, servicer = management
    where = f"127.0.0.1:{server.server_port}"
    file = tmp_path / "hubd.toml"
    file.write_text(f'listen = "{where}"\n[admin]\nlisten = ["{address}"]\n')
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    assert run("-c", file).stdout == f"{where} serves, management serves\n"
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    done = run("-c", file)
    assert (done.exit_code, "says NOT_SERVING" in done.stderr) == (1, True)
    file.write_text(f'listen = "{where}"\n[admin]\nlisten = ["unix:{tmp_path}/none"]\n')
    assert "does not answer: UNAVAILABLE" in run("-c", file).stderr
    file.write_text(f'listen = "{where}"\n[admin]\nlisten = []\n')
    assert run("-c", file).stdout == f"{where} serves, no socket for management\n"


def test_tls_whatever_the_certificate_says(server: http.server.HTTPServer, tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("elsewhere.example.com")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "hub.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    where = f"127.0.0.1:{server.server_port}"
    config = HubConfig.model_validate({"tls_listen": where, "tls": {"cert": f"{tmp_path}/hub.pem"}, "listen": None})
    assert ask_visitors_way(config) == f"{where} serves"
    assert config.tls is not None
    tls = config.tls.model_copy(update={"client_ca": tmp_path})
    assert ask_visitors_way(config.model_copy(update={"tls": tls})) == f"{where} listens"
