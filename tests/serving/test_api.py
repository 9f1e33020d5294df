"""The API's answers: right pictures and documents, and one clear sentence for everything else."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from fastapi import Request
from fastapi.testclient import TestClient

from basrelief.serving import uploads
from basrelief.serving.answers import KINDS
from basrelief.serving.app import make_app
from basrelief.serving.components import find_largest
from basrelief.serving.limits import Limits, RequestError
from hostile import hostile, saved
from serving.served import Held, predictor

GOOD = saved("PNG")
HOSTILE = hostile()
FORM = "multipart/form-data"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(make_app(predictor(), page=False, title="<b>")) as found:
        yield found


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def expected() -> Any:
    return predictor()(opened(GOOD))


def test_bytes_and_forms_are_answered_alike(client: TestClient) -> None:
    bare = client.post("/api/predict", content=GOOD)
    form = client.post("/api/predict", files={"image": ("../../x.svg", GOOD, "text/html")})
    assert bare.status_code == form.status_code == 200
    assert {**bare.json(), "seconds": 0} == {**form.json(), "seconds": 0}


def test_json_tells_size_areas_boxes_and_depth(client: TestClient) -> None:
    found, result = client.post("/api/predict?include=mask,depth", content=GOOD).json(), expected()
    assert (found["width"], found["height"], found["classes"]) == (32, 24, ["figure"])
    assert found["areas"] == {"figure": int(result.mask.sum())}
    assert sum(box["area"] for box in found["boxes"]) == result.mask.sum()
    assert found["depth"]["unit"] == "m"
    assert found["depth"]["mean"] == pytest.approx(result.depth.mean(), abs=1e-4)
    assert set(found["images"]) == {"mask", "depth"}
    assert np.array_equal(opened(base64.b64decode(found["images"]["mask"])) == 255, result.mask)


def test_pictures_have_the_images_size_and_the_predictors_values(client: TestClient) -> None:
    result = expected()
    files = {kind: client.post(f"/api/predict?output={kind}", content=GOOD) for kind in KINDS}
    assert all(answer.headers["content-type"] == "image/png" for answer in files.values())
    assert np.array_equal(opened(files["mask"].content), result.mask * np.uint8(255))
    assert np.abs(opened(files["soft"].content) / 65535 - result.probability).max() < 1e-5
    depth = Image.open(io.BytesIO(files["depth"].content))
    assert np.abs(np.asarray(depth) * float(depth.info["scale"]) - result.depth).max() < 4 / 65535
    assert depth.info["unit"] == "m"
    assert opened(files["cutout"].content).shape == (24, 32, 4)
    assert opened(files["preview"].content).ndim == 3


def test_an_archive_holds_everything(client: TestClient) -> None:
    answer = client.post("/api/predict?output=zip", content=GOOD)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert set(file.namelist()) == {"mask.png", "soft.png", "depth.png", "cutout.png", "preview.png", "result.json"}
        assert json.loads(file.read("result.json"))["width"] == 32


def test_a_threshold_of_ones_own(client: TestClient) -> None:
    mask = opened(client.post("/api/predict?output=mask&threshold=0.3", content=GOOD).content)
    assert np.array_equal(mask == 255, expected().probability > np.float32(0.3))


def test_several_classes_become_numbers_and_colours() -> None:
    with TestClient(make_app(predictor(classes=["a", "b"], thresholds=None), page=False)) as client:
        picture = Image.open(io.BytesIO(client.post("/api/predict?output=mask", content=GOOD).content))
        assert picture.mode == "P"
        assert set(np.unique(np.asarray(picture))) == {0, 1}  # both are as probable: the first one
        assert set(client.post("/api/predict", content=GOOD).json()["areas"]) == {"a", "b"}
        assert client.post("/api/predict?output=preview", content=GOOD).status_code == 200


def test_a_network_without_masks_says_what_it_gives() -> None:
    with TestClient(make_app(predictor(targets=["depth"], heads=["depth"], classes=[]), page=False)) as client:
        assert "areas" not in client.post("/api/predict", content=GOOD).json()
        assert client.post("/api/predict?output=preview", content=GOOD).status_code == 200
        refused = client.post("/api/predict?output=cutout", content=GOOD)
        assert refused.status_code == 422
        assert "this network predicts depth" in refused.json()["error"]
        assert client.get("/api/info").json()["outputs"] == ["json", "depth", "preview", "zip"]


def test_a_background_is_wanted_where_the_network_takes_one() -> None:
    with TestClient(make_app(predictor(background=True), page=False)) as client:
        assert "empty scene" in client.post("/api/predict", content=GOOD).json()["error"]
        both = {"image": GOOD, "background": saved("JPEG", (9, 9), quality=95)}
        assert client.post("/api/predict", files=both).status_code == 200
        broken = client.post("/api/predict", files={**both, "background": b"GIF89a"})
        assert (broken.status_code, broken.json()["error"][:14]) == (415, "The background")


@pytest.mark.parametrize(
    ("path", "options", "status", "says"),
    [
        ("/api/predict", {"files": {"picture": GOOD}}, 422, "'picture'"),
        ("/api/predict", {"files": {"image": GOOD, "background": GOOD}}, 422, "image alone"),
        ("/api/predict", {"data": {"image": "x"}, "files": {"y": b""}}, 422, "field"),
        ("/api/predict", {"files": [("image", GOOD)] * 40}, 400, "Too many files"),
        ("/api/predict", {"files": [("image", (None, b"x"))] * 40}, 400, "Too many fields"),
        ("/api/predict", {"files": {"n" * 100_000: GOOD}}, 400, "form is broken"),
        ("/api/predict", {"content": b"x", "headers": {"content-type": FORM}}, 400, "boundary"),
        ("/api/predict", {"content": b"x" * 50, "headers": {"content-type": f"{FORM}; boundary=y"}}, 400, "broken"),
        ("/api/predict?output=exe", {"content": GOOD}, 422, "output"),
        ("/api/predict?threshold=nan", {"content": GOOD}, 422, "threshold"),
        ("/api/predict?include=<b>", {"content": GOOD}, 422, "include"),
        ("/api/nothing", {"content": GOOD}, 404, "address"),
    ],
)  # fmt: skip
def test_mistakes_get_one_sentence(
    client: TestClient, path: str, options: dict[str, Any], status: int, says: str
) -> None:
    answer = client.post(path, **options)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert says in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_other_methods_and_addresses_are_json_as_well(client: TestClient) -> None:
    assert client.get("/api/predict").status_code == 405
    assert client.delete("/nowhere").status_code == 404
    assert all("error" in client.request("PUT", path).json() for path in ("/api", "/x", "/api/info"))


def test_a_promised_length_is_refused_before_the_body_comes() -> None:
    with TestClient(make_app(predictor(), Limits(max_bytes=1000), page=False)) as client:
        assert client.post("/api/predict", content=bytes(1001)).status_code == 413
        assert client.post("/api/predict", content=iter([bytes(600)] * 2)).status_code == 413  # no length is promised
        assert client.post("/api/predict", files={"image": bytes(1001)}).status_code == 413
        assert client.post("/api/predict", content=b"", headers={"content-length": "9" * 4000}).status_code == 413


def test_uploads_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "memory", 500)
    with TestClient(make_app(predictor(), page=False)) as client:
        answer = client.post("/api/predict", content=bytes(600))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert client.post("/api/predict", content=bytes(400)).status_code == 415  # the first one is held no more


@pytest.mark.parametrize("kind", ["application/octet-stream", "multipart/form-data; boundary=x"])
def test_an_upload_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(uploads, "PATIENCE", 0.02)
    found = uploads.Uploads(Limits())

    async def receive() -> dict[str, Any]:
        first.append(1)
        if len(first) > 1:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"--x\r\n", "more_body": True}

    async def ask() -> None:
        request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}, receive)
        with found.account() as taken:
            await found.read(request, taken)

    first: list[int] = []
    with pytest.raises(RequestError, match="too slow") as caught:
        asyncio.run(ask())
    assert caught.value.status == 408
    assert found.held == 0


def test_a_full_queue_asks_to_come_back_and_those_inside_are_answered() -> None:
    held = Held(predictor())
    with TestClient(make_app(held, Limits(queue=1), page=False)) as client:  # type: ignore[arg-type]
        answers: list[Any] = []
        first = threading.Thread(target=lambda: answers.append(client.post("/api/predict", content=GOOD)))
        first.start()
        assert held.begun.wait(20)
        refused = client.post("/api/predict", content=GOOD)
        held.go.set()
        first.join(20)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert answers[0].status_code == 200
        assert client.post("/api/predict", content=GOOD).status_code == 200


def test_time_over_is_said_and_what_nobody_waits_for_is_given_up() -> None:
    held = Held(predictor(tile=16))
    with TestClient(make_app(held, Limits(seconds=0.05), page=False)) as client:  # type: ignore[arg-type]
        late = [client.post("/api/predict", content=GOOD) for _ in range(4)]
        held.go.set()
        assert [answer.status_code for answer in late] == [504] * 4
        assert "0.05 seconds" in late[0].json()["error"]
    assert held.calls == 2  # two threads were at work; the others were dropped before they began
    assert held.rows < 2 * 24  # and those two ended at their first rows


def test_a_fault_of_ours_shows_nothing_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    broken: Any = _Broken(predictor())
    with TestClient(make_app(broken, page=False), raise_server_exceptions=False) as client:
        answer = client.post("/api/predict", content=GOOD)
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert "secret" not in answer.text
    assert "Traceback" not in capfd.readouterr().err


class _Broken:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def bands(self, *_: Any) -> Any:
        raise ZeroDivisionError("secret")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads_leave_the_server_well(client: TestClient, name: str) -> None:
    data, status = HOSTILE[name]
    answer = client.post("/api/predict", files={"image": data})
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert client.get("/api/health").json() == {"status": "ok"}


def test_the_handbook_needs_nothing_from_elsewhere_and_escapes_names(client: TestClient) -> None:
    page = client.get("/api")
    assert page.headers["content-type"].startswith("text/html")
    assert "&lt;b&gt;" in page.text
    assert "<b>" not in page.text
    assert not re.search(r"(src|href)=|<script|@import|url\(", page.text)
    assert client.get("/").url.path == "/api"  # without a page for people
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert "/api/predict" in client.get("/openapi.json").json()["paths"]


def test_info_tells_no_path(client: TestClient) -> None:
    facts = client.get("/api/info").json()
    assert facts["limits"]["pixels"] == 40_000_000
    assert facts["classes"] == ["figure"]
    assert "/" not in json.dumps({**facts, "versions": 0})


def test_the_largest_parts_of_a_mask_of_noise() -> None:
    labels = np.random.default_rng(0).choice([0, 0, 0, 0, 0, 0, 1, 2], (200, 300))
    labels[20:60, 30:90] = 1
    soft = np.stack([labels == 1, labels == 2]) * np.uint16(65535)
    found, total = find_largest(labels, soft, ["a", "b"], 5)
    assert len(found) == 5
    assert total > 1000
    assert found[0]["class"] == "a"
    assert found[0]["score"] == 1
    x, y, width, height = found[0]["box"]
    assert x <= 30
    assert y <= 20
    assert x + width >= 90
    assert y + height >= 60
    assert [part["area"] for part in found] == sorted((part["area"] for part in found), reverse=True)
    assert find_largest(np.zeros((4, 4), int), np.zeros((1, 4, 4), np.uint16), ["a"], 5) == ([], 0)
