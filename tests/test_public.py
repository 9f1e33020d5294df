"""The public surface, and what importing it may cost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import basrelief

PUBLIC = {
    "Batch", "BasreliefError", "Prediction", "Predictor", "Sample", "__version__", "compare", "compose",
    "create_model", "evaluate", "export", "inspect", "load_predictor", "lr_range",
    "pack", "parse_loss", "predict", "study", "train",
}  # fmt: skip
HEAVY = {"torch", "numpy", "polars", "scipy", "accelerate", "plotly", "PIL", "pydantic", "tensorboard"}
LIBRARIES = (HEAVY - {"pydantic"}) | {  # which no help loads; typer itself loads pydantic
    "cv2", "fastapi", "fsspec", "gradio", "huggingface_hub", "jinja2", "loky", "multiprocessing", "onnx", "onnxruntime",
    "OpenEXR", "psutil", "pycocotools", "ray", "safetensors", "segmentation_models_pytorch", "sympy", "tifffile",
    "transformers", "uvicorn", "yaml", "asyncio", "unittest", "xml",
}  # fmt: skip
# Modules beyond those of a bare Python, which say what a start costs whatever the machine. Measured with Python 3.11
# and typer 0.29: 11, 116 and 229; some room, as Python and typer differ in their own.
MOST = {"import basrelief": 20, "basrelief --help": 150, "basrelief COMMAND --help": 290}
MOST_OF_OURS = {"import basrelief": 1, "basrelief --help": 14, "basrelief COMMAND --help": 14}


def modules_after(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_nothing_becomes_public_by_accident() -> None:
    assert set(basrelief.__all__) == PUBLIC
    assert {name for name in dir(basrelief) if not name.startswith("_")} == PUBLIC - {"__version__"}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(basrelief, name)
    assert name == "__version__" or (value.__doc__ or "").strip()


def test_the_functions_are_not_hidden_by_modules_of_their_name() -> None:
    import basrelief.studies.report

    assert callable(basrelief.study)
    assert callable(basrelief.train)
    assert callable(basrelief.evaluate)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        basrelief.nothing  # noqa: B018


def test_a_bare_import_loads_nothing_heavy() -> None:
    assert not modules_after("import basrelief") & HEAVY


def test_help_of_every_command_loads_few_modules_and_none_that_is_heavy() -> None:
    # Commands follow one another in one process, so that a module that any of them loads is counted.
    script = """
import contextlib, io, json, sys
bare, found = set(sys.modules), {}
import basrelief
found["import basrelief"] = sorted(set(sys.modules) - bare)
from basrelief import cli
import typer
def count(words):
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        cli.app([*words, "--help"])
    assert "Usage" in printed.getvalue(), words
    return sorted(set(sys.modules) - bare)
found["basrelief --help"] = count([])
groups = [((), typer.main.get_command(cli.app))]
for words, group in groups:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            groups.append(((*words, name), command))
        found["basrelief COMMAND --help"] = count([*words, name])
print(json.dumps([len(group.commands) for _, group in groups]))
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    commands, found = map(json.loads, done.stdout.splitlines()[-2:])
    assert commands[0] >= 16
    for what, modules in found.items():
        assert not {name.partition(".")[0] for name in modules} & LIBRARIES, what
        assert len(modules) <= MOST[what], what
        assert sum(name.partition(".")[0] == "basrelief" for name in modules) <= MOST_OF_OURS[what], what


def test_the_core_needs_no_extra() -> None:
    code = "import basrelief.app, basrelief.report, basrelief.studies.report, basrelief.terminal"
    extras = {"torchvision", "torchmetrics", "segmentation_models_pytorch", "ray", "transformers", "gradio", "onnx",
              "onnxruntime", "pycocotools"}  # fmt: skip
    assert not modules_after(code) & extras


def test_losses_and_models_are_usable_without_engine_or_settings() -> None:
    loaded = modules_after("import basrelief as br\nbr.parse_loss('bce(mask)'); br.create_model('masknet')")
    assert not loaded & {"basrelief.config", "basrelief.engine", "pydantic", "accelerate", "polars"}
