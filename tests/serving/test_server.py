"""A real server process: 200 requests at once, twenty of them hostile; how it starts and how it stops."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
import basrelief as br
from basrelief.app_share import serve
from basrelief.data.decode import Blob, read_image
from basrelief.errors import MissingExtraError
from commands import run as command
from hostile import hostile, laden, saved
from support import write_folder

MIB = 1 << 20


@dataclass
class Server:
    """A server process and where it listens."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]

    @property
    def port(self) -> int:
        return int(self.facts["api"].split(":")[2].split("/")[0])

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def settles(self, before: int) -> bool:
        """Return whether memory comes back to within a tenth of what it was; it is given back when all is quiet."""
        end = time.monotonic() + 30
        while abs(self.memory() / before - 1) > 0.1:
            if time.monotonic() > end:
                return False
            threading.Event().wait(0.05)
        return True

    @property
    def bearer(self) -> str:
        return f"Bearer {self.facts['token']}"

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        headers = {"Authorization": self.bearer, **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    @contextlib.contextmanager
    def raw(self, *parts: bytes) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            for part in parts:
                connection.sendall(part)
            yield connection


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("serve")
    data = write_folder(root / "data")
    br.train(data, out=root / "run", loss="bce", network="masknet", resolution=32, epochs=1, device="cpu")
    return root / "run"


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    words = [sys.executable, "-m", "basrelief.cli", "serve", str(run), "--no-page", "--port", "0", "--tile", "none"]
    process = subprocess.Popen(
        [*words, "--json", "--token", "auto"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            text += line
        yield Server(process, json.loads(text))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def good_pictures() -> list[bytes]:
    kinds = [("PNG", (24, 32)), ("JPEG", (40, 30)), ("WEBP", (64, 50)), ("BMP", (33, 47)), ("PNG", (300, 200))]
    return [saved(kind, size, seed) for seed, (kind, size) in enumerate(kinds)]


def hostile_requests(server: Server, done: threading.Event) -> list[Callable[[], None]]:
    """Return twenty requests that ask for trouble; those that hang do so until all others are done."""

    def upload(data: bytes, status: int) -> None:
        code, body = server.ask("/api/predict", data)
        assert code == status, body[:200]
        assert list(json.loads(body)) == ["error"]

    def hang(*parts: bytes) -> None:
        with server.raw(*parts):
            assert done.wait(60)

    def leave(*parts: bytes) -> None:
        with server.raw(*parts):
            pass

    def speak(*parts: bytes, says: bytes) -> None:
        with server.raw(*parts) as connection, contextlib.suppress(ConnectionResetError):
            assert connection.recv(1000).startswith(says)

    head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: {server.bearer}\r\n".encode()
    files = list(hostile().values())
    chosen = [files[place] for place in (1, 3, 5, 7, 8, 10, 13, 15, 18, 19, 21)]
    boundary = b"Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [
        *(lambda data=data, status=status: upload(data, status) for data, status in chosen),
        lambda: upload(bytes(33 * MIB), 413),
        lambda: hang(head),  # slow head
        lambda: hang(head + b"Content-Length: 1000\r\n\r\n", saved("PNG")[:500]),  # slow body
        lambda: leave(head + b"Content-Length: 90000000000\r\n\r\n", b"x"),  # a length that never comes
        lambda: leave(head + b"Content-Length: 5000\r\n\r\n", saved("PNG")),  # gone in the middle
        lambda: leave(head + b"Content-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD)),  # gone before the answer
        lambda: speak(b"\x16\x03\x01" + bytes(range(256)), says=b"HTTP/1.1 400"),  # no HTTP
        lambda: speak(head + b"X: " + b"x" * 100_000, says=b"HTTP/1.1 400"),  # an endless head
        lambda: hang(head + boundary, b"3\r\n--x\r\n"),  # an endless form
    ]


GOOD = good_pictures()[0]
LARGE = saved("JPEG", (2000, 3000))


def test_two_hundred_requests_at_once_of_which_twenty_are_hostile(server: Server, run: Path) -> None:
    predictor = br.load_predictor(run, device="cpu", tile="none")
    pictures = good_pictures()
    expected = [predictor(read_image(Blob("x", data))).probability for data in pictures]

    def good(number: int) -> None:
        status, body = server.ask("/api/predict?output=soft", pictures[number % len(pictures)])
        assert status == 200, body[:200]
        soft = np.asarray(Image.open(io.BytesIO(body))) / 65535
        assert np.abs(soft - expected[number % len(pictures)]).max() < 1e-4

    for number in range(20):  # what is loaded at first use is there
        good(number)
    before = server.memory()
    done = threading.Event()
    with ThreadPoolExecutor(200) as pool:
        bad = [pool.submit(job) for job in hostile_requests(server, done)]
        assert len(bad) == 20
        fine = [pool.submit(good, number) for number in range(180)]
        for future in fine:
            future.result(60)
        done.set()
        for future in bad:
            future.result(60)
    for data in laden().values():
        assert server.ask("/api/predict", data)[0] == 200
    good(0)
    assert server.settles(before)


def test_a_large_picture_gives_its_memory_back(server: Server) -> None:
    assert server.ask("/api/predict?output=mask", GOOD)[0] == 200
    before = server.memory()
    for kind in ("mask", "json"):
        assert server.ask(f"/api/predict?output={kind}", LARGE)[0] == 200
    assert server.settles(before)


def test_the_token_is_made_printed_and_asked_for(server: Server, tmp_path: Path) -> None:
    token = server.facts["token"]
    assert len(token) >= 20
    assert server.facts["url"].endswith(f"/?token={token}")
    assert server.ask("/api/predict", GOOD, Authorization="")[0] == 401
    assert server.ask("/api/health", Host="evil.example")[0] == 400
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "ask_server.py"))
    (tmp_path / "a.png").write_bytes(GOOD)
    address = server.facts["url"].split("/?")[0]
    assert example["ask"](address, tmp_path / "a.png", token=token).startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="wants a token"):
        example["ask"](address, tmp_path / "a.png")


