from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import BATCH, Predictor
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


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def same(a: Prediction, b: Prediction, *, off: float = 1e-5) -> bool:
    assert a.probability is not None
    assert b.probability is not None
    assert a.depth is not None
    assert b.depth is not None
    return (
        np.allclose(a.probability, b.probability, rtol=0, atol=off)
        and np.allclose(a.depth, b.depth, rtol=0, atol=10 * off)
        and np.array_equal(a.image, b.image)
    )


def test_several_at_once_are_each_as_alone_in_any_number_and_size(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(*[(10 + i, 40 - i) for i in range(2 * BATCH + 3)])
    sizes: list[int] = []

    def network(small: torch.Tensor, behind: torch.Tensor | None) -> dict[str, torch.Tensor]:
        sizes.append(len(small))
        return inner(small, behind)

    inner = predictor.network
    monkeypatch.setattr(predictor, "network", network)
    together = predictor(images)
    assert sizes == [BATCH, BATCH, 3]
    assert all(same(result, predictor(image)) for image, result in zip(images, together, strict=True))
    assert [same(a, b) for a, b in zip(predictor(tuple(images[:2])), together[:2], strict=True)] == [True, True]
    assert predictor([]) == []


def test_the_same_picture_in_every_kind_gives_the_same(predictor: Predictor) -> None:
    [image] = pictures((20, 30))
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = predictor(image)
    floats = tensor.float() / 255
    kinds = [
        Image.fromarray(image), image[::-1][::-1], image / 255, image.astype(np.float32) / 255, tensor, floats,
        floats.double().requires_grad_(), image.astype(np.uint16) * 257,
        np.dstack([image, np.full((20, 30), 255, np.uint8)]),
    ]  # fmt: skip
    assert all(same(predictor(kind), expected, off=0) for kind in kinds)
    batches = [np.stack([image, image]), torch.stack([tensor, tensor]), torch.stack([floats, floats])]
    for batch in batches:
        results = predictor(batch)
        assert isinstance(results, list)
        assert len(results) == 2
        assert all(same(result, expected) for result in results)


def test_grey_and_transparency_are_taken_as_files_are(predictor: Predictor, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey, clear = rng.integers(0, 256, (12, 9), np.uint8), rng.integers(0, 256, (12, 9, 4), np.uint8)
    three = predictor(np.stack([grey] * 3, -1))
    for kind in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None], grey / 255):
        assert same(predictor(kind), three, off=0)
    on_black = np.rint(clear[..., :3] * (clear[..., 3:] / 255))
    for kind in (clear, torch.from_numpy(clear).permute(2, 0, 1)):
        assert np.abs(predictor(kind).image - on_black).max() <= 1
    Image.fromarray(clear, "RGBA").save(tmp_path / "clear.png")
    assert np.abs(read_image(tmp_path / "clear.png").astype(int) - predictor(clear).image).max() <= 1


