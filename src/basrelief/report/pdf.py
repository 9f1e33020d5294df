"""The page as a PDF, printed by a browser that is on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from basrelief.errors import OutputError

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "msedge",
)
ELSEWHERE = (  # where macOS and Windows keep programs that are on no path
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    r"C:\Program Files\Microsoft\Edge\Application\msedge.exe",
)
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-pdf-header-footer",
    "--virtual-time-budget=10000",  # lets the page draw before it is printed
)
PATIENCE = 180  # seconds


def find_browser() -> Path:
    """Return a program that prints pages: Chromium, Chrome or Edge.

    Raises
    ------
    OutputError
        When there is none, naming what to install.
    """
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    found = found or next((path for path in ELSEWHERE if Path(path).is_file()), None)
    if found is None:
        raise OutputError(
            "--to pdf needs a browser to print the page, and none was found (looked for chromium, google-chrome and "
            "microsoft-edge). Install one, such as the package chromium, or print what --to html writes."
        )
    return Path(found)


def print_pdf(page: str, path: Path) -> None:
    """Print a self-contained page to ``path``, which the browser writes anew.

    Parameters
    ----------
    page
        The HTML, as ``render_study`` returns it.
    path
        Of the PDF; whoever calls this sees to it that it appears whole or not at all.

    Raises
    ------
    OutputError
        When there is no browser, or it does not print.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="basrelief-print-", ignore_cleanup_errors=True) as folder:
        written, printed = Path(folder, "report.html"), Path(folder, "report.pdf")
        written.write_text(page, "utf-8", "backslashreplace")
        asked = [*FLAGS, f"--user-data-dir={Path(folder, 'profile')}", f"--print-to-pdf={printed}", written.as_uri()]
        said = ""
        # Browsers refuse their sandbox to root and in many containers. The page may reach nothing outside itself
        # (its policy forbids it) and holds no script but ours, so it is printed without one where it must be.
        for first in (["--no-sandbox"],) if _is_root() else ([], ["--no-sandbox"]):
            said = _run([str(browser), *first, *asked])
            if printed.is_file() and printed.stat().st_size:
                shutil.copyfile(printed, path)
                return
    raise OutputError(
        f"{browser} did not print the page{f' ({said})' if said else ''}. Use --to html and print it from a browser."
    )


def _run(command: Sequence[str]) -> str:
    """Run a browser, and return the last line of what it said on standard error; never raise for its failure."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"it took more than {PATIENCE} s"
    except OSError as error:
        return str(error)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0
