"""What every mixture of steps must keep: planes together, masks binary, background equal, draws the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from basrelief.augment import AUGMENTATIONS, Augment, parse_augment
from basrelief.batch import Batch
from basrelief.errors import UsageError
from batches import gen, make

# Together they never shrink below 2/3, where pictures are smoothed: another test's subject.
GEOMETRY = {
    "flip": "flip(axis='both', p=0.7)",
    "turn": "turn",
    "rotate": "rotate(degrees=180)",
    "scale": "scale(low=0.75, high=3)",
    "shift": "shift(x=0.4, y=0.3)",
    "crop": "crop(low=0.3)",
    "pad": "pad(low=0.9)",
    "elastic": "elastic(amount=0.48, p=0.8)",
}
COLOUR = {
    "brightness": "brightness(0.5)",
    "contrast": "contrast(0.5)",
    "saturation": "saturation(1)",
    "hue": "hue(180)",
    "rgb_shift": "rgb_shift(0.2)",
    "grey": "grey(0.3)",
    "noise": "noise(0.1)",
    "cutout": "cutout(0.5, p=0.7)",
}
SIZES = [(16, 16), (15, 16), (17, 9), (21, 21), (1, 5)]
seeds = st.integers(0, 2**31)
mixtures = st.lists(st.sampled_from(sorted(GEOMETRY)), min_size=1, unique=True).map(
    lambda names: " + ".join(GEOMETRY[name] for name in names)
)
colours = st.lists(st.sampled_from(sorted(COLOUR)), unique=True).map(lambda names: [COLOUR[name] for name in names])
few = settings(max_examples=30, deadline=None)


def drawn(count: int, size: tuple[int, int]) -> Batch:
    """A batch whose image is a drawing of the other planes: across, down and depth; a band as mask."""
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    along, down = (columns + 0.5) / size[1], (rows + 0.5) / size[0]
    image = torch.stack([along, down, along]).repeat(count, 1, 1, 1)
    mask = torch.stack([along > 0.5, down > 0.5]).float().repeat(count, 1, 1, 1)
    return Batch(image, None, mask, None, along.repeat(count, 1, 1, 1))


def same(a: Batch, b: Batch) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def close(a: Tensor, b: Tensor, far: float) -> bool:
    return bool(((a - b).abs() <= far).all())


@few
@given(mixtures, st.sampled_from(SIZES), seeds)
def test_geometry_shows_no_shift_between_planes_to_the_pixel(text: str, size: tuple[int, int], seed: int) -> None:
    batch = drawn(4, size)
    found = parse_augment(text)(batch, gen(seed))
    along, down = found.image[:, :1], found.image[:, 1:2]
    assert found.depth is not None
    assert found.mask is not None
    # The image's ramps say where each pixel was taken from, blended over a pixel; the nearest is half a pixel off.
    half = 0.5 / size[1] + 1e-4
    assert close(found.depth, along, half)
    x, y = found.mask[:, :1], found.mask[:, 1:]
    assert ((x == 1) | (along <= 0.5 + half)).all()
    assert ((x == 0) | (along >= 0.5 - half)).all()
    half = 0.5 / size[0] + 1e-4
    assert ((y == 1) | (down <= 0.5 + half)).all()
    assert ((y == 0) | (down >= 0.5 - half)).all()


@few
@given(st.sampled_from(["flip", "turn", "flip(both) + turn", "turn + flip(vertical)"]), st.sampled_from(SIZES), seeds)
def test_flips_and_turns_only_put_pixels_elsewhere_and_all_planes_alike(
    text: str, size: tuple[int, int], seed: int
) -> None:
    batch = make(5, size, classes=2)
    places = torch.arange(size[0] * size[1]).double().reshape(1, 1, *size).repeat(5, 1, 1, 1)
    batch.depth = places  # names every pixel
    batch.depth_valid = None
    found = parse_augment(text)(batch, gen(seed))
    assert found.depth is not None
    taken = found.depth.flatten(1).long()
    for name in found:
        plane = batch[name]
        expected = plane.flatten(2).gather(2, taken[:, None].expand(-1, plane.shape[1], -1)).view_as(plane)
        assert torch.equal(found[name], expected), name
    assert (taken.sort(1).values == torch.arange(taken.shape[1])).all()


def test_no_step_is_left_out_here() -> None:
    apart = {"blur", "jpeg"}  # which spread the figure, and have their own test
    assert {*GEOMETRY, *COLOUR, *apart} == set(AUGMENTATIONS), "add the new step to the mixtures above"


def test_every_flip_and_quarter_turn_comes_up() -> None:
    corner = torch.zeros(64, 3, 3, 3)
    corner[:, :, 0, 0], corner[:, :, 0, 1] = 1, 0.5
    found = parse_augment("turn + flip")(Batch(corner), gen(0)).image
    assert len({tuple(picture.flatten().tolist()) for picture in found}) == 8


def test_samples_that_are_only_flipped_stay_exact_beside_samples_that_are_rotated() -> None:
    batch = make(40)
    found = parse_augment("flip + rotate(p=0.5)")(batch, gen(1))
    exact = [
        torch.equal(after, before) or torch.equal(after, before.flip(-1))
        for before, after in zip(batch.image, found.image, strict=True)
    ]
    assert 10 < sum(exact) < 30
    assert not torch.equal(found.image[exact], batch.image[exact])


@few
@given(mixtures, colours, st.sampled_from(SIZES), seeds)
def test_masks_stay_binary_and_everything_keeps_type_shape_and_range(
    text: str, others: list[str], size: tuple[int, int], seed: int
) -> None:
    batch = make(3, size, classes=3)
    found = parse_augment(" + ".join([text, *others]))(batch, gen(seed), depth_kind="metric")
    assert found.mask is not None
    assert ((found.mask == 0) | (found.mask == 1)).all()
    assert list(found) == list(batch)
    for name in found:
        assert found[name].shape == batch[name].shape
        assert found[name].dtype == batch[name].dtype
        assert not found[name].isnan().any()
        assert found[name].amin() >= 0
        assert found[name].amax() <= 1


@few
@given(mixtures, colours, st.permutations(["brightness(0.3)", "hue(50)", "noise"]), st.sampled_from(SIZES), seeds)
def test_image_and_background_stay_identical_outside_the_figure(
    text: str, others: list[str], order: list[str], size: tuple[int, int], seed: int
) -> None:
    names = {part.split("(")[0] for part in others}
    steps = [text, *others, *(part for part in order if part.split("(")[0] not in names)]
    batch = make(3, size)
    assert batch.mask is not None
    # Bilinear sampling blends four pixels, so "outside" is where none of them is the figure's: a third plane says so.
    near = torch.nn.functional.max_pool2d(batch.mask, 3, 1, 1)
    batch = Batch(batch.image, batch.background, torch.cat([batch.mask, near], 1))
    found = parse_augment(" + ".join(steps))(batch, gen(seed))
    assert found.mask is not None
    assert found.background is not None
    outside = (found.mask[:, 1:] == 0).expand_as(found.image)
    assert torch.equal(found.image[outside], found.background[outside])


@pytest.mark.parametrize(("text", "reach"), [("blur(sigma=1, p=1)", 4), ("jpeg(p=1)", 32), ("scale(0.5, 0.6)", 16)])
def test_steps_that_spread_the_figure_leave_what_is_far_from_it_identical(text: str, reach: int) -> None:
    torch.manual_seed(3)
    background = torch.rand(4, 3, 48, 80)
    image = background.clone()
    image[..., :20] = 0.5
    found = parse_augment(text)(Batch(image, background), gen(2))
    assert found.background is not None
    assert not torch.equal(found.image, found.background)
    start = (30 if text.startswith("scale") else 20) + reach  # a picture that shrinks brings the figure to the middle
    stop = 60 if text.startswith("scale") else 80
    assert start < stop
    assert torch.equal(found.image[..., start:stop], found.background[..., start:stop])


@few
@given(mixtures, colours, seeds)
def test_equal_generators_give_equal_bits_and_leave_the_batch_as_it_was(
    text: str, others: list[str], seed: int
) -> None:
    augment = parse_augment(" + ".join([text, *others, "blur", "jpeg"]))
    batch, copy = make(), make()
    first = augment(batch, gen(seed), depth_kind="metric")
    assert same(batch, copy)
    assert same(first, augment(batch, gen(seed), depth_kind="metric"))


@few
@given(
    mixtures,
    colours,
    seeds,
    st.sets(st.sampled_from(["background", "mask", "mask_valid", "depth", "depth_valid"]), min_size=1),
)
def test_what_a_plane_becomes_does_not_depend_on_the_others(
    text: str, others: list[str], seed: int, gone: set[str]
) -> None:
    augment = parse_augment(" + ".join([text, *others]))
    whole, part = make(), make()
    for name in gone:
        setattr(part, name, None)
    a, b = augment(whole, gen(seed)), augment(part, gen(seed))
    for name in b:
        if name == "depth":  # which is 0 where it is unknown
            valid = a["depth_valid"] & b.get("depth_valid", torch.tensor(True))
            assert torch.equal(a["depth"][valid], b["depth"][valid])
        else:
            assert torch.equal(a[name], b[name]), name


def test_a_step_draws_the_same_whatever_the_others_and_their_options() -> None:
    batch = make(8)
    alone = parse_augment("cutout(p=0.5) + flip")(batch, gen(4))
    for other in (
        "flip(p=0.5) + cutout",
        "noise(0) + flip + cutout",
        "brightness(0, p=0.1) + elastic(0) + cutout + flip",
    ):
        assert torch.allclose(parse_augment(other)(batch, gen(4)).image, alone.image, atol=1e-5), other
    sometimes = parse_augment("brightness(p=0.5)")(batch, gen(4)).image
    always = parse_augment("brightness(p=1)")(batch, gen(4)).image
    for before, some, every in zip(batch.image, sometimes, always, strict=True):
        assert torch.equal(some, before) or torch.equal(some, every)
    assert not torch.equal(sometimes, always)
    assert not torch.equal(sometimes, batch.image)


def test_one_number_is_drawn_from_the_generator_whatever_the_steps() -> None:
    after = []
    for text in ("flip", "noise(p=1) + elastic(p=1) + cutout(p=1)"):
        generator = gen(9)
        parse_augment(text)(make(), generator)
        after.append(generator.get_state())
    assert torch.equal(*after)


@few
@given(mixtures, st.sampled_from(["metric", "disparity", None]), st.sampled_from(SIZES), seeds)
def test_the_value_of_an_unknown_pixel_never_reaches_a_known_one(
    text: str, kind: str | None, size: tuple[int, int], seed: int
) -> None:
    batch, poisoned = make(4, size), make(4, size)
    assert poisoned.depth is not None
    assert poisoned.depth_valid is not None
    poisoned.depth = torch.where(poisoned.depth_valid, poisoned.depth, torch.nan)
    augment = parse_augment(text)
    a, b = augment(batch, gen(seed), depth_kind=kind), augment(poisoned, gen(seed), depth_kind=kind)
    assert torch.equal(a["depth_valid"], b["depth_valid"])
    assert torch.equal(a["depth"][a["depth_valid"]], b["depth"][a["depth_valid"]])
    assert not b["depth"].isnan().any()


def test_a_zoom_brings_metric_depth_nearer_and_disparity_up() -> None:
    depth = torch.full((2, 1, 8, 8), 0.6)
    depth[1] = 0.3
    batch = Batch(torch.rand(2, 3, 8, 8), depth=depth)
    for text, zoom in (
        ("scale(2, 2)", 2.0),
        ("crop(0.5, 0.5)", 2.0),
        ("pad(0.5, 0.5)", 0.5),
        ("scale(0.5, 0.5) + flip", 0.5),
    ):
        for kind in ("metric", "disparity"):
            found = parse_augment(text)(batch, gen(0), depth_kind=kind)
            expected = depth / zoom if kind == "metric" else depth * zoom
            known = expected <= 1
            assert torch.equal(found["depth_valid"], known)
            assert torch.allclose(found["depth"], torch.where(known, expected, 0))
        for kind in ("relative", None):
            found = parse_augment(text)(batch, gen(0), depth_kind=kind)
            assert torch.equal(found["depth"], depth)
            assert found.depth_valid is None
    turned = parse_augment("rotate(90) + shift + flip + elastic(p=1)")(batch, gen(0), depth_kind="metric")
    assert torch.equal(turned["depth"], depth)  # nothing zooms, so there is nothing to mend and nothing unknown
    assert turned.depth_valid is None
    with pytest.raises(UsageError, match="Did you mean 'metric'"):
        parse_augment("flip")(batch, gen(0), depth_kind="meters")


def test_no_steps_give_the_very_batch_and_draw_nothing() -> None:
    batch, generator = make(), gen(0)
    before = generator.get_state()
    assert Augment()(batch, generator) is batch
    assert torch.equal(generator.get_state(), before)


def test_pictures_kept_channels_last_give_the_same_bits() -> None:
    batch = make(4)
    other = make(4)
    other.image = other.image.contiguous(memory_format=torch.channels_last)
    assert other.background is not None
    other.background = other.background.contiguous(memory_format=torch.channels_last)
    for text in ("flip + rotate + hue", "brightness + jpeg(p=1)", "hue + blur(p=1) + noise"):
        augment = parse_augment(text)
        for name in ("image", "background"):
            assert torch.allclose(augment(batch, gen(1))[name], augment(other, gen(1))[name], atol=1e-6)


def test_cutout_hides_the_inputs_alone_unless_targets_are_asked_for() -> None:
    batch = make(6, (20, 30))
    batch.mask_valid = batch.depth_valid = None
    found = parse_augment("cutout(size=0.5, fill=0.25, p=1)")(batch, gen(0))
    hidden = (found.image == 0.25).all(1, keepdim=True)
    assert torch.equal(hidden, (found["background"] == 0.25).all(1, keepdim=True))
    for plane in hidden[:, 0]:
        rows, columns = plane.any(1).nonzero(), plane.any(0).nonzero()
        assert len(rows) * len(columns) == plane.sum()  # a rectangle
        assert 5 <= len(rows) <= 10  # half the height, or what is left of it at the border
        assert 7 <= len(columns) <= 15
    assert torch.equal(found["mask"], batch["mask"])
    assert found.mask_valid is None
    unknown = parse_augment("cutout(size=0.5, fill=0.25, p=1, targets=true)")(batch, gen(0))
    assert torch.equal(unknown["mask_valid"], ~hidden)
    assert torch.equal(unknown["depth_valid"], ~hidden)
    before = make(6, (20, 30))
    after = parse_augment("cutout(size=0.5, fill=0.25, p=1, targets=true)")(before, gen(0))
    for name in ("mask_valid", "depth_valid"):
        assert torch.equal(after[name], before[name] & ~hidden)
    several = parse_augment("cutout(size=0.1, holes=12, fill=0.25, p=1)")(batch, gen(0))
    assert ((several.image == 0.25).all(1).sum((1, 2)) > 6).all()


def test_parameters_fill_their_range_evenly() -> None:
    white = torch.full((4000, 3, 1, 1), 0.5)
    found = parse_augment("brightness(0.4, p=0.75)")(Batch(white), gen(0)).image[:, 0, 0, 0].double() / 0.5
    drawn = found[found != 1].numpy()
    assert abs(len(drawn) / 4000 - 0.75) < 0.03
    assert np.abs(np.quantile(drawn, [0, 0.25, 0.5, 0.75, 1]) - [0.6, 0.8, 1, 1.2, 1.4]).max() < 0.02