def test_eight_threads_get_what_one_gets(predictor: Predictor) -> None:
    images = pictures(*[(10 + i % 5, 20 + i) for i in range(16)])
    serial = [predictor(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(predictor, images))
    assert all(same(a, b, off=1e-6) for a, b in zip(serial, threaded, strict=True))


def test_a_mirrored_predictor_turns_with_the_image(run: tuple[Path, Path]) -> None:
    [image] = pictures((16, 32))
    predictor = br.load_predictor(run[1], mirror=True)
    straight, turned = predictor(image).probability, predictor(np.ascontiguousarray(image[:, ::-1])).probability
    assert straight is not None
    assert turned is not None
    assert np.allclose(straight, turned[:, ::-1], atol=1e-6)
    plain = br.load_predictor(run[1])
    both = [plain(image).probability, plain(image[:, ::-1]).probability[:, ::-1]]  # type: ignore[index]
    assert np.allclose(straight, np.mean(both, 0), atol=1e-6)  # type: ignore[arg-type]
    assert not np.allclose(both[0], both[1], atol=1e-4)  # type: ignore[arg-type]


def test_a_run_knows_its_images_own_size_and_copies_of_older_runs_do_without(
    run: tuple[Path, Path], predictor: Predictor, tmp_path: Path
) -> None:
    assert predictor.run["image_size"] == [24, 32]
    older = tmp_path / "older"
    shutil.copytree(run[1], older)
    document = json.loads((older / "run.json").read_text())
    del document["image_size"]
    (older / "run.json").write_text(json.dumps(document))
    before = br.load_predictor(older)
    assert not before.tiled((4000, 4000))
    assert before.advice((4000, 4000)) == ""
    [image] = pictures((50, 60))
    assert same(before(image), predictor(image), off=0)


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


@pytest.mark.parametrize(
    ("image", "match"),
    [
        ("a.png", "'a.png', a path"),
        (Path("a.png"), "'a.png', a path"),
        (b"\x89PNG", "a file's bytes"),
        (None, "NoneType"),
        ({"image": 1}, "dict"),
        (np.zeros((4, 4, 3), np.int64), r"int64 \(4, 4, 3\)"),
        (np.zeros((4, 4), bool), r"bool \(4, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.bool), r"torch.bool \(3, 4, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int8), r"torch.int8 \(3, 4, 4\)"),
        (np.full((4, 4, 3), 2.0), r"outside \[0, 1\]"),
        (np.full((4, 4, 3), -0.1), r"outside \[0, 1\]"),
        (torch.full((3, 4, 4), torch.nan), "NaN"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \(0, 4, 3\)"),
        (np.zeros((3, 40, 40), np.uint8), r"transpose\(1, 2, 0\)"),
        (torch.zeros(40, 40, 3), r"permute\(2, 0, 1\)"),
        (np.zeros((4, 4, 2), np.uint8), r"uint8 \(4, 4, 2\)"),
        (np.zeros(4, np.uint8), r"uint8 \(4\)"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), r"uint8 \(1, 1, 4, 4, 3\)"),
        (np.array(["a"]), "<U1"),
        ([np.zeros((4, 4, 3), np.uint8), "b.png"], "image 2 is 'b.png'"),
        ([[0, 1], [2, 3]], "image 1 is a list"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_wrong_inputs_are_named(predictor: Predictor, image: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        predictor(image)
    with pytest.raises(UsageError):  # when it is called, not at the first band
        predictor.bands(image)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), "much"])
def test_thresholds_outside_zero_to_one_are_refused(run: tuple[Path, Path], threshold: Any) -> None:
    with pytest.raises(UsageError, match="--threshold"):
        br.load_predictor(run[1], threshold=threshold)


def test_a_network_with_backgrounds_wants_one(tmp_path: Path) -> None:
    br.train("scenes:12", out=tmp_path / "run", loss="bce", network="masknet", resolution=16, epochs=1)
    predictor = br.load_predictor(tmp_path / "run")
    source = open_source("scenes:12")
    sample = source.load(source.entries[0])
    with pytest.raises(UsageError, match="empty scene"):
        predictor(sample.image)
    assert predictor(sample.image, sample.background).depth is None


def test_one_background_serves_all_images_or_each_has_its_own(tmp_path: Path) -> None:
    br.train("scenes:12", out=tmp_path / "run", loss="bce", network="masknet", resolution=16, epochs=1)
    predictor = br.load_predictor(tmp_path / "run")
    assert predictor.run["image_size"] is None  # generated at the resolution: they have no size of their own
    images = pictures((16, 20), (30, 20), (16, 16))
    backs = pictures((20, 20), (16, 16), (40, 40))
    alone = [predictor(image, back).probability for image, back in zip(images, backs, strict=True)]
    together = [result.probability for result in predictor(images, backs)]
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(alone, together, strict=True))  # type: ignore[arg-type]
    shared = [result.probability for result in predictor(images, backs[0])]
    expected = [predictor(image, backs[0]).probability for image in images]
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(shared, expected, strict=True))  # type: ignore[arg-type]
    assert not np.allclose(shared[1], together[1], atol=1e-5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="2 backgrounds for 3 images"):
        predictor(images, backs[:2])
    with pytest.raises(UsageError, match="2 backgrounds for 1 image"):
        predictor(images[0], backs[:2])
    with pytest.raises(UsageError, match=r"background is 'x\.png'"):
        predictor(images[0], "x.png")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="empty scene"):
        predictor.bands(images[0])
