"""Which packages are here, which versions of them, and which command goes without those that are not."""

from __future__ import annotations

import importlib
import importlib.util
import re
from importlib import metadata
from typing import Any, NamedTuple

# Package, as one installs it -> module, as one imports it. A test holds both tables against pyproject.toml.
CORE: dict[str, str] = {
    "torch": "torch",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "huggingface-hub": "huggingface_hub",
    "numpy": "numpy",
    "scipy": "scipy",
    "polars": "polars",
    "loky": "loky",
    "psutil": "psutil",
    "PyYAML": "yaml",
    "pillow": "PIL",
    "tifffile": "tifffile",
    "pydantic": "pydantic",
    "typer": "typer",
    "rich": "rich",
    "plotly": "plotly",
    "jinja2": "jinja2",
    "tensorboard": "tensorboard",
}


class Extra(NamedTuple):
    """What an extra is for, and its packages with their modules."""

    purpose: str
    packages: dict[str, str]


EXTRAS: dict[str, Extra] = {
    "encoders": Extra(
        "--network smp/… (pretrained encoders)", {"segmentation-models-pytorch": "segmentation_models_pytorch"}
    ),
    "coco": Extra("COCO data, in every command that reads data", {"pycocotools": "pycocotools"}),
    "exr": Extra("depth in EXR files, in every command that reads data", {"OpenEXR": "OpenEXR"}),
    "teacher": Extra("compose --teacher", {"transformers": "transformers"}),
    "export": Extra(
        "export --to onnx, and predict, evaluate, compare, serve with an ONNX file",
        {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"},
    ),
    "serve": Extra(
        "serve",
        {"gradio": "gradio", "fastapi": "fastapi", "uvicorn": "uvicorn", "python-multipart": "python_multipart"},
    ),
    "video": Extra("predict with videos", {"opencv-python-headless": "cv2"}),
    "ray": Extra("study --executor ray", {"ray": "ray"}),
}


def check_core() -> list[dict[str, Any]]:
    """Return a line for each package that every command needs: name, version, needs, and why it is no good (or None).

    Each is imported, since a package may be there and broken.
    """
    wanted = _wanted()
    return [_line(name, module, wanted, load=True) for name, module in CORE.items()]


def check_extras() -> list[dict[str, Any]]:
    """Return a line for each extra: name, purpose, whether it is installed, its packages, and how to install it."""
    wanted = _wanted()
    found = []
    for name, extra in EXTRAS.items():
        packages = [_line(package, module, wanted, load=False) for package, module in extra.packages.items()]
        found.append(
            {
                "name": name,
                "purpose": extra.purpose,
                "installed": all(line["why"] is None for line in packages),
                "packages": packages,
                "install": f'pip install "basrelief[{name}]"',
            }
        )
    return found


def _line(name: str, module: str, wanted: dict[str, str], *, load: bool) -> dict[str, Any]:
    needs = wanted.get(name.lower(), "")
    try:
        version: str | None = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    return {"name": name, "version": version, "needs": needs, "why": _why(module, version, needs, load=load)}


def _why(module: str, version: str | None, needs: str, *, load: bool) -> str | None:
    """Return what is wrong with a package; None: nothing."""
    try:
        if load:
            importlib.import_module(module)
        elif importlib.util.find_spec(module) is None:
            return "is not installed"
    except ModuleNotFoundError as error:
        return "is not installed" if error.name == module else f"cannot be loaded: {error}"
    except Exception as error:  # a package may fail in any way as it loads
        return f"cannot be loaded: {type(error).__name__}: {error}"
    if version is not None and needs and not _fits(version, needs):
        return f"is {version}, and {needs} is needed"
    return None


def _wanted() -> dict[str, str]:
    """Return the versions that Basrelief as installed asks for, by package; nothing where it is not installed."""
    try:
        lines = metadata.requires("basrelief") or []
    except metadata.PackageNotFoundError:
        return {}
    found = {}
    for line in lines:
        match = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*([^;]*)", line)
        if match and match[2].strip():
            found[match[1].lower()] = match[2].strip()
    return found


def _fits(version: str, needs: str) -> bool:
    """Tell whether a version fits; where packaging is missing, which torch's companions bring, that it does."""
    try:
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(needs).contains(version, prereleases=True)
    except (ImportError, ValueError):  # a version or a demand that is none is a ValueError
        return True
