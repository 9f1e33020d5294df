from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from basrelief.data import data_file
from basrelief.data.decode import FileError, palette_of, read_depth, read_image, read_mask_values
from basrelief.data.headers import image_size, is_lossy

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
RED = np.zeros((4, 6, 3), np.uint8) + np.array([200, 20, 10], np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def png_of_16_bit_rgb(path, array, kind=2):
    """Pillow cannot write 16-bit colour, so the file is put together here."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "pgm", "tga"])
def test_grey_images_become_three_equal_channels(tmp_path, suffix):
    image = read_image(save(tmp_path / f"x.{suffix}", GREY))
    assert image.dtype == np.uint8
    assert (image == GREY[..., None]).all()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_colour_images_keep_the_order_of_channels(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    assert (read_image(save(tmp_path / f"x.{suffix}", RED, **options)) == RED).all()


def test_jpeg_is_read_about_right(tmp_path):
    assert np.abs(read_image(save(tmp_path / "x.jpg", RED)).astype(int) - RED).max() < 6


def test_transparent_parts_are_black(tmp_path):
    alpha = np.full((4, 6, 1), 255, np.uint8)
    alpha[0] = 0
    image = read_image(save(tmp_path / "x.png", np.concatenate([RED, alpha], axis=2)))
    assert (image[0] == 0).all()
    assert (image[1:] == RED[1:]).all()
    grey_alpha = np.stack([GREY, alpha[..., 0]], axis=2)
    image = read_image(save(tmp_path / "la.png", grey_alpha))
    assert (image[0] == 0).all()
    assert (image[1:] == GREY[1:, :, None]).all()


def test_palette_images_with_and_without_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").tolist() == [[[255, 0, 0], [0, 0, 255]]]
    picture.save(tmp_path / "t.png", transparency=0)
    assert read_image(tmp_path / "t.png").tolist() == [[[0, 0, 0], [0, 0, 255]]]


def test_cmyk_and_one_bit_images(tmp_path):
    Image.fromarray(RED).convert("CMYK").save(tmp_path / "x.tif")
    assert np.abs(read_image(tmp_path / "x.tif").astype(int) - RED).max() < 4
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png")[..., 0].tolist() == [[255, 0]]


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bit_grey_is_scaled_by_its_full_range(tmp_path, name):
    wide = np.array([[0, 257, 65535], [32896, 300, 128]], np.uint16)
    assert read_image(save(tmp_path / name, wide))[..., 0].tolist() == [[0, 1, 255], [128, 1, 0]]


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_8_bit_values_in_a_16_bit_file_stay(tmp_path, name):
    assert (read_image(save(tmp_path / name, GREY.astype(np.uint16)))[..., 1] == GREY).all()


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_16_bit_rgb_tiff(tmp_path, planes):
    wide = RED.astype(np.uint16) * 257
    stored = wide if planes == "contig" else np.moveaxis(wide, 2, 0)
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planes)
    assert (read_image(tmp_path / "x.tif") == RED).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_compressed_tiff(tmp_path, compression):
    path = save(tmp_path / "x.tif", RED, compression=compression)
    assert np.abs(read_image(path).astype(int) - RED).max() < 6
    assert image_size(path) == (4, 6)


def test_white_is_zero_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", 255 - GREY, photometric="miniswhite")
    assert (read_image(tmp_path / "x.tif")[..., 0] == GREY).all()


def test_16_bit_rgb_png(tmp_path):
    path = png_of_16_bit_rgb(tmp_path / "x.png", RED.astype(np.uint16) * 257)
    assert (read_image(path) == RED).all()


def test_16_bit_rgb_png_with_8_bit_values_is_not_black(tmp_path):
    path = png_of_16_bit_rgb(tmp_path / "x.png", RED.astype(np.uint16))
    assert (read_image(path) == RED).all()


def test_16_bit_rgb_png_keeps_its_low_bytes_in_depth_and_masks(tmp_path):
    """Pillow reads the high byte of each number: depth in thousands became depth in fours, class numbers became 0."""
    depth = np.random.default_rng(0).integers(0, 65536, (4, 6)).astype(np.uint16)
    path = png_of_16_bit_rgb(tmp_path / "x.png", np.repeat(depth[..., None], 3, 2))
    assert (read_depth(path) == depth).all()
    path = png_of_16_bit_rgb(tmp_path / "y.png", np.repeat((depth % 5)[..., None], 3, 2))
    assert (read_mask_values(path) == depth % 5).all()
    path = png_of_16_bit_rgb(tmp_path / "z.png", RED.astype(np.uint16) * 257)
    assert (read_mask_values(path) == RED).all()
    path = png_of_16_bit_rgb(tmp_path / "w.png", RED.astype(np.uint16) * 250)
    with pytest.raises(FileError, match=r"w\.png.*uint16.*8-bit"):
        read_mask_values(path)


def test_16_bit_grey_png_with_alpha(tmp_path):
    """Colour type 4 of PNG: the grey is depth, transparency is nothing to depth and black in an image."""
    grey = np.random.default_rng(0).integers(256, 65536, (4, 6)).astype(np.uint16)
    alpha = np.full_like(grey, 65535)
    alpha[0] = 0
    path = png_of_16_bit_rgb(tmp_path / "x.png", np.stack([grey, alpha], -1), kind=4)
    assert (read_depth(path) == grey).all()
    assert (read_image(path)[1:, :, 0] == (grey[1:].astype(int) + 128) // 257).all()
    assert (read_image(path)[0] == 0).all()


@pytest.mark.parametrize(("extra", "drawn"), [("unassalpha", 0), ("assocalpha", 200), ("unspecified", 200)])
def test_the_fourth_channel_of_a_tiff_is_transparency_only_where_it_says_so(extra, drawn, tmp_path):
    array = np.full((3, 4, 4), 200 * 257, np.uint16)
    array[..., 3] = 0
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extrasamples=[extra])
    assert (read_image(tmp_path / "x.tif") == drawn).all()


def test_loss_is_known_by_content_whatever_the_name(tmp_path):
    save(tmp_path / "a.jpg", GREY)
    save(tmp_path / "b.webp", np.repeat(GREY[..., None], 3, 2), lossless=True)
    save(tmp_path / "c.webp", np.repeat(GREY[..., None], 3, 2), quality=50)
    save(tmp_path / "d.png", GREY)
    assert [is_lossy(path) for path in sorted(tmp_path.iterdir())] == [True, False, True, False]
    (tmp_path / "d.png").rename(tmp_path / "d.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert is_lossy(tmp_path / "a.png")
    assert not is_lossy(tmp_path / "d.jpg")


def test_float_images_in_unit_range_and_beyond(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.array([[0.0, 0.5, 1.0]], np.float32))
    assert read_image(tmp_path / "x.tif")[..., 0].tolist() == [[0, 128, 255]]
    tifffile.imwrite(tmp_path / "y.tif", np.array([[0.0, 7.5]], np.float32))
    with pytest.raises(FileError, match=r"y\.tif.*\[0, 1\].*8 or 16 bits"):
        read_image(tmp_path / "y.tif")


def test_animation_gives_its_first_frame(tmp_path):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert (read_image(tmp_path / "x.gif")[..., 0] == GREY).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation_is_applied_in_pixels_and_size(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / f"x.{suffix}", GREY, exif=exif)
    # What the EXIF standard says that row 0 and column 0 of the file stand for.
    expected = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: GREY.T[:, ::-1],
        7: GREY.T[::-1, ::-1],
        8: GREY.T[::-1],
    }[orientation]
    assert (read_image(path)[..., 0] == expected).all()
    assert (read_mask_values(path) == expected).all()
    assert image_size(path) == expected.shape


def test_sizes_of_every_kind_come_from_the_header(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 4, 6)))
    tifffile.imwrite(tmp_path / "f64.tif", GREY.astype(np.float64))
    for path in (tmp_path / "x.npy", tmp_path / "f64.tif", save(tmp_path / "x.png", GREY)):
        assert image_size(path) == (4, 6)


# Masks


def test_mask_values_stay_as_stored(tmp_path):
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    assert (read_mask_values(save(tmp_path / "x.png", labels)) == labels).all()
    assert (read_mask_values(save(tmp_path / "rgb.png", np.repeat(labels[..., None], 3, 2))) == labels).all()
    assert (read_mask_values(save(tmp_path / "w.png", labels.astype(np.uint16) * 257)) == labels * 257.0).all()
    assert (read_mask_values(save(tmp_path / "x.pbm", labels > 0)) == (labels > 0)).all()
    np.save(tmp_path / "x.npy", labels > 0)
    assert (read_mask_values(tmp_path / "x.npy") == (labels > 0)).all()
    np.save(tmp_path / "f.npy", labels.astype(float))
    assert (read_mask_values(tmp_path / "f.npy") == labels).all()
    assert read_mask_values(save(tmp_path / "c.png", RED)).shape == RED.shape


def test_palette_masks_give_indices_or_colours(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "x.png")
    assert read_mask_values(tmp_path / "x.png").tolist() == [[0, 1, 2]]
    assert read_mask_values(tmp_path / "x.png", colours=True)[0, 1].tolist() == [128, 0, 0]
    assert palette_of(tmp_path / "x.png") == ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def test_a_grey_palette_gives_grey_values_since_tools_reorder_it(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "x.png")
    assert read_mask_values(tmp_path / "x.png").tolist() == [[255, 0]]
    assert palette_of(tmp_path / "x.png") is None


def test_masks_with_an_alpha_channel(tmp_path):
    alpha = np.array([[0, 255, 255]], np.uint8)
    solid = np.stack([np.full_like(alpha, 255)] * 3 + [alpha], axis=2)
    assert read_mask_values(save(tmp_path / "a.png", solid)).tolist() == [[0, 255, 255]]
    constant = np.stack([alpha] * 3 + [np.full_like(alpha, 255)], axis=2)
    assert read_mask_values(save(tmp_path / "b.png", constant)).tolist() == [[0, 255, 255]]
    both = np.stack([np.array([[9, 9, 255]], np.uint8)] * 3 + [alpha], axis=2)
    assert read_mask_values(save(tmp_path / "c.png", both)).tolist() == [[0, 9, 255]]


def test_masks_with_fractions_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0.0, 0.5]]))
    with pytest.raises(FileError, match=r"x\.npy.*fractions.*whole numbers"):
        read_mask_values(tmp_path / "x.npy")


# Depth


def test_depth_of_every_encoding_keeps_its_values(tmp_path):
    depth = np.array([[0, 1000, 65535], [3, 4, 5]], np.uint16)
    save(tmp_path / "a.png", depth)
    save(tmp_path / "b.tif", depth)
    tifffile.imwrite(tmp_path / "c.tif", depth.astype(np.float32))
    tifffile.imwrite(tmp_path / "d.tif", depth.astype(np.float64))
    tifffile.imwrite(tmp_path / "e.tif", depth.astype(np.uint32), compression="zlib")
    for name, array in {"f": depth, "g": depth[..., None], "h": depth[None].astype(np.int32)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    Image.fromarray(depth.astype(np.float32)).save(tmp_path / "i.pfm")
    for path in sorted(tmp_path.iterdir()):
        found = read_depth(path)
        assert found.dtype == np.float32
        assert (found == depth).all(), path.name


def test_8_bit_and_rgb_grey_depth(tmp_path):
    assert (read_depth(save(tmp_path / "x.png", GREY)) == GREY).all()
    assert (read_depth(save(tmp_path / "y.png", np.repeat(GREY[..., None], 3, 2))) == GREY).all()


def test_a_picture_of_depth_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"x\.png.*colours.*one number a pixel"):
        read_depth(save(tmp_path / "x.png", RED))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (2, 2, 3, 3), (0, 4)])
def test_depth_of_a_wrong_shape_names_the_shape(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros(shape))
    with pytest.raises(FileError, match=r"x\.npy.*shape.*\(H, W\)"):
        read_depth(tmp_path / "x.npy")


def test_python_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[{}, None]], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match=r"x\.npy.*Python objects.*plain array"):
        read_depth(tmp_path / "x.npy")


def test_an_archive_named_npy_and_text_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 2)))
    shutil.move(tmp_path / "x.npz", tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", np.array([["a", "b"]]))
    for name in ("x.npy", "y.npy"):
        with pytest.raises(FileError, match=name):
            read_depth(tmp_path / name)


# Broken files


READERS = [read_image, read_mask_values, read_depth, image_size]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.npy", "x.pbm"])
def test_empty_and_missing_files_and_folders(tmp_path, reader, name):
    with pytest.raises(FileError, match=rf"{name}.*not there"):
        reader(tmp_path / name)
    (tmp_path / name).touch()
    with pytest.raises(FileError, match=rf"{name}.*zero bytes.*remove it"):
        reader(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(FileError, match=name):
        reader(tmp_path / name)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.npy", "x.gif", "x.tga", "x.pfm"])
@pytest.mark.parametrize("content", [b"hello, this is text", b"\x89PNG\r\n\x1a\n", b"II*\0\xff\xff\xff\xff", b"BM\0"])
def test_what_is_no_image_is_said_to_be_none(tmp_path, reader, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=name):
        reader(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "lzw.tif", "ppm", "webp", "npy", "16.png", "f.tif"])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_end_in_one_kind_of_error(tmp_path, suffix, keep):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"x.{suffix}"
    match suffix:
        case "npy":
            np.save(path, noise[..., 0])
        case "16.png":
            save(path, noise[..., 0].astype(np.uint16) * 200)
        case "f.tif":
            tifffile.imwrite(path, noise[..., 0].astype(np.float32))
        case "lzw.tif":
            save(path, noise, compression="tiff_lzw")
        case _:
            save(path, noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    reader = read_depth if suffix in ("npy", "f.tif") else read_image
    with pytest.raises(FileError, match=rf"x\.{suffix}.*(remove it|again)"):
        reader(path)


def test_too_many_pixels_state_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(data_file, "MAX_PIXELS", 10)
    np.save(tmp_path / "x.npy", np.zeros((4, 6)))
    tifffile.imwrite(tmp_path / "x.tif", GREY.astype(np.float32))
    for path in (save(tmp_path / "x.png", GREY), tmp_path / "x.npy", tmp_path / "x.tif"):
        with pytest.raises(FileError, match=rf"{path.name}.*more than 10 pixels.*smaller"):
            read_depth(path)


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path):
    (tmp_path / "x.ppm").write_bytes(b"P6 100000 100000 255\n" + b"\0" * 100)
    with pytest.raises(FileError, match=r"x\.ppm.*178,956,970 pixels"):
        read_image(tmp_path / "x.ppm")


def test_file_errors_cross_processes():
    error = pickle.loads(pickle.dumps(FileError("a.png", "is broken", "Mend it")))
    assert str(error) == "a.png: is broken. Mend it."
    assert error.fault.remedy == "Mend it"


def test_the_size_of_a_turned_64_bit_tiff_is_the_one_it_is_read_with(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 6)), extratags=[(274, "H", 1, 6, True)])
    assert image_size(tmp_path / "x.tif") == read_depth(tmp_path / "x.tif").shape == (6, 4)
