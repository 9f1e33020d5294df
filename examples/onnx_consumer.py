"""Use a network that `basrelief export` wrote, with onnxruntime, numpy and Pillow alone: a picture in, its mask out.

python examples/onnx_consumer.py nuclei.onnx photo.jpg out/ [background.jpg]
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model, picture, folder, background=None):
    session = onnxruntime.InferenceSession(model)
    files = {"image": picture, "background": background}
    inputs = {plane.name: read(files[plane.name]) for plane in session.get_inputs()}
    names = [plane.name for plane in session.get_outputs()]
    results = {name: values[0] for name, values in zip(names, session.run(None, inputs), strict=True)}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, mask in zip(classes_of(session), results.get("mask", ()), strict=False):
        Image.fromarray((255 * (mask > 0.5)).astype(np.uint8)).save(Path(folder, f"mask_{name}.png"))
    if "depth" in results:
        np.save(Path(folder, "depth.npy"), results["depth"][0])  # float32 (height, width), in the run's unit
    return results


def read(file):
    return np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))[None]


def classes_of(session):
    return json.loads(session.get_modelmeta().custom_metadata_map["classes"])


if __name__ == "__main__":
    main(*sys.argv[1:])
