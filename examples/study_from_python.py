"""A small study from Python, and the winner (or the best mean) used on a picture."""

import tempfile
from pathlib import Path

from PIL import Image

import basrelief as br


def main(folder: Path) -> dict:
    verdict = br.study(
        "scenes:60",
        losses=("bce(mask)", "dice(mask)"),
        network="masknet",
        resolution=(32, 32),
        epochs=2,
        seeds=2,
        background=False,
        out=folder / "study",
    )
    print(verdict["summary"])
    predictor = br.load_predictor(folder / "study")
    result = predictor(Image.new("RGB", (200, 120), "grey"))
    print("mask", result.mask.shape, f"{result.mask.mean():.1%} of the picture")
    return verdict


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
