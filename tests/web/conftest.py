"""Fixtures: headless Chromium (Debian's), the mock server, and a page that has watched itself for trouble."""
import os
import pathlib
import shutil
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import mock_server  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCREENS = pathlib.Path(os.environ.get("THROUGHLINE_SCREENS", ROOT / "build" / "web-screens"))
PUZZLE = "ab bd ca de ec;au8;24bu0"
FINISHED = ("() => { const all = [...document.querySelectorAll('.answer')]; return all.length > 0 && "
            "all.every((a) => ['done', 'failed'].includes(a.dataset.state)); }")


@pytest.fixture(scope="session")
def browser():
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def serve():
    servers = []

    def start(**options):
        servers.append(mock_server.serve(**{"speed": 400, **options}))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Visit:
    """A browser page on a server, with what the tests do again and again. The page's CSP forbids evaluating strings, so
    waiting is polling from here."""

    def __init__(self, page, address):
        self.page, self.address = page, address
        self.errors, self.hosts = [], set()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and self.errors.append(line.text))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def open(self):
        self.page.goto(self.address)
        self.page.wait_for_selector(".welcome .preset")
        return self

    def until(self, script, timeout_s=30, argument=None):
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            value = self.page.evaluate(script, argument)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout_s} s: {script}")

    def preset(self, name):
        self.page.locator(".welcome .preset", has_text=name).first.click()

    def ask(self, text=PUZZLE, wait=True):
        self.page.fill("#prompt", text)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(".answer")
        if wait:
            self.until(FINISHED)
            self.settle()

    def settle(self):
        """Two frames and the strip's own delay."""
        self.page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 300))")

    def shot(self, name, whole=False):
        SCREENS.mkdir(parents=True, exist_ok=True)
        if whole:  # the talk scrolls inside the window: make the window as tall as the talk
            size = self.page.viewport_size
            height = self.page.evaluate("() => { const last = document.querySelector('.turn:last-child'); if (last) last.style.minHeight = '0';"
                                        " return document.getElementById('talk').scrollHeight + 56; }")
            self.page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
            self.page.evaluate("() => document.getElementById('talk').scrollTo(0, 0)")
            self.settle()
        self.page.screenshot(path=str(SCREENS / f"{name}.png"))


@pytest.fixture
def visit(browser, serve):
    contexts = []

    def start(server=None, settings=None, phone=False, theme="light", width=1360, height=900, address=None, **options):
        server = server or (None if address else serve(**options))
        size = {"width": 390, "height": 844} if phone else {"width": width, "height": height}
        context = browser.new_context(viewport=size, device_scale_factor=2 if phone else 1, is_mobile=phone, has_touch=phone, color_scheme=theme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        if settings is not None:
            page.add_init_script("localStorage['throughline.settings'] ??= JSON.stringify(%s)" % __import__("json").dumps(settings))
        visit = Visit(page, address or f"http://127.0.0.1:{server.server_port}/")
        visit.server = server
        return visit

    yield start
    for context in contexts:
        context.close()


def spec(method, **options):
    return {"method": method, "options": {name: str(value) for name, value in options.items()}}
