"""Depth from a teacher: a depth-estimation network of the package transformers, which sees the composites.

What such a network predicts depends on its family. Those trained on many data sets at once (DPT as in MiDaS, Depth
Anything) give inverse depth up to an unknown scale and shift, larger when nearer: Ranftl et al., Towards Robust
Monocular Depth Estimation, 2020. Those trained for distances (ZoeDepth, Depth Pro, GLPN) give metres.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.composing.depth import MOST, fine_scale
from basrelief.composing.layouts import StoredDepth
from basrelief.errors import DataError, MissingExtraError, UsageError

METRIC = frozenset({"chmv2", "depth_pro", "glpn", "tipsv2_dpt", "zoedepth"})  # families that predict metres
DISPARITY = frozenset({"dpt"})
STATED = frozenset({"depth_anything", "prompt_depth_anything"})  # whose configuration says which
_FAR = 100.0  # metres that are stored where a network does not say how far it sees


class Teacher:
    """A loaded network. ``stored`` says what the codes of ``estimate`` mean.

    Distances are stored in steps of a fixed scale. Inverse depth, which has no scale to keep, fills the 16 bits anew in
    every picture: 0 the farthest and 65535 the nearest point of that picture.
    """

    def __init__(self, name: str, kind: str | None = None) -> None:
        """Load the network ``name``, a folder or a name on the hub; ``kind`` overrules what its family says."""
        if importlib.util.find_spec("transformers") is None:
            raise MissingExtraError("transformers", "teacher", "--teacher")
        import torch

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        with _quiet():
            self._processor, self._network = _load(name, self._device)
        kind = kind or _kind_of(self._network.config, name)
        self.stored = StoredDepth(1 / MOST, "", kind, ())
        if kind == "metric":
            far = getattr(self._network.config, "max_depth", None) or _FAR
            self.stored = StoredDepth(fine_scale(float(far)), "m", kind, (0,))

    def estimate(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Return codes, uint16 (H, W), of images, uint8 (H, W, 3), in one batch."""
        torch = self._torch
        sizes = [image.shape[:2] for image in images]
        with torch.inference_mode():
            own = [np.array(image) for image in images]  # torch warns of arrays that it may not write to
            inputs = self._processor(images=own, return_tensors="pt", input_data_format="channels_last")
            outputs = self._network(**inputs.to(self._device))
            found = self._processor.post_process_depth_estimation(outputs, sizes)
        return [self._code(one["predicted_depth"].float().cpu().numpy()) for one in found]

    def _code(self, depth: np.ndarray) -> np.ndarray:
        depth = depth.astype(np.float64)
        known = np.isfinite(depth)
        if self.stored.kind == "metric":
            codes = np.clip(np.rint(np.where(known, depth, 0) / self.stored.scale), 1, MOST)
            return np.where(known, codes, 0).astype(np.uint16)
        if not known.all():
            raise DataError("The teacher predicts depth that is not finite. Use another network.")
        low, high = float(depth.min()), float(depth.max())
        return np.rint((depth - low) * (MOST / max(high - low, 1e-12))).astype(np.uint16)


def _load(name: str, device: str) -> tuple[Any, Any]:
    try:
        processor, network = _fetch(name)
    except Exception as error:  # a missing name, no connection, another kind of model, broken files: each its own type
        why = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(
            f"--teacher {name}: cannot be loaded ({why}). Expected a folder with a depth-estimation network of the "
            "package transformers (config.json, preprocessor_config.json, model.safetensors), or the name of one on "
            "the Hugging Face hub, which is downloaded once. Check the name and the connection, or name a folder."
        ) from None
    if not hasattr(processor, "post_process_depth_estimation"):
        raise DataError(f"--teacher {name}: its preprocessor_config.json is not that of a depth-estimation network.")
    return processor, network.to(device).eval()


def _fetch(name: str) -> tuple[Any, Any]:
    """Return processor and network: from a folder, from what was downloaded before, or from the hub."""
    # Loaded by name: an extra, whose types are not there where it is not installed.
    transformers: Any = importlib.import_module("transformers")
    hub: Any = importlib.import_module("huggingface_hub")

    def open_(local: bool) -> tuple[Any, Any]:
        processor = transformers.AutoImageProcessor.from_pretrained(name, local_files_only=local)
        # Weights as safetensors alone: the older kind of file can run a program when it is opened.
        models = transformers.AutoModelForDepthEstimation
        network = models.from_pretrained(name, local_files_only=local, use_safetensors=True)
        return processor, network

    if Path(name).is_dir():
        return open_(True)
    if Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise FileNotFoundError("no such folder")
    try:
        return open_(True)
    except Exception:  # not downloaded before; whether it is there at all is asked once, not for a minute
        hub.model_info(name, timeout=10)
        return open_(False)


def _kind_of(config: Any, name: str) -> str:
    family = str(getattr(config, "model_type", ""))
    if family in METRIC:
        return "metric"
    if family in DISPARITY:
        return "disparity"
    if family in STATED:
        return "metric" if config.depth_estimation_type == "metric" else "disparity"
    raise UsageError(
        f"--teacher {name}: it is not known whether networks of the family {family!r} predict distances or their "
        "inverse. Say so: --depth-kind metric, relative or disparity."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the package's progress bars off standard error, where ours is."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
