"""The page of messages quotes texts that the program really holds, so that it cannot go stale."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GAP = "\0"  # where a value is filled in


def said_in(tree: ast.AST) -> Iterator[str]:
    """Yield every text of a file, with a mark where an f-string fills in a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)


def quoted() -> list[str]:
    return re.findall(r"^### `(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


def holds(text: str, message: str) -> bool:
    """Whether the pieces of a message follow each other in a text, with filled-in values between its words."""
    at = 0
    for piece in filter(None, (piece.strip() for piece in message.split("…"))):
        found = re.compile(re.escape(piece).replace("\\ ", rf"[ \n{GAP}]+")).search(text, at)
        if found is None:
            return False
        at = found.end()
    return True


def test_every_quoted_message_is_in_the_program() -> None:
    texts = [t for path in (ROOT / "src").rglob("*.py") for t in said_in(ast.parse(path.read_text())) if len(t) > 8]
    assert len(quoted()) > 30
    assert not [message for message in quoted() if not any(holds(text, message) for text in texts)]


def test_a_message_that_changed_would_be_noticed() -> None:
    text = f"{GAP} is the same image as {GAP}, and they are in {GAP}"
    assert holds(text, "is the same image as … and they are in …")
    assert not holds(text, "is the same picture as … and they are in …")
    assert not holds(text, "and they are in … is the same image as")
