"""Mask and depth from images, and a controlled experiment that decides which loss to train them with."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basrelief.app import lr_range as lr_range
    from basrelief.app import study as study
    from basrelief.app import train as train
    from basrelief.app_data import compose as compose
    from basrelief.app_data import inspect as inspect
    from basrelief.app_data import pack as pack
    from basrelief.app_scores import compare as compare
    from basrelief.app_scores import evaluate as evaluate
    from basrelief.app_share import export as export
    from basrelief.app_use import load_predictor as load_predictor
    from basrelief.app_use import predict as predict
    from basrelief.batch import Batch as Batch
    from basrelief.batch import Sample as Sample
    from basrelief.errors import BasreliefError as BasreliefError
    from basrelief.inference.prediction import Prediction as Prediction
    from basrelief.inference.predictor import Predictor as Predictor
    from basrelief.losses.expression import parse_loss as parse_loss
    from basrelief.models import create_model as create_model

__version__ = "0.1.0"

# Loaded when first used, so that `basrelief --help` and a bare import need not wait for torch.
_HOMES = {
    "Batch": "basrelief.batch",
    "BasreliefError": "basrelief.errors",
    "Prediction": "basrelief.inference.prediction",
    "Predictor": "basrelief.inference.predictor",
    "Sample": "basrelief.batch",
    "compare": "basrelief.app_scores",
    "compose": "basrelief.app_data",
    "create_model": "basrelief.models",
    "evaluate": "basrelief.app_scores",
    "export": "basrelief.app_share",
    "inspect": "basrelief.app_data",
    "load_predictor": "basrelief.app_use",
    "lr_range": "basrelief.app",
    "pack": "basrelief.app_data",
    "parse_loss": "basrelief.losses.expression",
    "predict": "basrelief.app_use",
    "study": "basrelief.app",
    "train": "basrelief.app",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'basrelief' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
