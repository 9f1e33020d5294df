"""What turns this folder into a site: pages for files outside it, and a page for the notebook.

The Markdown here is written to be read where it lies, so its links lead to files: ``../examples/plain_loop.py``. A site
has only pages, so each file that is linked gets one. mkdocs calls these functions by their names.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from html import unescape
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
from formulas import draw_formula  # noqa: E402  (mkdocs loads this file by its path)

ROOT = DOCS.parent
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
FOLDER = "repository"
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file outside this folder that a page links to, and one for the notebook."""
    files.append(File.generated(config, "quickstart.md", content=notebook_page(NOTEBOOK)))
    waiting, done = list(ALWAYS), set()
    for page in DOCS.rglob("*.md"):
        waiting += _outside(page.read_text(), page.parent)
    while waiting:
        name = waiting.pop()
        if name in done or ROOT / name == NOTEBOOK:
            continue
        done.add(name)
        text = (ROOT / name).read_text()
        if name.endswith(".md"):
            waiting += _outside(text, (ROOT / name).parent)
        else:
            language = {".py": "python", ".yaml": "yaml", ".yml": "yaml"}.get(Path(name).suffix, "")
            text = f"# {name}\n\n````{language}\n{text.rstrip()}\n````\n"
        files.append(File.generated(config, _page_of(name), content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead links to files outside this folder to their pages."""
    uri = page.file.src_uri
    at = ROOT / uri.removeprefix(f"{FOLDER}/") if uri.startswith(f"{FOLDER}/") else DOCS / uri

    def lead(match: re.Match[str]) -> str:
        target = (at.parent / match[1]).resolve()
        if not target.is_file():
            return match[0]
        inside = target.is_relative_to(DOCS)
        to = str(target.relative_to(DOCS)) if inside else _page_of(str(target.relative_to(ROOT)))
        return f"]({posixpath.relpath(to, posixpath.dirname(uri))}{match[2] or ''})"

    return LINK.sub(lead, markdown)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Set formulas as formulas, and take the mark off a | that stands for itself in a table's code."""
    html = re.sub(r"<code>[^<]*</code>", lambda code: code[0].replace("\\|", "|"), html)
    if page.file.src_uri not in ("losses.md", "metrics.md"):
        return html

    def draw(match: re.Match[str]) -> str:
        return f'<p class="formula" title="{match[1]}">{draw_formula(unescape(match[1]))}</p>'

    return re.sub(r"<p><code>([^<]*)</code></p>", draw, html)


def notebook_page(path: Path) -> str:
    """Return a notebook's cells as Markdown, without what running them gives."""
    cells = json.loads(path.read_text())["cells"]
    parts = [
        f"```python\n{text}\n```" if cell["cell_type"] == "code" else text
        for cell in cells
        if (text := "".join(cell["source"]))
    ]
    return "\n\n".join([*parts, f"*This page is `{path.relative_to(ROOT)}` without what it shows.*", ""])


def _outside(text: str, folder: Path) -> list[str]:
    """Return the files of the repository, outside this folder, that a text links to."""
    targets = [(folder / match[1]).resolve() for match in LINK.finditer(text)]
    return [
        str(one.relative_to(ROOT))
        for one in targets
        if one.is_file() and one.is_relative_to(ROOT) and not one.is_relative_to(DOCS)
    ]


def _page_of(name: str) -> str:
    if ROOT / name == NOTEBOOK:
        return "quickstart.md"
    return f"{FOLDER}/{name}" if name.endswith(".md") else f"{FOLDER}/{name}.md"
