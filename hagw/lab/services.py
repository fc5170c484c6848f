"""The servers that stand for the Internet: web (HTTP, HTTPS, uploads), iperf3 and a server-first echo."""

import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hagw.lab import gateway, netns
from hagw.lab.netns import CommandFailed
from hagw.lab.processes import Process, ProcessTable
from hagw.lab.topology import Node

ECHO_PORT: Final = 2222
IPERF3_PORT: Final = 5201
FILES: Final = {"1k.bin": 1_000, "1M.bin": 1_000_000, "10M.bin": 10_000_000}

_LISTENERS: Final = {"web": ("nginx", 443), "iperf3": ("iperf3", IPERF3_PORT), "echo": ("echo", ECHO_PORT)}
_LISTEN_TIMEOUT_S: Final = 5.0

Spawn = Callable[[str, str, Sequence[str]], Process]

_NGINX: Final = """\
daemon off;
user root;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  types {{ text/plain txt; }}
  default_type application/octet-stream;
  client_body_temp_path {home}/tmp;
  proxy_temp_path {home}/tmp-proxy;
  fastcgi_temp_path {home}/tmp-fastcgi;
  uwsgi_temp_path {home}/tmp-uwsgi;
  scgi_temp_path {home}/tmp-scgi;
  server {{
    listen 80 default_server backlog=4096;
    listen [::]:80 default_server backlog=4096;
    listen 443 ssl default_server;
    listen [::]:443 ssl default_server;
    ssl_certificate {home}/server.pem;
    ssl_certificate_key {home}/server.key;
    root {home}/www;
    autoindex on;
    location /upload/ {{
      client_max_body_size 0;
      dav_methods PUT DELETE;
      create_full_put_path on;
    }}
  }}
}}
"""


def start(lab_directory: Path, node: Node, spawn: Spawn) -> None:
    """Start the services a node is described with."""
    home = gateway.node_directory(lab_directory, node.name)
    for service in node.services:
        match service:
            case "web":
                _prepare_web(lab_directory, home, [str(address.ip) for address in node.addresses])
                spawn(
                    node.name, "nginx", ["nginx", "-e", str(home / "nginx-error.log"), "-c", str(home / "nginx.conf")]
                )
            case "iperf3":
                spawn(node.name, "iperf3", ["iperf3", "-s", "-p", str(IPERF3_PORT)])
            case "echo":
                spawn(node.name, "echo", [sys.executable, "-P", "-m", "hagw.lab.echo", str(ECHO_PORT)])


def wait_listening(netns_name: str, node: Node, processes: ProcessTable) -> None:
    """Wait until a node's services accept connections. Raise CommandFailed if one ends or none answers in 5 s."""
    deadline = time.monotonic() + _LISTEN_TIMEOUT_S
    for service in node.services:
        role, port = _LISTENERS[service]
        with netns.entered(netns_name):
            while socket_refuses(port):
                if not processes.running(node.name, role) or time.monotonic() > deadline:
                    raise CommandFailed(f"{role} on node {node.name} does not listen on port {port}; see its log")
                time.sleep(0.02)


def socket_refuses(port: int) -> bool:
    """Say whether nothing listens on a local TCP port of this thread's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def web_root(lab_directory: Path, node: str = "inet") -> Path:
    """Return the directory a node's web server serves; uploads arrive in `upload/` below it."""
    return gateway.node_directory(lab_directory, node) / "www"


def certificate_authority(lab_directory: Path) -> Path:
    """Return the certificate that signed the lab's HTTPS servers."""
    return lab_directory / "ca.pem"


def write_file(path: Path, size_bytes: int, seed: int = 0) -> None:
    """Write a file of bytes that do not compress and do not repeat, the same for the same seed."""
    source = random.Random(seed)
    with path.open("wb") as file:
        for start_at in range(0, size_bytes, 1 << 20):
            file.write(source.randbytes(min(1 << 20, size_bytes - start_at)))


def _prepare_web(lab_directory: Path, home: Path, addresses: list[str]) -> None:
    (home / "www" / "upload").mkdir(parents=True)
    for number, (name, size) in enumerate(FILES.items()):
        write_file(home / "www" / name, size, seed=number)
    (home / "nginx.conf").write_text(_NGINX.format(home=home), encoding="utf-8")
    _make_certificates(lab_directory, home, addresses)


def _make_certificates(lab_directory: Path, home: Path, addresses: list[str]) -> None:
    """Make a certificate authority of this lab and a server certificate for its addresses."""
    authority, key = certificate_authority(lab_directory), lab_directory / "ca.key"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    netns.run_tool(
        ["openssl", "req", "-x509", *curve, "-subj", "/CN=hagw lab", "-keyout", str(key), "-out", str(authority)]
    )
    names = ",".join(["DNS:inet.lab", *(f"IP:{address}" for address in addresses)])
    extensions = ["-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"]
    signed = ["-CA", str(authority), "-CAkey", str(key)]
    files = ["-keyout", str(home / "server.key"), "-out", str(home / "server.pem")]
    netns.run_tool(["openssl", "req", "-x509", *curve, "-subj", "/CN=inet.lab", *extensions, *signed, *files])
