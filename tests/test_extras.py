"""Every extra installs what it names: the packages import beside each other in the tested versions."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
MODULES = {
    "encoders": ["segmentation_models_pytorch"],
    "coco": ["pycocotools.mask"],
    "exr": ["OpenEXR"],
    "teacher": ["transformers"],
    "export": ["onnx", "onnxruntime", "onnxscript"],
    "serve": ["gradio", "fastapi", "uvicorn", "python_multipart"],
    "video": ["cv2"],
    "ray": ["ray"],
}


def test_every_extra_is_listed_here_and_in_all() -> None:
    assert set(MODULES) == set(EXTRAS) - {"all", "dev"}
    assert EXTRAS["all"] == [f"basrelief[{','.join(MODULES)}]"]


@pytest.mark.parametrize("extra", MODULES)
def test_an_extras_packages_import(extra: str) -> None:
    if any(importlib.util.find_spec(name.split(".")[0]) is None for name in MODULES[extra]):
        pytest.skip(f"the extra {extra!r} is not installed")
    code = "; ".join(f"import {name}" for name in MODULES[extra])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_constraints_are_exact_versions_without_addresses() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all("==" in line and "/" not in line and "@" not in line for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    wanted = [
        *PYPROJECT["project"]["dependencies"],
        *(d for name, deps in EXTRAS.items() if name != "all" for d in deps),
    ]
    assert {d.split(">")[0].split("[")[0].lower() for d in wanted} <= pinned
