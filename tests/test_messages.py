"""The page of messages holds what the code says, and none of them leaves the reader alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("messages_page", ROOT / "docs" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_what_the_code_says() -> None:
    page = load().messages_page()
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == page, "run python docs/messages.py"


def test_a_message_names_something_or_ends_a_sentence() -> None:
    module = load()
    import ast

    found = []
    for path in sorted(module.SOURCE.rglob("*.py")):
        found += [text for _, text in module._messages(ast.parse(path.read_text(encoding="utf-8")), module._kinds())]
    assert len(found) > 500
    short = [text for text in found if "⟨" not in text and len(text.split()) < 4]
    assert short in ([], ["The client has gone.", "The form has no file.", "This is no JSON."]) or all(
        text.endswith(".") for text in short
    )
