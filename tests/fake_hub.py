"""A hub on this machine, for tests: the few addresses that huggingface_hub asks for, and what it was sent."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huggingface_hub import constants

TOKEN = "hf_right"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Repositories by name, each its files by name; ``asked`` has the method and path of every request."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.commits: list[dict[str, Any]] = []
        self.created: list[dict[str, Any]] = []
        self.asked: list[str] = []


@contextmanager
def fake_hub(monkeypatch: pytest.MonkeyPatch, cache: Any) -> Iterator[FakeHub]:
    """Point huggingface_hub at a fake of its own, with an empty cache and no token on this machine."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def give(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            if "/resolve/" not in self.path:
                self.answer(404 if self.path != "/" else 200)
                return
            owner, name, _, revision, file = self.path.strip("/").split("/", 4)
            repo = f"{owner}/{name}"
            allowed = repo not in hub.private or self.headers.get("authorization") == f"Bearer {TOKEN}"
            if repo not in hub.files or not allowed:
                self.answer(401, X_Error_Code="RepoNotFound")
            elif revision not in ("main", COMMIT):
                self.answer(404, X_Error_Code="RevisionNotFound")
            elif file not in hub.files[repo]:
                self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            else:
                body = hub.files[repo][file]
                etag = hashlib.sha1(body).hexdigest()
                self.answer(200, body, ETag=f'"{etag}"', X_Repo_Commit=COMMIT, Content_Length=str(len(body)))

        do_GET = do_HEAD = give  # noqa: N815 - http.server's names

        def do_POST(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("authorization") != f"Bearer {TOKEN}" and "validate" not in self.path:
                self.answer(401, b'{"error": "Invalid username or password."}')
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                hub.created.append(asked)
                address = f"{constants.ENDPOINT}/{asked.get('organization', 'ada')}/{asked['name']}"
                self.answer(200, json.dumps({"url": address}).encode())
            elif self.path == "/api/validate-yaml":
                self.answer(200, b'{"errors": [], "warnings": []}')
            elif "/preupload/" in self.path:
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                self.answer(200, json.dumps({"files": files}).encode())
            elif "/commit/" in self.path:
                lines = [json.loads(line) for line in body.splitlines()]
                repo = self.path.removeprefix("/api/models/").partition("/commit/")[0]
                hub.commits.append(lines[0]["value"])
                kept = hub.files.setdefault(repo, {})
                for line in lines[1:]:
                    kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                answer = {
                    "success": True,
                    "commitOid": COMMIT,
                    "commitUrl": f"{constants.ENDPOINT}/{repo}/commit/{COMMIT}",
                }
                self.answer(200, json.dumps(answer).encode())
            else:
                self.answer(404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}", cache)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def point_at(monkeypatch: pytest.MonkeyPatch, address: str, cache: Any) -> None:
    """Let huggingface_hub ask another address, with another cache and no token."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
