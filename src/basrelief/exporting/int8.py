"""An ONNX file in whole numbers: smaller, and where the processor helps faster, at a cost that is measured."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.data.source import Source
from basrelief.errors import DataError
from basrelief.exporting.onnx_file import NETWORK, describe
from basrelief.exporting.program import first_line
from basrelief.inference.onnx_network import load_onnx
from basrelief.inference.predictor import Predictor
from basrelief.metrics import higher_is_better
from basrelief.scoring.evaluation import evaluate_source
from basrelief.scoring.fit import fit_metrics


def quantise(path: Path, target: Path, run: Mapping[str, Any], images: Iterator[dict[str, np.ndarray]]) -> None:
    """Write an exported file with its network in 8-bit whole numbers, ranges found on the images.

    Static, a scale for each channel of the weights. What brings images to the network and back stays in float.

    Parameters
    ----------
    path, target
        The file that ``write_onnx`` wrote, and the new one.
    run
        The document of ``run.json``.
    images
        The inputs of the file, an image a time.

    Raises
    ------
    DataError
        When onnxruntime cannot do it for this network.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(images, None)

    try:
        with _silence(), tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            around = [n.name for n in onnx.load(prepared).graph.node if not n.name.startswith(NETWORK)]
            quantize_static(
                str(prepared),
                str(target),
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=around,
            )
            model = onnx.load(target)
            _forget_unused(model)
            describe(model, run)
            target.write_bytes(model.SerializeToString())
    except (OSError, MemoryError):
        raise
    except Exception as error:  # onnxruntime's exceptions have no common class but this
        raise DataError(
            f"--int8: onnxruntime cannot bring this network to whole numbers: {type(error).__name__}: "
            f"{first_line(error)}. Leave it out."
        ) from None


def _forget_unused(model: Any) -> None:
    """Drop the sets of operators that onnxruntime's tools list and no node uses: other programs may lack them."""
    used = {node.domain for node in model.graph.node}
    listed = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(listed)


def cost_of(path: Path, whole_numbers: Path, source: Source, metric: str) -> dict[str, Any]:
    """Score both files on a source, at the images' own sizes.

    Returns
    -------
    dict
        ``images``, ``metric``, ``fp32``, ``int8``, and ``cost``: by how much the second is worse.
    """
    found = {}
    for name, file in (("fp32", path), ("int8", whole_numbers)):
        run, network = load_onnx(file, "cpu")
        predictor = Predictor(run, network, tile="none")
        fit = fit_metrics(run, source, metric=metric)
        found[name] = evaluate_source(predictor, source, fit, metric=metric).document
    scores = {name: scored["metrics"].get(metric) for name, scored in found.items()}
    if any(score is None for score in scores.values()):
        raise DataError(
            f"--int8: its cost in {metric} cannot be measured, since {source.location} does not show it. Give --data "
            "images with truth."
        )
    worse = scores["fp32"] - scores["int8"]
    cost = worse if higher_is_better(metric) else -worse
    return {"images": found["fp32"]["images"], "metric": metric, **scores, "cost": cost}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what onnxruntime's tools say while they work off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
