"""The API's documentation as one page that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.55 system-ui,sans-serif;color:#1d1d1f;background:#fff;max-width:46rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}h2{font-size:1.15rem;margin-top:2rem}
code,pre{font:14px/1.5 ui-monospace,monospace;background:#f3f2ef;border-radius:4px}code{padding:.1em .3em}
pre{padding:.8rem 1rem;overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid #ddd}
@media(prefers-color-scheme:dark){body{color:#eee;background:#17171a}code,pre{background:#27272b}td,th{border-color:#3a3a3f}}
"""
_OUTPUTS = {
    "json": "Size, classes, areas, boxes, depth's range, and with <code>include=mask,depth</code> pictures in base64.",
    "mask": "PNG of the image's size: 255 where the mask is, else 0. Of several classes, class numbers from 1 on.",
    "soft": "PNG with 16 bits: probability times 65535. Of several classes, the largest.",
    "depth": "PNG with 16 bits: value times the PNG text <code>scale</code> is depth, in its text <code>unit</code>.",
    "cutout": "PNG of the image with what is not mask transparent.",
    "preview": "PNG for looking at.",
    "zip": "All of these pictures, and <code>result.json</code>.",
}
_CODES = {
    400: "The file is empty, truncated or damaged, or the form is.",
    401: "The token is missing or wrong.",
    403: "A page of another site asks.",
    404: "There is no such address.",
    405: "The address takes another method.",
    408: "The upload was too slow.",
    413: "Too many bytes or pixels.",
    415: "Another type of file, or an animation.",
    422: "A field is missing, or an option has no meaning here.",
    503: "Too many wait already; <code>Retry-After</code> says when to come back.",
    504: "It took too long.",
}


def handbook(facts: Mapping[str, Any]) -> str:
    """Return the documentation as HTML, for a network with these facts (those of ``/api/info``)."""
    limits = facts["limits"]
    background = bool(facts["takes_background"])
    sent = "-F image=@photo.jpg" + (" -F background=@empty.jpg" if background else "")
    example = next(name for name in facts["outputs"] if name != "json")
    outputs = _rows((f"<code>{name}</code>", _OUTPUTS[name]) for name in facts["outputs"])
    codes = _rows((str(code), text) for code, text in _CODES.items())
    body = (
        "a form with the files <code>image</code> and <code>background</code>, the same scene empty"
        if background
        else "a form with the file <code>image</code>, or the file's bytes as they are"
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>API of {escape(facts["title"])}</title><style>{_STYLE}</style></head><body>
<h1>API of {escape(facts["title"])}</h1>
<p>The network predicts {" and ".join(facts["targets"])}{_classes(facts)}. Send it a picture; the answer has the
picture's own size.</p>
<pre>curl {sent} http://ADDRESS/api/predict
curl {sent} "http://ADDRESS/api/predict?output={example}" -o {example}.{"zip" if example == "zip" else "png"}</pre>
<h2>POST /api/predict</h2>
<p>The body is {body}. PNG, JPEG, WebP and BMP are taken, up to {limits["file_bytes"] / (1 << 20):g} MB
and {limits["pixels"] / 1e6:g} million pixels.</p>
<table><tr><th>output=</th><th>The answer</th></tr>{outputs}</table>
<p><code>threshold=0.3</code>: above which probability a pixel is mask.</p>
<h2>Other addresses</h2>
<table>{
        _rows(
            (
                ("<code>GET /api/info</code>", "The network, its classes and units, the limits."),
                (
                    "<code>GET /api/health</code>",
                    'The answer is <code>{"status": "ok"}</code>, without a token as well.',
                ),
                ("<code>GET /openapi.json</code>", "This API for programs."),
            )
        )
    }</table>
<h2>When it is refused</h2>
<p>The answer is JSON: <code>{{"error": "one sentence"}}</code>. At most {
        limits["queue"]
    } requests wait at once, and each
at most {limits["seconds"]:g} seconds. Where the server was started with a token, send it as
<code>Authorization: Bearer TOKEN</code>.</p>
<table>{codes}</table>
</body></html>
"""


def _classes(facts: Mapping[str, Any]) -> str:
    return f" of {escape(', '.join(facts['classes']))}" if "mask" in facts["targets"] else ""


def _rows(pairs: Any) -> str:
    return "".join(f"<tr><td>{first}</td><td>{second}</td></tr>" for first, second in pairs)
