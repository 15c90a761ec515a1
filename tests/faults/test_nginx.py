"""docs/nginx.conf, as it is shipped, before a real server: what clients claim and links stay outside."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.clients import Reply
from tests.processes import TOML, Site, served_site

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_kind", ["sqlite"])]

SHIPPED = TOML.with_name("docs") / "nginx.conf"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
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
class Front:
    """A running nginx: the port of https, that of http, its log, and the site behind it."""

    https: int
    http: int
    log: Path
    site: Site
    trust: ssl.SSLContext

    async def ask(self, *pieces: bytes, tls: bool = True) -> Reply:
        """Send `pieces` over a connection of their own; return what came back."""
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                self.https if tls else self.http,
                ssl=self.trust if tls else None,
                server_hostname="microblog.example" if tls else None,
            )
            writer.writelines(pieces)
            received = b""
            try:
                while data := await reader.read(65536):
                    received += data
            except ConnectionError:
                pass
            writer.close()
        head, _, body = received.decode("utf-8", "replace").partition("\r\n\r\n")
        return Reply(int(head.split()[1]), head, body)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def configure(folder: Path, site: Site, https: int, http: int) -> trustme.CA:
    """Write the shipped file with this machine's ports and paths, and the certificate it names."""
    authority = trustme.CA()
    own = authority.issue_cert("microblog.example")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "all.pem")
    text = SHIPPED.read_text()
    for said, here in {
        "127.0.0.1:8000": f"127.0.0.1:{site.port}",
        "listen 80;": f"listen 127.0.0.1:{http};",
        "listen 443 ssl;": f"listen 127.0.0.1:{https} ssl;",
        "/etc/ssl/microblog/fullchain.pem": f"{folder}/all.pem",
        "/etc/ssl/microblog/privkey.pem": f"{folder}/all.pem",
        "/var/log/nginx/": f"{folder}/",
    }.items():
        assert said in text
        text = text.replace(said, here)
    (folder / "microblog.conf").write_text(text)
    (folder / "nginx.conf").write_text(WHOLE.format(folder=folder))
    return authority


@asynccontextmanager
async def behind_nginx(folder: Path, database_url: str) -> AsyncIterator[Front]:
    settings = {
        "BASE_URL": "https://microblog.example",
        "TRUSTED_HOSTS": "",
        "TRUSTED_PROXIES": "1",
    }
    async with served_site(folder, database_url, **settings) as site:
        https, http = free_port(), free_port()
        authority = configure(folder, site, https, http)
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        process = await asyncio.create_subprocess_exec(
            NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors")
        )
        try:
            async with asyncio.timeout(10):
                while not (folder / "nginx.pid").exists():
                    assert process.returncode is None, (folder / "errors").read_text()
                    await asyncio.sleep(0.02)
            yield Front(https, http, folder / "microblog.log", site, trust)
        finally:
            process.terminate()
            await process.wait()


def get(path: bytes, *lines: bytes, host: bytes = b"microblog.example") -> bytes:
    more = b"".join(line + b"\r\n" for line in lines)
    return (
        b"GET "
        + path
        + b" HTTP/1.1\r\nHost: "
        + host
        + b"\r\nConnection: close\r\n"
        + more
        + b"\r\n"
    )


@pytest.mark.skipif(
    not Path(NGINX).exists(), reason="nginx is not installed (apt-get install nginx)"
)
async def test_the_shipped_configuration(database_url: str, tmp_path: Path) -> None:
    async with behind_nginx(tmp_path, database_url) as front:
        page = await front.ask(get(b"/login"))
        assert page.status == 200
        assert "__Host-session=" in page.head
        assert "strict-transport-security: max-age=" in page.head.lower()
        assert "Sign In - Microblog" in page.body

        spoofed = get(
            b"/reset_password/eyJkey", b"X-Forwarded-For: 10.9.8.7", b"Forwarded: for=10.9.8.7"
        )
        assert (await front.ask(spoofed)).status == 302
        evil = get(b"/login", b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: http")
        assert (await front.ask(evil)).status == 200
        assert (await front.ask(get(b"/login", host=b"evil.example"))).status == 400

        large = (
            b"POST /login HTTP/1.1\r\nHost: microblog.example\r\nContent-Length: 17825792\r\n\r\n"
        )
        assert (await front.ask(large)).status == 413

        plain = await front.ask(get(b"/login?next=/x"), tls=False)
        assert plain.status == 301
        assert "location: https://microblog.example/login?next=/x" in plain.head.lower()

        lines = [line for line in front.site.lines if "event=access" in line]
        assert len(lines) == 4
        assert all("peer=127.0.0.1" in line for line in lines)
    logged = front.log.read_text()
    assert '"path":"/reset_password/-"' in logged
    everything = logged + "".join(front.site.lines) + (tmp_path / "microblog.error.log").read_text()
    assert "eyJkey" not in everything
    assert "10.9.8.7" not in everything
