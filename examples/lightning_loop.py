"""Basrelief's loss, network and metrics in a LightningModule: Lightning trains, no part of Basrelief's engine runs."""

# ruff: noqa: D101, D102
import lightning
import torch
from torch.utils.data import DataLoader

import basrelief as br
from basrelief.metrics import score_batch, summarise


def make_samples(count: int) -> list[dict[str, torch.Tensor]]:
    """Bright squares on noise with their masks; at the left edge nobody knows what is mask."""
    samples, valid = [], (torch.arange(32) >= 2).expand(1, 32, 32)
    for top, left in torch.randint(0, 16, (count, 2)).tolist():
        mask = torch.zeros(1, 32, 32)
        mask[0, top : top + 16, left : left + 16] = 1
        samples.append({"image": 0.3 * torch.rand(3, 32, 32) + 0.7 * mask, "mask": mask, "mask_valid": valid})
    return samples


class Segmenter(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = br.create_model("masknet")
        self.loss = br.parse_loss("uncertainty(bce(mask) + dice(mask))")  # a module: its weights are saved with ours
        self.scores: list[dict[str, torch.Tensor]] = []

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.loss(self.network(batch["image"]), batch).total  # logits go in, no sigmoid

    def on_train_epoch_end(self) -> None:
        self.loss.end_epoch()  # dwa(…) waits for this; others do nothing

    def validation_step(self, batch: dict[str, torch.Tensor]) -> None:
        preds = {head: logits.float().sigmoid() for head, logits in self.network(batch["image"]).items()}
        self.scores.append(score_batch(preds, batch, metrics=["mask/iou"]))

    def on_validation_epoch_end(self) -> None:
        images = {name: torch.cat([scores[name] for scores in self.scores]).numpy() for name in self.scores[0]}
        self.log("mask/iou", summarise(images)["mask/iou"])  # of all images together: a small last batch weighs no more
        self.scores.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        weights = {"params": self.loss.parameters(), "weight_decay": 0.0}  # what uncertainty(…) learns
        return torch.optim.AdamW([{"params": self.network.parameters()}, weights], lr=0.01)


def main(epochs: int = 3, count: int = 96) -> float:
    torch.manual_seed(0)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **quiet)
    trainer.fit(
        Segmenter(), DataLoader(make_samples(count), batch_size=8, shuffle=True), DataLoader(make_samples(20), 8)
    )
    return trainer.callback_metrics["mask/iou"].item()


if __name__ == "__main__":
    print(f"IoU on validation: {main():.3f}")
