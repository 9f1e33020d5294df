"""The files of the page: what comes is bounded, and no request reads another file or has an address fetched."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra 'serve' is not installed")
from fastapi.testclient import TestClient

from basrelief.serving.app import make_app
from basrelief.serving.limits import Limits
from basrelief.serving.page import VISITORS, forget_unread
from basrelief.serving.page_files import MOST_JSON, Shelf, own_files
from basrelief.serving.page_results import KEEP
from hostile import saved
from serving.served import predictor

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:gradio"),  # of how it calls its own libraries
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
]
GOOD = saved("PNG")
META = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(make_app(predictor(), Limits(max_bytes=100_000))) as found:
        yield found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a web server that Gradio holds for a public one, and what it was asked."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(GOOD)

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.setattr("gradio.processing_utils.PUBLIC_HOSTNAME_WHITELIST", ["127.0.0.1"])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


def upload(client: TestClient, data: bytes = GOOD) -> Any:
    return client.post("/gradio_api/upload", files={"files": ("../../a.svg", data, "image/svg+xml")})


def ask(client: TestClient, picture: Any, session: str = "abc") -> Any:
    """Return the answer to an image that the page hands in, or why it is refused."""
    event = next(one for one in client.get("/config").json()["dependencies"] if one["targets"][0][1] == "input")
    data = [picture, *[None] * (len(event["inputs"]) - 1)]
    joined = client.post(
        "/gradio_api/queue/join", json={"data": data, "fn_index": event["id"], "session_hash": session}
    )
    if joined.status_code != 200:
        return joined
    lines = client.get("/gradio_api/queue/data", params={"session_hash": session}).text.splitlines()
    messages = [json.loads(line.removeprefix("data:")) for line in lines if line]
    return next(one["output"] for one in messages if one["msg"] == "process_completed")


def test_an_uploaded_file_is_predicted(client: TestClient) -> None:
    (path,) = upload(client).json()
    assert Path(path).name == "upload.png"  # by what it is, not by what somebody calls it
    shown = ask(client, {"path": path, "url": "http://127.0.0.1:1/", "orig_name": "a.png", **META})["data"]
    assert [one["path"].endswith(".png") for one in shown if isinstance(one, dict) and "path" in one] == [True, True]


@pytest.mark.parametrize("extra", [META, {}, {"is_stream": True, **META}])
def test_no_request_has_an_address_fetched(
    client: TestClient, asked: tuple[str, list[str]], extra: dict[str, Any]
) -> None:
    address, paths = asked
    for file in ({"path": f"{address}/a.png"}, {"path": "", "url": f"{address}/b.png"}, {"path": [address]}):
        assert ask(client, file | extra).status_code == 403
        assert ask(client, [{"deep": file | extra}]).status_code == 403
    assert client.get(f"/gradio_api/file={address}/c.png").status_code == 404
    assert client.get(f"/gradio_api/proxy={address}/d.png").status_code == 404
    assert paths == []


def test_no_request_reads_another_file_of_the_machine(client: TestClient, tmp_path: Path) -> None:
    own = Path(upload(client).json()[0])
    (tmp_path / "mine.png").write_bytes(GOOD)
    (tmp_path / "mine.svg").write_text("<svg/>")
    (own.parent / "way").symlink_to(tmp_path)
    for path in (
        tmp_path / "mine.png", tmp_path / "mine.svg", own.parent / ".." / ".." / ".." / "etc" / "hostname",
        own.parent / "way" / "mine.png", "/dev/zero", "mine.png", "", ".", f"{own}\0", "x" * 100_000, 7,
        own.parent.parent,
    ):  # fmt: skip
        refused = ask(client, {"path": path if isinstance(path, int) else str(path), **META})
        assert refused.status_code in (403, 413), path
    assert client.get(f"/gradio_api/file={tmp_path}/mine.svg").status_code == 403
    assert not [one for one in own.parent.parent.rglob("mine.*") if "way" not in one.parts]


def test_beside_the_page_the_api_refuses_in_its_own_way(client: TestClient) -> None:
    for method, path, status in (
        ("GET", "/api/predict", 405),
        ("OPTIONS", "/api/predict", 405),
        ("POST", "/api/predict/", 404),
        ("POST", "/api/queue/join", 404),
        ("GET", "/api/", 404),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, list(answer.json())) == (status, ["error"]), path
    assert client.head("/api/health").status_code == 200


def test_pages_of_other_sites_may_not_read_it(client: TestClient) -> None:
    headers = {"Origin": "http://evil.example", "Host": "192.168.1.5:7860", "Access-Control-Request-Method": "POST"}
    for method, path, status in (("GET", "/config", 200), ("GET", "/", 200), ("OPTIONS", "/gradio_api/upload", 403)):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == status
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_file_that_has_gone_is_asked_for_once_more(client: TestClient) -> None:
    path = Path(upload(client).json()[0])
    path.unlink()
    assert "Drop the image once more" in ask(client, {"path": str(path), **META})["data"][0]


def test_what_the_page_asks_is_small_and_json(client: TestClient) -> None:
    join = "/gradio_api/queue/join"
    assert client.post(join, content=b" " * (MOST_JSON + 1)).status_code == 413
    assert client.post(join, content=iter([b" " * MOST_JSON] * 2)).status_code == 413
    assert client.post(join, content=b"{").status_code == 400
    assert client.post(join, content=b"[" * 60_000).status_code == 400
    assert client.post("/gradio_api/upload/", files={"files": GOOD}).status_code == 400  # Gradio's own is not reached


def test_answers_that_nobody_fetches_are_forgotten(client: TestClient) -> None:
    work = client.app.state.service.work  # type: ignore[attr-defined]
    event = next(one for one in client.get("/config").json()["dependencies"] if one["targets"][0][1] == "input")
    page = next(
        route.app.get_blocks() for route in client.app.routes if hasattr(getattr(route, "app", 0), "get_blocks")
    )  # type: ignore[attr-defined]
    waiting = page._queue.pending_messages_per_session
    for session in ("one", "two", "two"):
        body = {"data": [None] * len(event["inputs"]), "fn_index": event["id"], "session_hash": session}
        assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    while waiting["one"].qsize() < 3 or waiting["two"].qsize() < 6 or work.busy:
        client.get("/api/health")
    forget_unread(page, 5)
    assert "two" not in waiting
    assert waiting["one"].qsize() == 3
    assert page.state_session_capacity == VISITORS


def test_an_upload_is_bounded_and_refused_in_words(client: TestClient) -> None:
    heavy = upload(client, bytes(200_000))
    assert (heavy.status_code, "at most 100,000" in heavy.text) == (413, True)
    two = client.post("/gradio_api/upload", files=[("files", GOOD)] * 2)
    assert (two.status_code, "Too many files" in two.text) == (400, True)
    assert client.post("/gradio_api/upload", files={"other": GOOD}).status_code == 422
    assert (
        client.post("/gradio_api/upload", files={"files": GOOD}, headers={"content-length": "9999999"}).status_code
        == 413
    )


def test_own_files_keeps_all_but_addresses(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 100)
    document = {"data": [{"path": f"{tmp_path}/x/../y.png", "url": "http://x"}, 1.5, None, "http://x", {"path": None}]}
    kept = {"data": [{"path": f"{tmp_path.resolve()}/y.png"}, 1.5, None, "http://x", {"path": None}]}
    assert json.loads(own_files(json.dumps(document).encode("utf-16"), shelf)) == kept


def test_the_oldest_files_make_room_and_examples_stay(tmp_path: Path) -> None:
    (tmp_path / "example-1.png").write_bytes(bytes(1000))
    shelf = Shelf(tmp_path, 100, most_files=4)
    files = []
    for age, size in ((9, 40), (8, 40), (7, 10), (6, 60)):
        files.append(shelf.put("a.png", bytes(size)))
        os.utime(files[-1].parent, (0, files[-1].stat().st_mtime - age))
    shelf.make_room()
    assert [file.exists() for file in files] == [False, False, True, True]
    files += [shelf.put("b.png", b"") for _ in range(4)]
    assert [file.exists() for file in files] == [False] * 4 + [True] * 4
    alone = shelf.put("large.zip", bytes(500))  # the newest stays, however large it is
    assert [file.exists() for file in (*files, alone)] == [False] * 8 + [True]
    os.utime(alone.parent, (0, alone.stat().st_mtime - KEEP - 1))
    shelf.make_room()
    assert [one.name for one in tmp_path.iterdir()] == ["example-1.png"]
