from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from basrelief.data.decode import FileError, read_mask_values
from basrelief.data.mask_looks import COLOUR, look_at
from basrelief.data.mask_recognise import recognise
from basrelief.data.mask_values import ClassNames, parse_mask_map, read_class_names, to_planes
from basrelief.errors import DataError, UsageError

VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]


def figure(seed=0, size=48):
    """A disk away from the border, uint8 in {0, 1}."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centre, radius = rng.uniform(18, 30, 2), rng.uniform(6, 14)
    return (((y - centre[0]) ** 2 + (x - centre[1]) ** 2) < radius**2).astype(np.uint8)


def labels(seed=0, classes=3, size=48):
    """Rectangles of class numbers on background."""
    rng = np.random.default_rng(seed)
    result = np.zeros((size, size), np.uint8)
    for value in range(1, classes + 1):
        top, left = rng.integers(2, size - 16, 2)
        result[top : top + 12, left : left + 12] = value
    return result


def write(folder: Path, arrays, suffix="png", palette=None, **options):
    paths = []
    for number, array in enumerate(arrays):
        picture = Image.fromarray(array)
        if palette is not None:
            picture.putpalette([part for colour in palette for part in colour])
        picture.save(folder / f"m{number}.{suffix}", **options)
        paths.append(folder / f"m{number}.{suffix}")
    return paths


def read(paths, **options):
    mapping = recognise([look_at(path) for path in paths], **options)
    return mapping, [to_planes(mapping, read_mask_values(path), str(path)) for path in paths]


@pytest.fixture
def figures():
    return [figure(seed) for seed in range(5)]


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1), (0, 7), (29, 226), (0, 128)])
def test_two_values_are_background_and_figure(tmp_path, figures, low, high):
    paths = write(tmp_path, [np.where(f == 1, high, low).astype(np.uint8) for f in figures])
    mapping, planes = read(paths)
    assert mapping.classes == ("figure",)
    assert mapping.says == f"Masks: {low} is background, {high} the figure (5 masks looked at)."
    for (mask, known), truth in zip(planes, figures, strict=True):
        assert mask.dtype == np.uint8
        assert (mask[0] == truth).all()
        assert known is None


@pytest.mark.parametrize("suffix", ["png", "pbm", "tif"])
def test_one_bit_masks(tmp_path, figures, suffix):
    _, planes = read(write(tmp_path, [f == 1 for f in figures], suffix))
    assert all((mask[0] == truth).all() for (mask, _), truth in zip(planes, figures, strict=True))


def test_16_bit_masks(tmp_path, figures):
    _, planes = read(write(tmp_path, [f.astype(np.uint16) * 65535 for f in figures]))
    assert all((mask[0] == truth).all() for (mask, _), truth in zip(planes, figures, strict=True))


def test_rgb_masks_in_black_and_white(tmp_path, figures):
    mapping, planes = read(write(tmp_path, [np.repeat(f[..., None] * 255, 3, axis=2) for f in figures]))
    assert not mapping.colours
    assert all((mask[0] == truth).all() for (mask, _), truth in zip(planes, figures, strict=True))


def test_an_empty_mask_among_others_is_all_background(tmp_path, figures):
    _, planes = read(write(tmp_path, [np.zeros_like(figures[0]), *(f * 255 for f in figures)]))
    assert not planes[0][0].any()


@pytest.mark.parametrize("quality", [30, 60, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_noise_is_cut_at_half(tmp_path, figures, quality, mode):
    arrays = [f * 255 if mode == "L" else np.repeat(f[..., None] * 255, 3, axis=2) for f in figures]
    paths = write(tmp_path, arrays, "jpg", quality=quality)
    mapping, planes = read(paths)
    assert mapping.nearest
    assert "JPEG noise" in mapping.says
    assert all((mask[0] == truth).mean() > 0.995 for (mask, _), truth in zip(planes, figures, strict=True))


def test_jpeg_noise_saved_as_png_is_still_noise(tmp_path, figures):
    arrays = []
    for f in figures:
        file = io.BytesIO()
        Image.fromarray(f * 255).save(file, "jpeg", quality=50)
        arrays.append(np.asarray(Image.open(file)))
    mapping, planes = read(write(tmp_path, arrays))
    assert mapping.nearest
    assert all((mask[0] == truth).mean() > 0.995 for (mask, _), truth in zip(planes, figures, strict=True))


def test_soft_edges_are_cut_at_half(tmp_path, figures):
    arrays = [np.asarray(Image.fromarray(f * 255).resize((96, 96), Image.Resampling.BICUBIC)) for f in figures]
    mapping, planes = read(write(tmp_path, arrays))
    assert mapping.nearest
    for (mask, _), array in zip(planes, arrays, strict=True):
        assert (mask[0] == (array > 127)).all()


def test_class_labels_with_255_as_unknown(tmp_path):
    truth = [labels(seed) for seed in range(4)]
    truth[0][:3] = 255
    mapping, planes = read(write(tmp_path, truth))
    assert mapping.classes == ("class_1", "class_2", "class_3")
    assert "255 unknown" in mapping.says
    for (mask, known), array in zip(planes, truth, strict=True):
        for k in range(3):
            assert (mask[k] == (array == k + 1)).all()
        assert known is None if not (array == 255).any() else (known == (array != 255)).all()


def test_class_labels_one_pixel_thin_are_not_taken_for_soft_edges(tmp_path):
    truth = np.zeros((64, 64), np.uint8)
    for k in range(1, 6):
        truth[10 * k, 5:60] = k
    truth[2] = 255
    mapping, planes = read(write(tmp_path, [truth]))
    assert len(mapping.classes) == 5
    assert (planes[0][0][4] == (truth == 5)).all()


def test_binary_labels_with_255_as_unknown(tmp_path, figures):
    figures[0][0] = 255
    mapping, planes = read(write(tmp_path, figures))
    assert mapping.classes == ("figure",)
    assert (~planes[0][1]).sum() == figures[0].shape[1]


def test_voc_palette_masks(tmp_path):
    truth = [labels(seed, 4) for seed in range(3)]
    truth[0][0] = 255
    palette = VOC + [(i, 255 - i, 7) for i in range(len(VOC), 256)]
    mapping, planes = read(write(tmp_path, truth, palette=palette))
    assert len(mapping.classes) == 4
    assert (planes[0][0][2] == (truth[0] == 3)).all()
    assert not planes[0][1][0].any()


def test_few_exact_colours_are_classes_in_sorted_order(tmp_path):
    truth = [labels(seed) for seed in range(3)]
    colours = np.array([(0, 0, 0), (0, 0, 255), (0, 200, 0), (255, 0, 0)], np.uint8)
    mapping, planes = read(write(tmp_path, [colours[t] for t in truth]))
    assert mapping.classes == ("class_1", "class_2", "class_3")
    assert "#0000ff is class_1" in mapping.says
    for (mask, _), array in zip(planes, truth, strict=True):
        assert all((mask[k] == (array == k + 1)).all() for k in range(3))


def test_a_photograph_as_mask_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"colours.*images"):
        read(write(tmp_path, [noise, noise]))


def test_class_names_with_and_without_background_first(tmp_path):
    truth = [labels(seed) for seed in range(4)]
    paths = write(tmp_path, truth)
    for names in (("background", "cat", "dog", "cow"), ("cat", "dog", "cow")):
        mapping, planes = read(paths, names=ClassNames(names))
        assert mapping.classes == ("cat", "dog", "cow")
        assert "1 is cat" in mapping.says
        assert (planes[0][0][1] == (truth[0] == 2)).all()
    mapping, planes = read(paths, names=ClassNames(("sky", "cat", "dog", "cow")))
    assert mapping.classes == ("sky", "cat", "dog", "cow")
    assert (planes[0][0][0] == (truth[0] == 0)).all()


def test_more_values_than_class_names(tmp_path):
    with pytest.raises(DataError, match=r"value 3.*2 classes.*classes file"):
        read(write(tmp_path, [labels(0)]), names=ClassNames(("background", "cat")))


def test_class_file_with_colours(tmp_path):
    (tmp_path / "classes.txt").write_text("background 0 0 0\nfire engine 255 0 0\n0 0 255 sea\n")
    names = read_class_names(tmp_path / "classes.txt")
    assert names.names == ("background", "fire engine", "sea")
    assert names.colours == (COLOUR, COLOUR | 0xFF0000, COLOUR | 0x0000FF)
    truth = labels(0, 2)
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)
    mapping, planes = read(write(tmp_path, [colours[truth]]), names=names)
    assert mapping.classes == ("fire engine", "sea")
    assert (planes[0][0][1] == (truth == 2)).all()
    strange = np.array([(0, 0, 0), (255, 0, 0), (9, 9, 255)], np.uint8)
    with pytest.raises(FileError, match=r"m0\.png.*#0909ff.*classes file"):
        read(write(tmp_path, [strange[truth]]), names=names)


@pytest.mark.parametrize("kind", ["1-bit", "0/255", "jpeg", "two colours"])
def test_inverted_masks_are_turned_and_said_to_be(tmp_path, figures, kind):
    turned = [1 - f for f in figures]
    colours = np.array([(200, 0, 0), (255, 255, 0)], np.uint8)
    match kind:
        case "1-bit":
            paths = write(tmp_path, [t == 1 for t in turned], "pbm")
        case "0/255":
            paths = write(tmp_path, [t * 255 for t in turned])
        case "jpeg":
            paths = write(tmp_path, [t * 255 for t in turned], "jpg")
        case _:
            paths = write(tmp_path, [colours[t] for t in turned])
    mapping, planes = read(paths)
    assert "inverted" in mapping.says
    assert "--no-invert-masks" in mapping.says
    assert all((mask[0] == truth).mean() > 0.995 for (mask, _), truth in zip(planes, figures, strict=True))
    mapping, planes = read(paths, invert=False)
    assert "inverted" not in mapping.says
    assert (planes[0][0][0] == turned[0]).mean() > 0.995


def test_invert_on_the_users_word(tmp_path, figures):
    mapping, planes = read(write(tmp_path, [f * 255 for f in figures]), invert=True)
    assert "inverted, as stated" in mapping.says
    assert (planes[0][0][0] == 1 - figures[0]).all()


def test_a_large_figure_that_touches_the_border_is_not_turned(tmp_path):
    road = np.zeros((40, 40), np.uint8)
    road[14:] = 255
    mapping, planes = read(write(tmp_path, [road] * 3))
    assert (planes[0][0][0] == road // 255).all()
    assert "covers" in mapping.says  # in doubt, it is said
    assert "--invert-masks" in mapping.says


def test_full_masks_are_no_evidence_of_inversion(tmp_path, figures):
    full = np.full_like(figures[0], 255)
    _, planes = read(write(tmp_path, [*(f * 255 for f in figures), *[full] * 20]))
    assert (planes[0][0][0] == figures[0]).all()


def test_invert_makes_no_sense_with_classes(tmp_path):
    with pytest.raises(UsageError, match=r"--invert-masks.*two values"):
        read(write(tmp_path, [labels(0)]), invert=True)


# What cannot be decided


@pytest.mark.parametrize("value", [0, 255])
def test_masks_of_one_value(tmp_path, value):
    with pytest.raises(DataError, match=rf"empty or full.*value {value}.*Expected a second value"):
        read(write(tmp_path, [np.full((8, 8), value, np.uint8)] * 3))


def test_a_trimap_is_asked_about(tmp_path, figures):
    trimap = np.pad(figures[0] * 255, 4)
    trimap[20:30, 20:30] = 128
    with pytest.raises(DataError, match=r"0, 128, 255.*--mask-map 0=background,255=figure.*m0\.png"):
        read(write(tmp_path, [trimap]))
    _, planes = read(write(tmp_path, [trimap]), mask_map=parse_mask_map("0=background,128=unknown,255=figure"))
    assert (planes[0][1] == (trimap != 128)).all()


def test_labels_without_zero_are_asked_about(tmp_path):
    with pytest.raises(DataError, match=r"no 0.*background.*--mask-map"):
        read(write(tmp_path, [labels(0, 2) + 1]))


def test_continuous_grey_is_asked_about(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    for suffix in ("png", "jpg"):
        with pytest.raises(DataError, match=r"halfway.*--mask-map"):
            read(write(tmp_path, [ramp] * 2, suffix))


def test_class_labels_in_jpeg_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"without loss \(PNG\).*--mask-map"):
        read(write(tmp_path, [labels(0, 3) * 80], "jpg"))


def test_object_numbers_are_recognised_and_merged_on_request(tmp_path):
    numbers = np.zeros((64, 64), np.uint16)
    numbers[:60, :60] = np.repeat(np.repeat(np.arange(100).reshape(10, 10), 6, 0), 6, 1)
    paths = write(tmp_path, [numbers])
    with pytest.raises(DataError, match=r"number for each object.*0=background,other=figure"):
        read(paths)
    mapping, planes = read(paths, mask_map=parse_mask_map("0=background,other=figure"))
    assert mapping.classes == ("figure",)
    assert (planes[0][0][0] == (numbers > 0)).all()


def test_a_value_seen_later_names_file_value_and_remedy(tmp_path, figures):
    mapping, _ = read(write(tmp_path, [f * 255 for f in figures]))
    with pytest.raises(FileError, match=r"late\.png.*value 3.*expected 0, 255.*--mask-map"):
        to_planes(mapping, figures[0] * 3, "late.png")
    with pytest.raises(FileError, match=r"late\.png.*colours"):
        to_planes(mapping, np.zeros((4, 4, 3), np.uint8), "late.png")


def test_a_mostly_grey_mask_among_noisy_ones_is_named(tmp_path, figures):
    mapping, _ = read(write(tmp_path, [f * 255 for f in figures], "jpg"))
    grey = np.full((48, 48), 120, np.uint8)
    with pytest.raises(FileError, match=r"grey\.jpg.*mostly grey.*two values"):
        to_planes(mapping, grey, "grey.jpg")


# The user's word


def test_a_stated_map_overrules(tmp_path, figures):
    arrays = [np.where(f == 1, 7, 3).astype(np.uint8) for f in figures]
    arrays[0][0] = 255
    mapping, planes = read(write(tmp_path, arrays), mask_map={3: "background", 7: "person", 255: "unknown"})
    assert mapping.classes == ("person",)
    assert mapping.says.startswith("Masks: 3 is background, 7 is person, 255 is unknown (as stated)")
    assert (planes[1][0][0] == figures[1]).all()
    assert not planes[0][1][0].any()


def test_a_stated_map_without_background_takes_0(tmp_path, figures):
    mapping, planes = read(write(tmp_path, [f * 7 for f in figures]), mask_map={7: "person", 255: "unknown"})
    assert (planes[0][0][0] == figures[0]).all()
    assert "0 is background" in mapping.says


def test_a_stated_map_that_lacks_a_value_names_the_file(tmp_path):
    with pytest.raises(FileError, match=r"m0\.png.*value 3.*--mask-map.*Add it"):
        read(write(tmp_path, [labels(0)]), mask_map={0: "background", 1: "a", 2: "b"})


def test_a_stated_map_without_any_figure_found(tmp_path):
    with pytest.raises(DataError, match=r"all masks are empty.*--mask-map"):
        read(write(tmp_path, [np.zeros((8, 8), np.uint8)]), mask_map={0: "background", 255: "figure"})


def test_a_stated_map_takes_soft_masks_to_the_nearest(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    mapping, planes = read(write(tmp_path, [ramp]), mask_map={0: "background", 255: "figure"})
    assert (planes[0][0][0] == (ramp > 127)).all()
    assert "nearest" in mapping.says


def test_a_stated_map_by_numbers_and_colours(tmp_path):
    mapping, _ = read(write(tmp_path, [labels(0, 2)]), mask_map=parse_mask_map("0=0,1=2,2=1"))
    assert mapping.classes == ("class_2", "class_1")
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)
    mapping, planes = read(
        write(tmp_path, [colours[labels(0, 2)]]), mask_map=parse_mask_map("0=background,#ff0000=car,#0000ff=sea")
    )
    assert mapping.classes == ("car", "sea")
    assert (planes[0][0][0] == (labels(0, 2) == 1)).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    encoding=st.sampled_from(
        ["0/255", "0/1", "16", "rgb", "1-bit", "pbm", "palette", "grey palette", "inverted", "jpg"]
    ),
)
def test_every_encoding_of_a_figure_gives_the_same_planes(tmp_path, seed, encoding):
    truth = [figure(seed + i) for i in range(3)]
    match encoding:
        case "0/255":
            paths = write(tmp_path, [t * 255 for t in truth])
        case "0/1":
            paths = write(tmp_path, truth)
        case "16":
            paths = write(tmp_path, [t.astype(np.uint16) * 65535 for t in truth], "tif")
        case "rgb":
            paths = write(tmp_path, [np.repeat(t[..., None] * 255, 3, 2) for t in truth], "bmp")
        case "1-bit" | "pbm":
            paths = write(tmp_path, [t == 1 for t in truth], "png" if encoding == "1-bit" else "pbm")
        case "palette":
            paths = write(tmp_path, truth, palette=VOC)
        case "grey palette":
            paths = write(tmp_path, [1 - t for t in truth], palette=[(255, 255, 255), (0, 0, 0)])
        case "inverted":
            paths = write(tmp_path, [255 - t * 255 for t in truth])
        case _:
            paths = write(tmp_path, [t * 255 for t in truth], "jpg", quality=95)
    _, planes = read(paths)
    for (mask, known), array in zip(planes, truth, strict=True):
        assert (mask[0] == array).all()
        assert known is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(2, 6),
    void=st.booleans(),
    encoding=st.sampled_from(["grey", "palette", "tif", "npy", "16"]),
)
def test_every_encoding_of_classes_gives_the_same_planes(tmp_path, seed, classes, void, encoding):
    truth = labels(seed, classes, 64)
    truth[60:, :classes] = np.arange(1, classes + 1)  # so that each class is there, whatever covers it
    if void:
        truth[:2] = 255
    match encoding:
        case "npy":
            np.save(tmp_path / "m.npy", truth)
            paths = [tmp_path / "m.npy"]
        case "palette":
            paths = write(tmp_path, [truth], palette=[(i, 7 * i % 256, 255 - i) for i in range(256)])
        case _:
            array = truth.astype(np.uint16) if encoding == "16" else truth
            paths = write(tmp_path, [array], "png" if encoding != "tif" else "tif")
    mapping, [(mask, known)] = read(paths)
    assert len(mapping.classes) == classes
    assert all((mask[k] == (truth == k + 1)).all() for k in range(classes))
    assert (known is None) == (not void)
