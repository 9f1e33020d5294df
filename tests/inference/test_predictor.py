from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import basrelief as br
from basrelief.data import open_source
from basrelief.data.decode import read_image
from basrelief.engine.evaluate import activate
from basrelief.errors import UsageError
from basrelief.inference.load import load_run
from basrelief.inference.predictor import Predictor
from support import write_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("predict")
    data = write_folder(root / "data", depths=True)
    br.train(
        data, out=root / "run", loss="bce(mask) + rmse(depth)", network="resunet", resolution=(16, 32), epochs=2,
        lr=3e-3, depth_scale=0.001,
    )  # fmt: skip
    return data, root / "run"


@pytest.fixture(scope="module")
def predictor(run: tuple[Path, Path]) -> Predictor:
    return br.load_predictor(run[1])


def test_results_have_the_images_own_size_and_unit(run: tuple[Path, Path], predictor: Predictor) -> None:
    result = predictor(Image.open(run[0] / "images" / "00.png"))
    assert result.mask is not None
    assert result.probability is not None
    assert result.depth is not None
    assert result.mask.shape == result.probability.shape == result.depth.shape == (24, 32)
    assert result.mask.dtype == bool
    assert np.array_equal(result.mask, result.probability > 0.5)
    assert result.depth_unit == "m"
    assert 0 <= result.depth.min() <= result.depth.max() <= 2.3


def test_an_image_at_the_training_resolution_gives_the_networks_own_output(
    run: tuple[Path, Path], predictor: Predictor
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        bare = activate(load_run(run[1])[1](tensor), {})
    result = predictor(image)
    assert result.probability is not None
    assert np.allclose(result.probability, bare["mask"][0, 0].numpy(), atol=1e-6)


def test_several_at_once_are_each_as_alone(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((10, 12), (40, 33))]
    for image, together in zip(images, predictor.predict_arrays(images), strict=True):
        alone = predictor(image).probability
        assert alone is not None
        assert np.allclose(together.probability, alone, atol=1e-5)


def test_any_picture_is_read_as_training_read_it(run: tuple[Path, Path], predictor: Predictor, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = {
        "rgba.png": Image.fromarray(rng.integers(0, 256, (20, 20, 4), dtype=np.uint8), "RGBA"),
        "wide.png": Image.fromarray(rng.integers(0, 65536, (20, 20), dtype=np.uint16)),
        "grey.png": Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        from_file, opened = predictor(read_image(tmp_path / name)), predictor(Image.open(tmp_path / name))
        assert np.array_equal(from_file.probability, opened.probability)  # type: ignore[arg-type]


def test_wrong_inputs_are_named(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match=r"float64 \(4, 4, 3\)"):
        predictor(np.zeros((4, 4, 3)))
    with pytest.raises(UsageError, match="expected a Pillow image"):
        predictor(np.zeros((2, 4, 4, 3), np.uint8))


def test_a_network_with_backgrounds_wants_one(tmp_path: Path) -> None:
    br.train("scenes:12", out=tmp_path / "run", loss="bce", network="masknet", resolution=16, epochs=1)
    predictor = br.load_predictor(tmp_path / "run")
    source = open_source("scenes:12")
    sample = source.load(source.entries[0])
    with pytest.raises(UsageError, match="empty scene"):
        predictor(sample.image)
    assert predictor(sample.image, sample.background).depth is None
