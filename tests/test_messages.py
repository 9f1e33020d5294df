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


def test_messages_are_found_in_every_form_and_stand_under_what_was_being_done() -> None:
    page = " ".join(load().messages_page().split())
    parts = page.split("## ")
    where = {part.partition(" - ")[0]: part for part in parts}
    assert "is not a target.⟨suggest⟩ Known:" in where["Writing a loss, an augmentation or a network"]
    assert 'needs the package pycocotools: pip install "basrelief[coco]"' in where["Having data read"]
    assert "Another basrelief command is at work in ⟨folder⟩. Wait for it" in where["Anywhere"]
    assert "--depths and --teacher both say" in where["Composing and generating data"]
    assert page.count("Error)") > 500
