"""A pretended gateway with its admin page, and Debian's Chromium to look at it."""

import contextlib
import functools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.pretended import Pretended, environment, pretended

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
ARTEFACTS = Path(os.environ.get("HAGW_ARTEFACTS") or ROOT / ".lab" / "web")  # screenshots stay there
PASSWORD = "a gateway is no secret 7"
PATIENCE_MS = 20_000
START_S = 30.0
CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")
SIZES = {"wide": (1400, 1000), "phone": (390, 844)}
Scheme = Literal["light", "dark"]


@functools.cache
def axe_core() -> str:
    """Return axe's script, which comes with what the page is built with."""
    if not AXE.exists():
        subprocess.run(
            ["npm", "install", "--no-save", "--no-audit", "--no-fund"],
            cwd=ROOT / "web",
            check=True,
            capture_output=True,
        )
    return AXE.read_text()


@dataclass(frozen=True)
class Site:
    """Where the page is, and the daemon behind it."""

    directory: Path
    url: str
    first_password: str


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """Make a directory that a process without rights can look into: pytest's own are for their owner only."""
    with tempfile.TemporaryDirectory(prefix="hagw-web.") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def served(
    *options: str, role: str = "cpe", edit: Callable[[str], str] = str, past: Callable[[Path], None] | None = None
) -> Iterator[tuple[Site, Pretended]]:
    """Run the daemon, pretended, and `hagw web`; `edit` the example it runs, write a `past` to its state directory."""
    with room() as directory:
        if past is not None:
            past(directory / "state")
        with _served(directory, free_port(), role, edit, *options) as found:
            yield found


@contextlib.contextmanager
def _served(
    directory: Path, port: int, role: str, edit: Callable[[str], str], *options: str
) -> Iterator[tuple[Site, Pretended]]:
    config = directory / "hagw.yaml"
    config.write_text(edit((ROOT / "hagw" / "pretend" / f"{role}.yaml").read_text()) + f"\nweb:\n  port: {port}\n")
    with pretended(directory, "--config", str(config), *options, rights=()) as daemon, web(directory, port) as url:
        yield Site(directory, url, password_of(directory)), daemon


def password_of(directory: Path) -> str:
    """Return the first password, as `hagw web-password` reads it."""
    return (directory / "state" / "web-password").read_text().split()[-1]


@contextlib.contextmanager
def web(directory: Path, port: int) -> Iterator[str]:
    """Run `hagw web` until the block ends; yield its address."""
    own = {**environment(directory), "HAGW_WEB_STATE_DIR": str(directory / "web")}
    command = (sys.executable, "-P", "-m", "hagw", "web")
    with (directory / "web.log").open("ab") as log:
        process = subprocess.Popen(command, env=own, stdout=log, stderr=log)
    url = f"https://localhost:{port}/"
    try:
        _await(url, process, directory)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _await(url: str, process: "subprocess.Popen[bytes]", directory: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5, context=context):
                return
        except OSError:
            said = (directory / "web.log").read_text()[-3000:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    found = shutil.which("chromium")
    assert found is not None, "these tests need Debian's chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(CHROMIUM))
        yield browser
        browser.close()


class Visitor:
    """One person at a browser. Whatever the page complains about in the console is collected."""

    def __init__(self, browser: Browser, site: Site, size: str = "wide", scheme: Scheme = "light") -> None:
        width, height = SIZES[size]
        self.site = site
        self.context: BrowserContext = browser.new_context(
            ignore_https_errors=True,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self._hear(said.type, said.text))

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text and "net::ERR" not in text:
            self.complaints.append(text)

    def log_in(self, user: str = "admin", password: str = PASSWORD) -> None:
        """Log in and wait for the overview."""
        self.page.goto(self.site.url)
        self.log_in_here(user, password)

    def log_in_here(self, user: str = "admin", password: str = PASSWORD) -> None:
        """Log in where the page asks for it."""
        self.page.get_by_label("User").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("navigation", name="Pages")).to_be_attached()

    def enter(self, user: str = "admin", password: str = "") -> None:
        """Log in for the first time ever, and choose a password as everybody must."""
        first = password or self.site.first_password
        page = self.page
        page.goto(self.site.url)
        page.get_by_label("User").fill(user)
        page.get_by_label("Password").fill(first)
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("Password you came with").fill(first)
        page.get_by_label("New password", exact=True).fill(PASSWORD)
        page.get_by_label("New password again").fill(PASSWORD)
        page.get_by_role("button", name="Save and go on").click()
        expect(page.get_by_role("navigation", name="Pages")).to_be_attached()

    def go(self, page: str) -> Page:
        """Go to a page of the shell."""
        self.page.goto(f"{self.site.url}#/{page}")
        return self.page

    def axe(self) -> list[str]:
        """Return what axe-core finds wrong on the page as it is."""
        # As the debugger does it: the page's own policy allows no foreign script.
        session = self.context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": axe_core()})
        found: dict[str, Any] = self.page.evaluate("axe.run()")
        return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found["violations"]]

    def picture(self, name: str) -> None:
        """Keep a screenshot."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")

    def leave(self) -> None:
        """Close the window."""
        self.context.close()
