"""What a worker tells systemd."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hagw.dataplane import service


def test_a_notification_arrives_where_somebody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        service.notify(f"MAINPID={os.getpid()}")
        manager.settimeout(1.0)
        assert manager.recv(100) == f"MAINPID={os.getpid()}".encode()


def test_without_a_listener_a_notification_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    service.notify("READY=1")


def test_sockets_are_stored_once_and_taken_out_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(1.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        store = service.Store()
        store.keep({"convert ::1 5124": listener})
        state, descriptors, _, _ = socket.recv_fds(manager, 200, 2)
        assert state == b"FDSTORE=1\nFDNAME=convert ;;1 5124"
        with socket.socket(fileno=descriptors[0]) as stored:
            assert stored.getsockname() == listener.getsockname()
        store.keep({"convert ::1 5124": listener})
        store.keep({})
        assert manager.recv(200) == b"FDSTOREREMOVE=1\nFDNAME=convert ;;1 5124"


WORKER = """
import os, socket
os.environ["LISTEN_PID"] = str(os.getpid())
from hagw.dataplane.service import Store
found = Store().taken_out()
(name, sock), = found.items()
print(name, sock.getsockname()[1], sock.get_inheritable(), "LISTEN_FDS" in os.environ)
"""


def test_a_worker_finds_what_the_one_before_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        described = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "convert ;;1 5124"}
        given = f"exec 3<&{listener.fileno()}; exec {sys.executable} -c '{WORKER}'"
        done = subprocess.run(
            ["bash", "-c", given], env={**os.environ, **described}, capture_output=True, text=True, check=True,
            pass_fds=(listener.fileno(),),
        )  # fmt: skip
        assert done.stdout.split() == ["convert", "::1", "5124", str(listener.getsockname()[1]), "False", "False"]


def test_descriptors_meant_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert service.Store().taken_out() == {}
