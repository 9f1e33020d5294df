"""An environment that holds the built wheel and what the core needs, and none of what extras bring."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def build(kind: str, folder: Path) -> Path:
    """Build "wheel" or "sdist" from this tree with the packages that are here, and return the file."""
    words = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, env=without_sources())
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found


def without_sources() -> dict[str, str]:
    """Return this process's environment, without what leads Python to the sources."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def core_distributions() -> set[str]:
    """Return what an installation without extras brings along, by its requirements, and theirs."""
    found: set[str] = set()
    waiting: list[tuple[str, frozenset[str]]] = [("basrelief", frozenset())]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for line in importlib.metadata.requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                item = (wanted.name.lower().replace("_", "-"), frozenset(wanted.extras))
                if item not in seen:
                    seen.add(item)
                    waiting.append(item)
                    found.add(item[0])
    return found


def environment(folder: Path, wheel: Path) -> Path:
    """Make an environment with the wheel and links to the core's packages, and return its Python.

    Nothing is copied or fetched: each file and folder that a core package installed is linked by its name. What only an
    extra brings is not there, so it is as absent as in a new installation.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, env=without_sources())
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    here = Path(sysconfig.get_path("purelib"))
    for name in sorted(core_distributions()):
        files = importlib.metadata.files(name) or ()
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            if (here / top).exists() and not (site / top).is_symlink():
                (site / top).symlink_to(here / top)
    words = ["--disable-pip-version-check", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, env=without_sources())
    assert done.returncode == 0, done.stdout + done.stderr
    return python
