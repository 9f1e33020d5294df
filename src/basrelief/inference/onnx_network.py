"""An exported ONNX file as a network: what ``basrelief export`` wrote, computed by onnxruntime."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basrelief.engine.memory import available_bytes
from basrelief.errors import DataError, DeviceError, MissingExtraError
from basrelief.inference.check_facts import parse_facts
from basrelief.inference.network import Network

LARGEST = 2**31  # bytes of a file; ONNX's own format ends there
MOST_NODES = 20_000  # of a graph; the largest networks we know need some 5000
FOLDED = 2**16  # bytes of a constant that onnxruntime may compute on loading, which no limit on memory counts
_DOMAINS = ("", "ai.onnx")  # of operators: ONNX's own
_limited = threading.Lock()
_limit: list[int] = []  # bytes that all files together may take on the CPU, once one has been opened
_EXPECTED = "Expected a file that basrelief export wrote."


class OnnxFile:
    """An exported file, opened: bytes of images of any size in, results of that size out.

    Attributes
    ----------
    run
        What the file carries of its run; see ``basrelief.inference.facts.carried``.
    """

    def __init__(self, path: Path, device: str = "auto", *, threads: int | None = None) -> None:
        """Open a file; see ``load_onnx``. ``threads``: onnxruntime's on a CPU; None: as many as torch's."""
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError(error.name or "onnxruntime", "export", "Reading an ONNX file") from None
        content = _read(path)
        try:
            model = onnx.ModelProto.FromString(content)
        except Exception:  # protobuf's own classes differ from version to version
            raise DataError(f"{path} is no ONNX file, or is damaged. {_EXPECTED}") from None
        self.path = path
        self.run = _read_facts(path, {prop.key: prop.value for prop in model.metadata_props})
        _check_graph(path, model, len(content))
        del model
        _limit_memory(onnxruntime)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other threads read and write files
        options.add_session_config_entry("session.use_env_allocators", "1")  # the one with the limit
        options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(FOLDED))
        providers = _providers(device, onnxruntime)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:  # onnxruntime's exceptions have no common class but this
            raise self._damaged(error) from None
        self.inputs = tuple(plane.name for plane in self._session.get_inputs())
        self.outputs = tuple(plane.name for plane in self._session.get_outputs())
        wanted = ("image", "background") if self.run["background"] else ("image",)
        if self.inputs != wanted or set(self.outputs) != set(self.run["targets"]) & set(self.run["heads"]):
            raise DataError(
                f"{path} takes {', '.join(self.inputs)} and gives {', '.join(self.outputs)}, which is not what it says "
                f"of itself. {_EXPECTED}"
            )
        height, width = self.run["resolution"]
        trial = self({name: np.zeros((1, height, width, 3), np.uint8) for name in wanted})
        for head, values in trial.items():
            channels = len(self.run["classes"]) if head == "mask" else 1
            if values.shape != (1, channels, height, width) or values.dtype != np.float32:
                raise self._damaged(f"{head} has the shape {values.shape}")

    def __call__(self, planes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return "mask" (N, K, H, W) and "depth" (N, 1, H, W) in the run's unit for uint8 (N, H, W, 3) of each input.

        Raises
        ------
        DataError
            When the file's program cannot be computed.
        """
        try:
            values = self._session.run(None, dict(planes))
        except Exception as error:
            raise self._damaged(error) from None
        return dict(zip(self.outputs, values, strict=True))

    def _damaged(self, error: object) -> DataError:
        if "smaller than requested" in str(error):  # how onnxruntime's arena says that its limit is reached
            return DataError(
                f"{self.path} asks for more memory than the {_limit[0] / 2**30:.1f} GB that it may take here, half of "
                f"what was free. {_EXPECTED} Of one that is ours: try smaller images, or a machine with more memory."
            )
        said = (str(error).strip().splitlines() or [""])[0][:300]
        return DataError(f"{self.path} cannot be used: onnxruntime says {said!r}. {_EXPECTED}")


