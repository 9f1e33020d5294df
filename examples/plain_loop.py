"""Basrelief's losses and networks in a training loop of one's own: no engine, no settings."""

import torch

import basrelief as br


def make_batch(count: int = 8, side: int = 32) -> dict[str, torch.Tensor]:
    """Bright squares on noise, with a mask, and depth known on the left half alone."""
    image, mask = 0.3 * torch.rand(count, 3, side, side), torch.zeros(count, 1, side, side)
    for i in range(count):
        top, left = torch.randint(0, side // 2, (2,)).tolist()
        mask[i, 0, top : top + side // 2, left : left + side // 2] = 1
    depth_valid = torch.zeros(count, 1, side, side, dtype=torch.bool)
    depth_valid[..., : side // 2] = True
    return {"image": image + 0.7 * mask, "mask": mask, "depth": 0.8 - 0.5 * mask, "depth_valid": depth_valid}


def main(steps: int = 30) -> list[float]:
    torch.manual_seed(0)
    model = br.create_model("resunet", depth=True)
    loss = br.parse_loss("2*rmse(depth) + bce(mask) + dice(mask)")
    # A loss has parameters where uncertainty(…) learns weights; dwa(…) would want loss.end_epoch() after each epoch.
    optimizer = torch.optim.AdamW([*model.parameters(), *loss.parameters()], 1e-3)
    totals = []
    for step in range(steps):
        batch = make_batch()
        value = loss(model(batch["image"]), batch)
        optimizer.zero_grad()
        value.total.backward()
        optimizer.step()
        totals.append(value.total.item())
        if step % 10 == 0:
            print(step, f"{totals[-1]:.3f}", {name: f"{term:.3f}" for name, term in value.terms.items()})
    return totals


if __name__ == "__main__":
    main()
