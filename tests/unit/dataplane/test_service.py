"""What a worker tells systemd."""

import os
import socket
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