def load_onnx(path: Path, device: str = "auto") -> tuple[dict[str, Any], Network]:
    """Open a file that ``basrelief export --to onnx`` wrote, as a network.

    Parameters
    ----------
    path
        The file. Nothing beside it is read.
    device
        "auto" (a GPU where onnxruntime has one), "cpu", "cuda", "cuda:1".

    Returns
    -------
    run, network
        What the file carries of its run (see ``facts.carried``), and the network, which takes images at the run's
        resolution. It may be called by several threads.

    Raises
    ------
    DataError
        For a file that is damaged, was made by another program, or refers to other files.
    DeviceError
        For a device that onnxruntime does not have here.
    MissingExtraError
        Without onnx or onnxruntime.
    """
    file = OnnxFile(path, device)
    depth_max = float(file.run["depth_max"] or 1.0)

    def network(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
        given = {"image": images} | ({} if backgrounds is None else {"background": backgrounds})
        planes = {name: plane.contiguous().numpy() for name, plane in given.items()}
        heads = {head: torch.from_numpy(values) for head, values in file(planes).items()}
        return heads | ({"depth": heads["depth"] / depth_max} if "depth" in heads else {})

    return file.run, network


def refuse_program(path: Path) -> DataError:
    """Return the error for a ``.pt2`` file, which torch cannot open without running what a stranger put in it.

    ``torch.export.load`` unpickles parts of it and evaluates its sizes as Python expressions.
    """
    return DataError(
        f"{path} is a program of torch.export, and opening one can run code that is hidden in it; Basrelief opens "
        "none. Use the run itself, or export it with --to onnx or --to safetensors. In your own code, "
        f"torch.export.load({path.name!r}) opens a file that you trust."
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is larger than an ONNX file can be (2 GB). {_EXPECTED}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. {_EXPECTED}") from None


def _read_facts(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if "basrelief" not in metadata:
        raise DataError(f"{path} says nothing of the run that it was made from. {_EXPECTED}")
    return parse_facts(metadata["basrelief"], path)


def _limit_memory(onnxruntime: Any) -> None:
    """Give all sessions one pool of memory, at most half of what is free: a tiny file may ask for any amount."""
    with _limited:
        if _limit:
            return
        limit = max(2**28, available_bytes("cpu") // 2)
        where = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        pool = onnxruntime.OrtArenaCfg({"max_mem": limit, "arena_extend_strategy": 1})  # 1: by what is asked for
        onnxruntime.create_and_register_allocator(where, pool)
        _limit.append(limit)


def _check_graph(path: Path, model: Any, size: int) -> None:
    """Refuse what our exports never hold: other files, weights larger than the file, programs within the program."""
    graph = model.graph
    if len(graph.node) > MOST_NODES:
        raise DataError(f"{path} has {len(graph.node):,} steps, more than any network of ours. {_EXPECTED}")
    if len(graph.sparse_initializer):  # of which a few bytes can stand for any number
        raise DataError(f"{path} holds sparse weights, which our exports never do. {_EXPECTED}")
    for tensor in [*graph.initializer, *_constants(graph.node)]:
        if tensor.data_location or len(tensor.external_data):
            raise DataError(f"{path} keeps weights in another file, which Basrelief does not follow. {_EXPECTED}")
        if any(side < 0 for side in tensor.dims) or math.prod(tensor.dims) > size:
            raise DataError(f"{path}: the weights {tensor.name!r} have impossible sizes. {_EXPECTED}")
    if len(model.functions):
        raise DataError(f"{path} defines operators of its own, which our exports never do. {_EXPECTED}")
    for node in graph.node:
        within = any(
            attribute.HasField("g") or len(attribute.graphs) or attribute.HasField("sparse_tensor")
            or len(attribute.sparse_tensors) for attribute in node.attribute
        )  # fmt: skip
        if within or node.domain not in _DOMAINS:
            kind = f"{node.domain}.{node.op_type}".lstrip(".")
            raise DataError(f"{path} holds a {kind[:100]} node, which our exports never do. {_EXPECTED}")


def _constants(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _providers(device: str, onnxruntime: Any) -> list[Any]:
    kind, _, number = device.partition(":")
    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if kind == "cpu" or (kind == "auto" and not there):
        return ["CPUExecutionProvider"]
    if kind in ("auto", "cuda") and there and (number or "0").isdigit():
        return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]
    known = "cpu or cuda" if there else "cpu"
    raise DeviceError(
        f"--device {device}: onnxruntime computes on {known} here. Leave it out, or install onnxruntime-gpu for CUDA."
    )
