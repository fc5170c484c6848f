"""`hagw web`: a process without rights that listens where the daemon's file says, and renews its certificate."""

import asyncio
import datetime
import grp
import os
import pwd
import signal
import socket
import ssl
from pathlib import Path
from typing import Final

from hagw.errors import UnsupportedEnvironment
from hagw.log import log_of
from hagw.model.web import NOGROUP, WEB_GROUP
from hagw.web.app import App
from hagw.web.certificate import Certificates, CertificateUnusable, Pair, context_for, fingerprint
from hagw.web.serve import Place, Server, can_open, opened
from hagw.web.settings import Settings, SettingsDamaged, load_settings, settings_file, socket_file, web_state_dir
from hagw.web.static import Files
from hagw.web.upstream import Upstream

STATIC: Final = Path(__file__).with_name("static")
LOOK_S: Final = 1.0
RENEW_LOOK_S: Final = 60.0
NOBODY: Final = 65534

log = log_of("hagw.web")


def run() -> None:
    """Serve until SIGTERM or SIGINT. Raise HagwError when it cannot."""
    state = web_state_dir()
    if os.geteuid() == 0:
        drop_rights(state)
    files = Files(STATIC)
    asyncio.run(_Web(state, files).run())


def drop_rights(state: Path) -> None:
    """Become a user without rights, with the directory for the certificate."""
    try:
        group = grp.getgrnam(WEB_GROUP).gr_gid
    except KeyError:
        group = NOGROUP
    try:
        user = pwd.getpwnam(WEB_GROUP).pw_uid
    except KeyError:
        user = NOBODY
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (state, *state.iterdir()):
            os.chown(path, user, group, follow_symlinks=False)
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as why:
        raise UnsupportedEnvironment(f"The web process cannot give up its rights: {why}.") from why


class _Web:
    """What is listened on now, and why it will be something else."""

    def __init__(self, state: Path, files: Files) -> None:
        self._certificates = Certificates(state)
        self._files = files
        self._told_to_end = asyncio.Event()
        self._pair: Pair | None = None
        self._said = ""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end.set)
        while not self._told_to_end.is_set():
            settings = self._settings()
            if settings is None or not settings.enabled:
                await self._pause(LOOK_S)
                continue
            try:
                await self._serve(settings)
            except CertificateUnusable as why:
                if self._is_new(reason := str(why)):
                    log.warning("certificate cannot be used", reason=reason)
                await self._pause(LOOK_S)

    async def _serve(self, settings: Settings) -> None:
        """Listen as the settings say until they say something else."""
        pair = self._certificates.pair(settings, _now())
        context = context_for(pair)
        sockets, failed = opened(settings)
        if failed and self._is_new(reason := "; ".join(failed.values())):
            log.warning("web cannot listen everywhere", reason=reason)
        upstream = Upstream(socket_file())
        names = (socket.gethostname(), *settings.names)
        app = App(self._files, upstream, names, is_owned=bool(settings.certificate))
        app.fingerprint = fingerprint(pair.certificate)
        log.info("web listens", port=settings.port, sockets=len(sockets), fingerprint=app.fingerprint)
        try:
            async with Server(app, context).listening(sockets):
                await self._until_other(settings, pair, app, context, tuple(failed))
        finally:
            await upstream.close()

    async def _until_other(
        self, settings: Settings, pair: Pair, app: App, context: ssl.SSLContext, failed: tuple[Place, ...]
    ) -> None:
        """Return when it is time to listen anew; a renewed certificate is used without."""
        looked, indices = 0.0, _indices(settings)
        while not self._told_to_end.is_set():
            await self._pause(LOOK_S)
            if self._settings() != settings or _indices(settings) != indices:
                return
            looked += LOOK_S
            if looked < RENEW_LOOK_S:
                continue
            looked = 0.0
            if any(can_open(place, settings.port) for place in failed):
                return
            try:
                found = self._certificates.pair(settings, _now())
                if found != pair:
                    context.load_cert_chain(found.certificate, found.key)
                    pair = found
                    app.fingerprint = fingerprint(pair.certificate)
                    log.info("certificate renewed", fingerprint=app.fingerprint)
            except (CertificateUnusable, OSError) as why:
                if self._is_new(reason := str(why)):
                    log.warning("certificate cannot be used", reason=reason)

    def _settings(self) -> Settings | None:
        try:
            return load_settings(settings_file())
        except SettingsDamaged as why:
            if self._is_new(reason := str(why)):
                log.warning("settings cannot be used", reason=reason)
            return None

    def _is_new(self, reason: str) -> bool:
        """Say whether this is not what was said last: the same is not said each second."""
        was, self._said = self._said, reason
        return was != reason

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._told_to_end.wait()
        except TimeoutError:
            return


def _indices(settings: Settings) -> dict[str, int]:
    """Return the interfaces as they are: one that is made anew needs another socket."""
    there = {name: index for index, name in socket.if_nameindex()}
    return {name: there.get(name, 0) for name in settings.interfaces}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
