from __future__ import annotations

import torch
from torch import Tensor, nn

from basrelief.engine.evaluate import activate
from basrelief.inference.network import Network, averaged, mirrored, torch_network
from basrelief.models import create_model


def columns(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
    """A network that answers with the picture, weighted by its columns: not the same when mirrored."""
    weights = torch.linspace(0, 1, images.shape[2])
    values = images[..., 0].float() / 255
    if backgrounds is not None:
        values = values - backgrounds[..., 1].float() / 255
    return {"mask": (values * weights)[:, None], "depth": (values * (1 - weights))[:, None]}


def says(value: float) -> Network:
    def network(images: Tensor, _backgrounds: Tensor | None) -> dict[str, Tensor]:
        return {"mask": torch.full((len(images), 2, *images.shape[1:3]), value)}

    return network


def pictures(count: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 6, 8, 3), dtype=torch.uint8, generator=generator)


def test_a_mirrored_network_says_the_same_of_the_mirror_image_mirrored() -> None:
    images, backgrounds, network = pictures(), pictures(seed=1), mirrored(columns)
    for behind in (None, backgrounds):
        straight = network(images, behind)
        turned = network(images.flip(2), None if behind is None else behind.flip(2))
        for head, pred in straight.items():
            assert torch.allclose(pred, turned[head].flip(-1))
            assert not torch.allclose(pred, columns(images, behind)[head])
    # Of the two column weights w and 1 - w the mean is 1/2 everywhere.
    values = images[..., 0].float() / 255
    assert torch.allclose(network(images, None)["mask"][:, 0], values / 2)


def test_an_average_is_the_mean_and_leaves_the_networks_answers_alone() -> None:
    kept = torch.full((1, 1, 6, 8), 0.2)

    def keeping(_images: Tensor, _backgrounds: Tensor | None) -> dict[str, Tensor]:
        return {"mask": kept}

    found = averaged([keeping, says(0.4), says(0.9)])(pictures(1), None)
    assert torch.allclose(found["mask"], torch.tensor(0.5))
    assert torch.equal(kept, torch.full((1, 1, 6, 8), 0.2))


def test_a_torch_network_says_what_its_model_says_of_floats() -> None:
    torch.manual_seed(0)
    model = create_model("relief", mask_classes=2, depth=True).eval()
    images = torch.randint(0, 256, (3, 32, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        bare = activate(model(images.permute(0, 3, 1, 2).contiguous().float() / 255), {})
    found = torch_network(model, {}, torch.device("cpu"))(images, None)
    assert set(found) == {"mask", "depth"}
    for head, pred in found.items():
        assert pred.dtype == torch.float32
        assert not pred.requires_grad
        assert torch.allclose(pred, bare[head], atol=5e-5)


def test_a_processor_computes_few_large_pictures_at_a_time_and_loses_none() -> None:
    sizes: list[int] = []

    class Echo(nn.Module):
        def forward(self, image: Tensor) -> dict[str, Tensor]:
            sizes.append(len(image))
            return {"mask": image[:, :1]}

    images = torch.randint(0, 256, (5, 128, 128, 3), dtype=torch.uint8)
    found = torch_network(Echo(), {"mask": "sigmoid"}, torch.device("cpu"))(images, None)["mask"]
    assert sizes == [2, 2, 1]
    assert torch.allclose(found[:, 0], torch.sigmoid(images[..., 0] / 255), atol=1e-6)
