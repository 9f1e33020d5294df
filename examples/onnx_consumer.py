"""Use a file of `basrelief export` with onnxruntime, numpy and Pillow alone: a picture in, masks and depth out.

python examples/onnx_consumer.py nuclei.onnx photo.jpg out/ [background.jpg]
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, picture, folder, *background = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
inputs = {}
for plane, file in zip(session.get_inputs(), [picture, *background], strict=True):
    inputs[plane.name] = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))[None]
names = [plane.name for plane in session.get_outputs()]
results = dict(zip(names, session.run(names, inputs), strict=True))
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
Path(folder).mkdir(parents=True, exist_ok=True)
if "mask" in results:
    for number, mask in enumerate(results["mask"][0]):  # probabilities, float32 (height, width)
        Image.fromarray(mask > 0.5).save(Path(folder, f"mask_{number}.png"))
        print(f"mask_{number}.png: {classes[number]}")
if "depth" in results:
    np.save(Path(folder, "depth.npy"), results["depth"][0, 0])  # float32 (height, width), in the run's unit
