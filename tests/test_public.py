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


def test_help_loads_nothing_heavy() -> None:
    code = "from basrelief import cli\ntry:\n    cli.app(['study', '--help'])\nexcept SystemExit:\n    pass"
    assert not modules_after(code) & (HEAVY - {"pydantic"})  # which typer itself loads


def test_the_core_needs_no_extra() -> None:
    code = "import basrelief.app, basrelief.report, basrelief.studies.report, basrelief.terminal"
    extras = {"torchvision", "torchmetrics", "segmentation_models_pytorch", "ray", "transformers", "gradio", "onnx",
              "onnxruntime", "pycocotools"}  # fmt: skip
    assert not modules_after(code) & extras


def test_losses_and_models_are_usable_without_engine_or_settings() -> None:
    loaded = modules_after("import basrelief as br\nbr.parse_loss('bce(mask)'); br.create_model('masknet')")
    assert not loaded & {"basrelief.config", "basrelief.engine", "pydantic", "accelerate", "polars"}
