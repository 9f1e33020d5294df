"""The whole network as an ONNX file, with the run's facts in its metadata."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from basrelief.errors import DataError, MissingExtraError, UsageError
from basrelief.exporting.program import first_line
from basrelief.inference.facts import carried

OPSET = 18  # what torch's own translations are written in; others are converted from it
OPSETS = range(18, 24)
NETWORK = "model"  # how the names of the network's own nodes begin, and no others


def check_packages() -> None:
    """Raise MissingExtraError unless what ONNX files need is installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise MissingExtraError(package, "export", "Exporting to ONNX") from None


def check_opset(opset: int) -> None:
    """Raise UsageError for an opset that we do not write."""
    if opset not in OPSETS:
        raise UsageError(f"--opset {opset}: expected {OPSETS.start} to {OPSETS.stop - 1}; the default is {OPSET}.")


def write_onnx(program: ExportedProgram, run: Mapping[str, Any], path: Path, *, opset: int = OPSET) -> None:
    """Write the program as one ONNX file, its weights inside, and check it.

    Its inputs are ``image`` and ``background`` and its outputs ``mask`` and ``depth``, as far as the run has them, as
    in ``WholeNetwork.forward``. Metadata: ``basrelief`` (what ``carried`` gives, as JSON), ``title``, ``classes``.

    Raises
    ------
    DataError
        When torch cannot translate a part of the network, or it is too large for one file (2 GB).
    """
    import onnx

    try:
        with _silence():
            made = torch.onnx.export(
                program, dynamo=True, opset_version=opset, output_names=list(_outputs(program)), external_data=False,
                verbose=False,
            )  # fmt: skip
        assert made is not None
        model = made.model_proto
        _name_sizes(model)
        _forget_the_machine(model)
        describe(model, run)
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
    except (OSError, MemoryError):
        raise
    except Exception as error:  # onnx, onnxscript and torch have many
        raise DataError(
            f"This network cannot be exported to ONNX with opset {opset}: {type(error).__name__}: {first_line(error)}"
        ) from None


def describe(model: Any, run: Mapping[str, Any]) -> None:
    """Put what a reader has to know of the run into the metadata of an ``onnx.ModelProto``."""
    import onnx

    facts = carried(run)
    height, width = run["resolution"]
    title = f"{' and '.join(run['targets'])} by {run['network']} at {width} x {height} px"
    onnx.helper.set_model_props(
        model,
        {
            "basrelief": json.dumps(facts, ensure_ascii=False, allow_nan=False),
            "title": title,
            "classes": json.dumps(list(run["classes"]), ensure_ascii=False),
        },
    )
    model.producer_name, model.graph.name, model.doc_string = "basrelief", "basrelief", title


def _outputs(program: ExportedProgram) -> tuple[str, ...]:
    """Return the names of what the program returns, a dict."""
    context = program.call_spec.out_spec
    assert context is not None
    return tuple(context.context)


def _name_sizes(model: Any) -> None:
    """Call the free sizes batch, height, …, which torch's exporter has numbered."""
    names = {"image": ("batch", "height", "width"), "background": ("batch", "background_height", "background_width")}
    known: dict[str, str] = {}
    for plane in model.graph.input:
        for size, name in zip(plane.type.tensor_type.shape.dim, names[plane.name], strict=False):
            known.setdefault(size.dim_param, name)
    for plane in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for size in plane.type.tensor_type.shape.dim:
            if size.HasField("dim_param"):
                size.dim_param = re.sub(r"\w+", lambda word: known.get(word[0], word[0]), size.dim_param)


def _forget_the_machine(model: Any) -> None:
    """Name each node by its place in the network, and drop what else torch notes of where it was traced."""
    for node in model.graph.node:
        scopes = next((p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "")
        place = re.findall(r"'([^']*)'", scopes)
        inside = [scope for scope in place[:-1] if scope]
        node.name = f"{inside[-1] if inside else 'around'}/{node.name}"
        del node.metadata_props[:]
        node.doc_string = ""
    graph = model.graph
    for named in [*graph.input, *graph.output, *graph.value_info, *graph.initializer, graph, model]:
        del named.metadata_props[:]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what torch's exporter says while it works off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