def test_told_to_stop_it_answers_what_is_at_work_and_has_said_little(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(server.ask, "/api/predict?output=json", LARGE)
        while not _connected(server):
            pass
        server.process.send_signal(signal.SIGINT)
        _, said = server.process.communicate(timeout=60)
        assert last.result(60)[0] == 200
    assert server.process.returncode == 0
    assert "Traceback" not in said
    assert said.endswith("Stopped serving.\n")
    assert len(said.splitlines()) < 40
    assert max(map(len, said.splitlines())) < 400


def _connected(server: Server) -> bool:
    return any(c.status == psutil.CONN_ESTABLISHED for c in psutil.Process(server.process.pid).net_connections())


def test_mistakes_end_in_one_message(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, said = command(capsys, "serve", run, "--port", port)
        assert (code, f"--port {port}: another program listens there" in said) == (2, True)
    for words, says in (
        (["--host", "no.such.name.invalid"], "--host no.such.name.invalid"),
        (["--host", "203.0.113.7"], "--host 203.0.113.7"),
        (["--token", "short"], "--token"),
        (["--token", "with space and ü"], "--token"),
        (["--queue", "0"], "--queue 0"),
        (["--timeout", "nan"], "--timeout nan"),
        (["--max-pixels", "-1"], "--max-pixels"),
        (["--threshold", "half"], "--threshold half"),
    ):
        code, _, said = command(capsys, "serve", run, "--port", 0, *words)
        assert (code, says in said) == (2, True), said
    code, _, said = command(capsys, "serve", tmp_path, "--port", 0)
    assert code in (1, 2)
    assert str(tmp_path) in said


def test_serving_the_whole_network_without_a_token_is_warned_of(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basrelief.serving.server.run_server", lambda _app, _listener, started: started())
    told: list[dict[str, Any]] = []
    for host, token in (("0.0.0.0", None), ("0.0.0.0", "long-enough"), ("127.0.0.1", None), ("127.0.0.2", None)):
        serve(run, host=host, port=0, token=token, page=False, device="cpu", started=told.append)
    assert [facts["warning"] is not None for facts in told] == [True, False, False, False]
    assert "whoever reaches this machine" in told[0]["warning"]
    assert told[1]["url"].endswith("/?token=long-enough")


def test_without_the_extra_it_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in [name for name in sys.modules if name.startswith("basrelief.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"pip install .basrelief\[serve\]") as caught:
        serve(run)
    assert "'fastapi'" in str(caught.value)
