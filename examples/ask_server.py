"""Ask a server (basrelief serve RUN) for the mask of a picture; Python alone is needed."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path


def ask(url: str, picture: Path, query: str = "output=mask", token: str = "") -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{url}/api/predict?{query}", picture.read_bytes(), headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:  # its body is one sentence that says what to do
        raise SystemExit(json.load(error)["error"]) from None


if __name__ == "__main__":
    Path("mask.png").write_bytes(ask(sys.argv[1].rstrip("/"), Path(sys.argv[2])))
