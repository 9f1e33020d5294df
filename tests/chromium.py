"""A browser that tests click, type and print in: Chromium without a window, spoken to over a pipe.

The events are the browser's own, not made by a script in the page, so that a slider moves as it does under a hand.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe --window-size=1280,900"
)
# Chromium reads commands from file descriptor 3 and writes to 4.
START = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
KEYS = {"Home": 36, "End": 35, "ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, " ": 32}
UNTIL = """new Promise((done) => {
  const end = Date.now() + 30000;
  const look = () => ((%s) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 10));
  look();
})"""


class Browser:
    """One page in one browser; ``errors`` are what its console and its scripts complained of.

    ``requests`` are the addresses that it asked for, of all pages since the browser began.
    """

    def __init__(self, folder: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [sys.executable, "-c", START, str(to_browser), str(from_browser), str(CHROMIUM), *FLAGS.split()]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._number, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to one command of the DevTools protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str, until: str = "document.documentElement.dataset.ready") -> None:
        """Load a page and wait until an expression is true in it: by default, until a report's scripts drew it."""
        self.errors.clear()
        self._events.clear()
        self.call("Page.navigate", url="about:blank")  # another fragment alone would load nothing
        self._wait_for("Page.loadEventFired")
        self.call("Page.navigate", url=address)
        self._wait_for("Page.loadEventFired")
        self.wait(until)

    def wait(self, until: str) -> None:
        """Wait until an expression in the page is true; half a minute at most."""
        assert self.run(UNTIL % until) is True, f"not within half a minute: {until}"

    def wait_until(self, there: Callable[[], object]) -> None:
        """Wait until something outside the page is true, such as that a file was written; half a minute at most."""
        end = time.monotonic() + 30
        while not there():
            assert time.monotonic() < end, "not within half a minute"
            self.run("new Promise((done) => setTimeout(done, 10))")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show pages as a window of this size does, a narrow one as a phone; ``dark`` as its owner prefers them so."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def upload(self, selector: str, file: Path) -> None:
        """Choose a file in a file input."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=[str(file)], objectId=node["result"]["objectId"])

    def screenshot(self, *, whole: bool = False) -> bytes:
        """Return the window, or the whole page, as a PNG."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(taken["data"])

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; a promise's when it is there."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def place(self, selector: str) -> tuple[float, float, float, float]:
        """Return left, top, width and height of the first such element, scrolled into view."""
        found = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({ block: 'center' }); const box = one.getBoundingClientRect();"
            "return [box.left, box.top, box.width, box.height]; })()"
        )
        left, top, width, height = found
        return left, top, width, height

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        left, top, width, height = self.place(selector)
        at = {"x": left + width / 2, "y": top + height / 2, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one point, move to another, and let go."""
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **held)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], **held)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **held)

    def press(self, key: str) -> None:
        """Press and let go of a key."""
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def print(self) -> bytes:
        """Return the page as a PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def _wait_for(self, event: str) -> None:
        while event not in self._events:
            self._receive()
        self._events.clear()

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser ended"
            self._rest += part
        one, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(one)
        method, params = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(" ".join((params["entry"]["text"], params["entry"].get("url", ""))))
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"])[:500])
        return message
