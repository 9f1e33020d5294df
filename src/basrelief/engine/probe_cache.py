"""What probes found on this machine, kept between commands in the user's cache folder."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from basrelief.errors import BasreliefError
from basrelief.files import read_json, write_json

ENTRIES = 500  # the newest kept


def cache_file() -> Path | None:
    """Return where findings are kept; None for a user without a home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The XDG Base Directory Specification: a path that is not absolute is to be ignored.
        folder = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return folder / "basrelief" / "machine.json"


def recall(key: dict[str, Any]) -> dict[str, Any] | None:
    """Return what was kept for an equal key; None where nothing was, or the file cannot be read."""
    found = _entries().get(_text(key))
    return found if isinstance(found, dict) else None


def keep(key: dict[str, Any], finding: dict[str, Any]) -> None:
    """Keep a finding. A folder that cannot be written does no harm: it is looked for again next time.

    The file is replaced in one step, so a reader never sees half of it. Of two processes that write at the same
    moment one may lose its finding, which it finds again.
    """
    path = cache_file()
    entries = _entries()
    entries.pop(_text(key), None)
    entries[_text(key)] = finding
    newest = dict(list(entries.items())[-ENTRIES:])
    if path is not None:
        with contextlib.suppress(BasreliefError, OSError):
            write_json(path, {"about": "What basrelief measured here; may be deleted.", "findings": newest})


def _entries() -> dict[str, Any]:
    path = cache_file()
    if path is None:
        return {}
    try:
        entries = read_json(path).get("findings")
    except (BasreliefError, OSError):  # not there, or damaged: written anew
        return {}
    return entries if isinstance(entries, dict) else {}


def _text(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, ensure_ascii=False)
