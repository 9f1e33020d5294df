"""Write-up D's balance found by measurement: a network regresses label values 50…250 with MSE + s·pixelwise Dice.

The write-up tried s = 200, 300 and 400 by hand, so that both terms print numbers of one size.
"""

import torch

import basrelief as br

LABELS = (50, 100, 150, 200, 250)


def make_batch(count: int = 4, side: int = 64) -> dict[str, torch.Tensor]:
    """Discs and boxes on noise, up to one of each class; plane k holds 50·(k + 1) where its figure is, 0 elsewhere."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image, mask = 0.2 * torch.rand(count, 3, side, side), torch.zeros(count, len(LABELS), side, side)
    for i in range(count):
        for k, label in enumerate(LABELS):
            if torch.rand(()) < 0.6:
                continue
            (cy, cx), size = torch.randint(8, side - 8, (2,)), torch.randint(3, 9, ())
            far = (y - cy) ** 2 + (x - cx) ** 2
            figure = far < size**2 if k % 2 else torch.maximum((y - cy).abs(), (x - cx).abs()) < size
            mask[i, k][figure] = label
            image[i, :, figure] = 0.3 + 0.7 * torch.rand(3, 1)
    return {"image": image, "mask": mask}


def main(blocks: int = 16) -> dict[str, float]:
    """Train over the batches that `balance` measures; return what it multiplies the pixelwise Dice by, each way."""
    factors = {}
    for by in ("value", "gradient"):
        torch.manual_seed(0)
        model = br.create_model(f"munet(blocks={blocks})", mask_classes=len(LABELS))
        optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)  # the write-up's
        loss = br.parse_loss(f"balance(mse(mask) + pixel_dice(mask), by='{by}')")
        for _ in range(8):
            batch = make_batch()
            value = loss(model(batch["image"]), batch, activations={"mask": "identity"})
            optimizer.zero_grad()
            value.total.backward()
            optimizer.step()
        factors[by] = value.weights["pixel_dice(mask)"].item()
        terms = ", ".join(f"{name} = {term:.3g}" for name, term in value.terms.items())
        print(f"balance by {by}: s = {factors[by]:.0f} ({terms}); the write-up tried 200, 300, 400")
    return factors


if __name__ == "__main__":
    main()
