"""docs/nginx.conf, as shipped, run by a real nginx in front of a real site."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.clients import Reply, talk
from tests.processes import TOML, program, served_site

pytestmark = pytest.mark.slow

SHIPPED = TOML.with_name("docs") / "nginx.conf"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SETTINGS = {"BASE_URL": "https://microblog.example", "TRUSTED_HOSTS": "", "TRUSTED_PROXIES": "1"}
WHOLE = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/microblog.conf;
}}
"""


@dataclass
class Nginx:
    """A running nginx: its ports for https and http, its access log, and the certificates to trust."""

    https: int
    http: int
    log: Path
    trust: ssl.SSLContext

    async def ask(self, *pieces: bytes, tls: bool = True) -> Reply:
        """Send `pieces` over a new connection, and return the reply."""
        if tls:
            return await talk(self.https, *pieces, tls=self.trust, name="microblog.example")
        return await talk(self.http, *pieces)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def configure(folder: Path, ports: Sequence[int], https: int, http: int) -> trustme.CA:
    """Write the shipped file with the instances' `ports`, this machine's paths, and a certificate."""
    authority = trustme.CA()
    own = authority.issue_cert("microblog.example")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "all.pem")
    text = SHIPPED.read_text()
    for shipped, here in {
        "server 127.0.0.1:8000": f"server 127.0.0.1:{ports[0]}",
        "# server 127.0.0.1:8001": f"server 127.0.0.1:{ports[-1]}",
        "listen 80;": f"listen 127.0.0.1:{http};",
        "listen 443 ssl;": f"listen 127.0.0.1:{https} ssl;",
        "/etc/ssl/microblog/fullchain.pem": f"{folder}/all.pem",
        "/etc/ssl/microblog/privkey.pem": f"{folder}/all.pem",
        "/var/log/nginx/": f"{folder}/",
    }.items():
        assert shipped in text
        text = text.replace(shipped, here)
    (folder / "microblog.conf").write_text(text)
    (folder / "nginx.conf").write_text(WHOLE.format(folder=folder))
    return authority


@asynccontextmanager
async def nginx_before(folder: Path, *ports: int) -> AsyncIterator[Nginx]:
    """Run nginx in front of the instances at `ports`."""
    https, http = free_port(), free_port()
    authority = configure(folder, ports, https, http)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    command = (NGINX, "-p", ".", "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors"))
    async with program(*command, folder=folder, read="both") as process:
        async with asyncio.timeout(60):
            while not (folder / "nginx.pid").exists():
                assert process.status is None, (folder / "errors").read_text()
                await asyncio.sleep(0.02)
        yield Nginx(https, http, folder / "microblog.log", trust)


def get(path: bytes, *lines: bytes, host: bytes = b"microblog.example") -> bytes:
    head = (b"GET %s HTTP/1.1" % path, b"Host: %s" % host, b"Connection: close", *lines)
    return b"\r\n".join(head) + b"\r\n\r\n"


@pytest.fixture(autouse=True)
def _require_nginx() -> None:
    """Skip where nginx is not installed, but fail in CI."""
    if not Path(NGINX).exists():
        if os.environ.get("CI"):
            pytest.fail("CI needs nginx, but it is not installed")
        pytest.skip("nginx is not installed (Debian: apt-get install nginx)")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_shipped_configuration(database_url: str, tmp_path: Path) -> None:
    async with (
        served_site(tmp_path, database_url, **SETTINGS) as site,
        nginx_before(tmp_path, site.port) as nginx,
    ):
        page = await nginx.ask(get(b"/login"))
        assert page.status == 200
        assert "__Host-session=" in page.head
        assert "strict-transport-security: max-age=" in page.head.lower()
        assert "Sign In - Microblog" in page.body

        for path in (b"/login", *re.findall(rb'/static/site[.][^"]+', page.body.encode())):
            assert (
                "content-encoding: gzip"
                in (await nginx.ask(get(path, b"Accept-Encoding: gzip"))).head.lower()
            )

        spoofed = get(b"/reset_password/eyJkey", b"X-Forwarded-For: 10.9.8.7", b"Forwarded: for=10.9.8.7")
        assert (await nginx.ask(spoofed)).status == 302
        evil = get(b"/login", b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: http")
        assert (await nginx.ask(evil)).status == 200
        assert (await nginx.ask(get(b"/login", host=b"evil.example"))).status == 400

        large = b"POST /login HTTP/1.1\r\nHost: microblog.example\r\nContent-Length: 17825792\r\n\r\n"
        assert (await nginx.ask(large)).status == 413

        for path in (b"/readyz", b"/mailbox", b"/mailbox/1"):
            assert (await nginx.ask(get(path))).status == 404
        assert (await nginx.ask(get(b"/healthz"))).status == 200

        plain = await nginx.ask(get(b"/login?next=/x"), tls=False)
        assert plain.status == 301
        assert "location: https://microblog.example/login?next=/x" in plain.head.lower()
    lines = [line for line in site.lines if "event=access" in line]
    assert len(lines) == 8
    assert all("peer=127.0.0.1" in line for line in lines)
    logged = nginx.log.read_text()
    assert '"path":"/reset_password/-"' in logged
    everything = logged + "".join(site.lines) + (tmp_path / "microblog.error.log").read_text()
    assert "eyJkey" not in everything
    assert "10.9.8.7" not in everything


class Instance:
    """A minimal upstream that answers 200 while it runs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    @staticmethod
    async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()


async def test_two_instances_restarted_shortly_after_each_other_cause_no_502(tmp_path: Path) -> None:
    instances = [Instance(free_port()), Instance(free_port())]
    for instance in instances:
        await instance.start()
    statuses = []
    async with nginx_before(tmp_path, *(instance.port for instance in instances)) as nginx:
        for instance in instances:
            await instance.stop()
            statuses += [(await nginx.ask(get(b"/login"))).status for _ in range(4)]
            await instance.start()
    for instance in instances:
        await instance.stop()
    assert statuses == [200] * 8
