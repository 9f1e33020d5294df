"""Who may ask: tokens, names of the server, and what other sites make a browser send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi.testclient import TestClient

from basrelief.serving import guard
from basrelief.serving.app import make_app
from hostile import saved
from serving.served import predictor

TOKEN = "right-token_1"
GOOD = saved("PNG")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(make_app(predictor(), token=TOKEN, page=False), base_url="http://127.0.0.1:7860") as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/api", "/api/info", "/openapi.json", "/nowhere", "/?token=wrong", "/?token="])
def test_without_the_token_nothing_is_told(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 401
    assert "Bearer" in answer.json()["error"]
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}x"},
     {"Cookie": f"basrelief={TOKEN}"}, {"Cookie": "=;=;\"bad"}, {"Authorization": b"Bearer \xff\xfe"}],
)  # fmt: skip
def test_wrong_tokens_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/predict", content=GOOD, headers=headers).status_code == 401


def test_the_token_is_taken_as_header_or_in_the_address(client: TestClient) -> None:
    assert client.post("/api/predict", content=GOOD, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.post(f"/api/predict?token={TOKEN}", content=GOOD).status_code == 200
    assert client.get(f"/api/info?token={TOKEN}").status_code == 200
    assert client.get("/api/health").status_code == 200


def test_a_browser_carries_the_token_on_in_a_cookie_and_not_in_the_address(client: TestClient) -> None:
    first = client.get(f"/api?token={TOKEN}&a=b", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/api?a=b")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite=strict" in first.headers["set-cookie"]
    assert client.get("/api").status_code == 200  # by the cookie


@pytest.mark.parametrize("path", ["//evil.example", "///evil.example", "/\\evil.example", "/%2f%2fevil.example"])
def test_the_way_on_leads_to_no_other_site(client: TestClient, path: str) -> None:
    answer = client.get(f"http://127.0.0.1:7860{path}?token={TOKEN}", follow_redirects=False)
    place = answer.headers.get("location", "/x")
    assert place[0] == "/"
    assert place[1] not in "/\\"


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:7860", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:7860", 200), ("[::1]", 200),
     ("evil.example", 400), ("127.0.0.1.evil.example:7860", 400), ("", 400), ("localhost:80:80", 400)],
)  # fmt: skip
def test_a_name_pointed_at_this_machine_is_turned_away(host: str, status: int) -> None:
    app = make_app(predictor(), hosts=("localhost", "127.0.0.1", "[::1]"), page=False)
    with TestClient(app) as client:
        assert client.get("/api/health", headers={"host": host}).status_code == status


def test_pages_of_other_sites_may_not_ask() -> None:
    with TestClient(make_app(predictor(), page=False)) as client:
        for site in ("cross-site", "same-site"):
            answer = client.post("/api/predict", content=GOOD, headers={"Sec-Fetch-Site": site})
            assert answer.status_code == 403
        assert client.post("/api/predict", content=GOOD, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
        assert "access-control-allow-origin" not in client.get("/api/info", headers={"Origin": "http://x"}).headers


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("http://192.168.1.5", 403), ("http://192.168.1.5:7860", 200)],
)
def test_nor_where_browsers_tell_the_origin_alone(origin: str, status: int) -> None:
    with TestClient(make_app(predictor(), page=False), base_url="http://192.168.1.5:7860") as client:
        assert client.post("/api/predict", content=GOOD, headers={"Origin": origin}).status_code == status


def test_a_body_that_stops_ends_for_the_page_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.01)
    parts = [{"type": "http.request", "body": b"x", "more_body": True}]
    seen: list[str] = []

    async def receive() -> Any:
        return parts.pop() if parts else await asyncio.Event().wait()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": [], "query_string": b""}
    asyncio.run(guard.Guard(app)(scope, receive, None))  # type: ignore[arg-type]
    assert seen == ["http.request", "http.disconnect"]
