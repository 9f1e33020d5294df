from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from basrelief.errors import ExpressionError
from basrelief.losses.balance import Balance
from basrelief.losses.expression import parse_loss
from basrelief.losses.loss import Loss


def batch(seed: int = 0, scale: float = 1.0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Logits that a network in training might give, with the truth: a disc, and depth that rises to the right."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(20.0), indexing="ij")
    mask = (((y - 12) ** 2 + (x - 9) ** 2) < 36).float().expand(4, 1, 24, 20)
    noise = torch.randn(2, 4, 1, 24, 20, generator=generator)
    outputs = {"mask": (scale * noise[0]).requires_grad_(), "depth": (scale * noise[1]).requires_grad_()}
    return outputs, {"mask": mask, "depth": (x / 20).expand(4, 1, 24, 20)}


def shares(loss: Loss, seeds: range = range(20, 28)) -> dict[str, float]:
    """The gradient shares at the weights the loss has now, the mean over batches it was not balanced on."""
    loss.eval()
    rows = []
    for seed in seeds:
        outputs, planes = batch(seed)
        rows.append(loss.gradient_shares(outputs, planes, loss(outputs, planes).weights))
    loss.train()
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}


def test_gradient_shares_are_the_norms_by_hand() -> None:
    # d(mean e²)/de = 2e/n and d(mean |e|)/de = sign/n: norms 2·|e|·√n/n and √n/n where every error is e.
    outputs = {"mask": torch.full((1, 1, 4, 4), 3.0, requires_grad=True)}
    planes = {"mask": torch.zeros(1, 1, 4, 4)}
    loss = parse_loss("mse(mask) + 2*l1(mask)")
    value = loss(outputs, planes, activations={"mask": "identity"})
    found = loss.gradient_shares(outputs, planes, value.weights, activations={"mask": "identity"})
    assert [share.item() for share in found.values()] == pytest.approx([6 / 8, 2 / 8])


def test_balance_gives_every_term_an_equal_share_of_the_gradient() -> None:
    loss = parse_loss("balance(bce(mask) + dice(mask) + rmse(depth))")
    plain = shares(parse_loss("bce(mask) + dice(mask) + rmse(depth)"))
    assert max(plain.values()) > 2 * min(plain.values())  # so there is something to balance
    for seed in range(8):
        loss(*batch(seed))
    assert list(shares(loss).values()) == pytest.approx([1 / 3] * 3, rel=0.1)


def test_weights_inside_balance_are_shares_and_the_first_term_keeps_its_own() -> None:
    loss = parse_loss("balance(3*bce(mask) + dice(mask))")
    for seed in range(8):
        value = loss(*batch(seed))
    assert list(shares(loss).values()) == pytest.approx([3 / 4, 1 / 4], rel=0.1)
    assert value.weights["bce(mask)"].item() == 3


def test_balance_by_value_makes_the_printed_losses_equal() -> None:
    loss = parse_loss("balance(bce(mask) + dice(mask), by='value', batches=1)")
    value = loss(*batch())
    parts = [value.weights[name].item() * value.terms[name].item() for name in value.terms]
    assert parts[0] == pytest.approx(parts[1])


def test_the_first_batch_is_already_balanced_and_after_the_last_measured_one_weights_stay() -> None:
    loss = parse_loss("balance(bce(mask) + dice(mask), batches=2)")
    seen = [loss(*batch(seed, scale=1 + seed)).weights["dice(mask)"].item() for seed in range(5)]
    assert seen[0] != 1
    assert len(set(seen[1:])) == 1
    assert seen[1] != seen[0]


def test_every_measures_again_and_takes_over_when_the_measurement_is_complete() -> None:
    loss = parse_loss("balance(bce(mask) + dice(mask), every=4, batches=2)")
    seen = [loss(*batch(0, scale=1 + step)).weights["dice(mask)"].item() for step in range(8)]
    assert len({seen[1], seen[2], seen[3], seen[4]}) == 1  # step 4 measures, with the weights of before
    assert seen[5] != seen[4]
    assert seen[5] == seen[6] == seen[7]


def test_evaluation_changes_no_state() -> None:
    for text in ("balance(bce(mask) + dice(mask))", "dwa(bce(mask) + dice(mask))"):
        loss = parse_loss(text)
        before = {name: value.clone() for name, value in loss.state_dict().items()}
        with torch.no_grad():
            loss(*batch())
        loss.eval()(*batch())
        for name, value in loss.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_term_without_gradient_leaves_the_others_alone() -> None:
    # Mean squared error of a perfect prediction: the gradient is 0, and so no weight can balance it.
    outputs, planes = batch()
    planes["depth"] = torch.sigmoid(outputs["depth"].detach())
    value = parse_loss("balance(bce(mask) + mse(depth))")(outputs, planes)
    assert value.weights["mse(depth)"].item() == 1
    assert value.total.isfinite()
    assert parse_loss("balance(mse(depth) + bce(mask))")(outputs, planes).weights["bce(mask)"].item() == 1


def test_uncertainty_starts_as_the_plain_sum_and_follows_its_formula() -> None:
    loss = parse_loss("uncertainty(2*bce(mask) + dice(mask))")
    outputs, planes = batch()
    value = loss(outputs, planes)
    assert value.total.item() == pytest.approx(parse_loss("2*bce(mask) + dice(mask)")(outputs, planes).total.item())
    (s,) = loss.parameters()
    with torch.no_grad():
        s.copy_(torch.tensor([math.log(2), math.log(4)]))
    value = loss(outputs, planes)
    by_hand = 2 / 2 * value.terms["bce(mask)"] + 1 / 4 * value.terms["dice(mask)"] + math.log(2) + math.log(4)
    assert value.total.item() == pytest.approx(by_hand.item())
    assert [weight.item() for weight in value.weights.values()] == pytest.approx([1, 1 / 4])


def test_uncertainty_learns_the_inverse_of_a_constant_loss() -> None:
    # exp(-s)·L + s is least at s = log L, where the weight is 1/L.
    loss = parse_loss("uncertainty(bce(mask) + dice(mask))")
    outputs, planes = batch()
    outputs = {name: plane.detach() for name, plane in outputs.items()}
    optimizer = torch.optim.SGD(loss.parameters(), 0.3)
    for _ in range(200):
        optimizer.zero_grad()
        value = loss(outputs, planes)
        value.total.backward()
        optimizer.step()
    for name, term in value.terms.items():
        assert value.weights[name].item() == pytest.approx(1 / term.item(), rel=1e-3)


def test_dwa_is_the_published_formula() -> None:
    loss = parse_loss("dwa(mse(mask) + 2*mse(depth), temperature=1)")
    planes = {"mask": torch.zeros(1, 1, 1, 1), "depth": torch.zeros(1, 1, 1, 1)}

    def epoch(mask: float, depth: float) -> list[float]:
        outputs = {
            "mask": torch.full((1, 1, 1, 1), float(mask)).requires_grad_(),
            "depth": torch.full((1, 1, 1, 1), float(depth)).requires_grad_(),
        }
        value = loss(outputs, planes, activations={"mask": "identity", "depth": "identity"})
        loss.end_epoch()
        return [weight.item() for weight in value.weights.values()]

    assert epoch(2, 2) == [1, 2]
    assert epoch(1, 2) == [1, 2]  # two epochs' means are needed
    # Squares fell from 4 to 1 and stayed at 4: r = (1/4, 1), weights 2·softmax(r), times those written.
    a, b = math.exp(0.25), math.exp(1)
    assert epoch(1, 2) == pytest.approx([2 * a / (a + b), 2 * 2 * b / (a + b)])


@pytest.mark.parametrize("wrapper", ["balance", "uncertainty", "dwa"])
def test_state_saved_in_the_middle_goes_on_as_if_never_stopped(wrapper: str) -> None:
    def steps(loss: Loss, numbers: range) -> list[float]:
        totals = []
        for number in numbers:
            value = loss(*batch(number))
            value.total.backward()
            with torch.no_grad():
                for parameter in loss.parameters():
                    parameter -= 0.1 * parameter.grad  # type: ignore[operator]
                    parameter.grad = None
            totals.append(value.total.item())
            if number % 3 == 2:
                loss.end_epoch()
        return totals

    text = f"{wrapper}(bce(mask) + rmse(depth))"
    whole = steps(parse_loss(text), range(12))
    first, second = parse_loss(text), parse_loss(text)
    totals = steps(first, range(5))
    second.load_state_dict(first.state_dict())
    assert totals + steps(second, range(5, 12)) == whole


def test_a_wrapper_beside_plain_terms_adds_up() -> None:
    loss = parse_loss("0.5*balance(bce(mask) + dice(mask), batches=1) + 2*rmse(depth)")
    outputs, planes = batch()
    value = loss(outputs, planes)
    by_hand = sum(value.weights[name] * value.terms[name] for name in value.terms)
    assert value.total.item() == pytest.approx(float(by_hand))
    assert value.weights["bce(mask)"].item() == 0.5
    assert value.weights["rmse(depth)"].item() == 2


def test_a_term_inside_and_outside_a_wrapper_is_computed_once_and_its_weights_add() -> None:
    value = parse_loss("uncertainty(bce(mask) + dice(mask)) + 3*bce(mask)")(*batch())
    assert list(value.terms) == ["bce(mask)", "dice(mask)"]
    assert value.weights["bce(mask)"].item() == 4


@pytest.mark.parametrize(
    "text",
    [
        "balance(2*mse(mask) + dice(mask), every=100)",
        "0.5*uncertainty(bce(mask) + rmse(depth)) + ssim(depth, window=[5, 11])",
        "dice(mask, like='monai') + dwa(bce(mask) + dice(mask), temperature=1.5)",
    ],
)
def test_wrappers_print_as_they_are_read(text: str) -> None:
    assert str(parse_loss(text)) == text
    assert str(parse_loss(f"1*({text})")) == text


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("balance", "wraps a sum", "balance"),
        ("balance(mask)", "is not a loss", "mask"),
        ("balance(bce(mask))", "at least two", "balance(bce(mask))"),
        ("balance(bce(mask), dice(mask))", "should hold one sum", "balance(bce(mask), dice(mask))"),
        ("balance(bce(mask) - dice(mask))", "above 0", "balance(bce(mask) - dice(mask))"),
        ("balance(bce(mask) + dice(mask), evry=3)", "Did you mean 'every'?", "evry"),
        ("balance(bce(mask) + dice(mask), by='size')", "'gradient' or 'value'", "'size'"),
        ("balance(bce(mask) + dice(mask), every=2)", "at least batches", "balance(bce(mask) + dice(mask), every=2)"),
        ("balanse(bce(mask) + dice(mask))", "Did you mean 'balance'?", "balanse"),
        ("dice(mask, like='monia')", "Did you mean 'monai'?", "'monia'"),
        ("dice(mask, over='bach')", "'image' or 'batch'", "'bach'"),
        ("ssim(mask, window=[5, 'a'])", "a list such as [5, 11]", "[5, 'a']"),
    ],
)
def test_errors_of_wrappers_and_options_show_the_fault(text: str, message: str, marked: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_loss(text)
    first, line, caret = str(caught.value).rsplit("\n", 2)
    assert message in first
    start = caret.index("^")
    assert line[start : start + caret.count("^")] == marked[: caret.count("^")]


def test_a_wrapper_inside_a_wrapper_is_refused() -> None:
    with pytest.raises(ExpressionError, match="beside each other"):
        parse_loss("balance(uncertainty(bce(mask) + dice(mask)) + rmse(depth))")


def test_a_batch_without_a_figure_does_not_count_for_an_overlap() -> None:
    # On an empty mask Dice has a gradient of 1e-9: weighed by that alone, it would drown everything ever after.
    loss, usual = parse_loss("balance(bce(mask) + dice(mask))"), parse_loss("balance(bce(mask) + dice(mask))")
    for seed in range(24):
        outputs, planes = batch(seed)
        usual(outputs, planes)
        if seed % 3:
            planes["mask"] = torch.zeros_like(planes["mask"])
        value = loss(outputs, planes)
    assert value.weights["dice(mask)"].item() == pytest.approx(usual(*batch()).weights["dice(mask)"].item(), rel=0.1)


def test_terms_are_balanced_against_each_other_while_the_first_has_no_gradient() -> None:
    loss = parse_loss("balance(boundary(mask) + bce(mask) + rmse(depth))")
    for seed in range(8):
        outputs, planes = batch(seed)
        planes["mask"] = torch.zeros_like(planes["mask"])  # where the boundary loss is 0 everywhere
        value = loss(outputs, planes)
    found = loss.gradient_shares(outputs, planes, value.weights)
    assert found["bce(mask)"].item() == pytest.approx(found["rmse(depth)"].item(), rel=0.1)
    for seed in range(8):
        loss(*batch(seed))
    assert loss(*batch()).weights["bce(mask)"].item() != 1  # the boundary loss has been measured, and is the measure


def test_one_infinite_value_is_not_measured() -> None:
    loss = parse_loss("balance(bce(mask) + mse(depth), batches=2, by='value')")
    outputs, planes = batch()
    large = {"mask": outputs["mask"], "depth": outputs["depth"] + 1e30}
    loss(large, planes, activations={"depth": "identity"})
    for _ in range(2):
        value = loss(outputs, planes, activations={"depth": "identity"})
    assert value.weights["mse(depth)"].item() * value.terms["mse(depth)"].item() == pytest.approx(
        value.terms["bce(mask)"].item()
    )


def test_processes_whose_images_differ_stop_measuring_together() -> None:
    """One of two sees no overlap in a batch; what they measured is averaged after each step, as training does it."""
    pair = [Balance([1.0, 1.0], batches=2) for _ in range(2)]
    for norms in ([(1.0, 1.0), (1.0, 1.0)], [(1.0, 1.0), (1.0, 0.0)], [(1.0, 1.0), (1.0, 1.0)]):
        for weighting, own in zip(pair, norms, strict=True):
            weighting(torch.ones(2), lambda own=own: torch.tensor(own))
        for ours, theirs in zip(pair[0].buffers(), pair[1].buffers(), strict=True):
            mean = (ours + theirs) / 2
            ours.copy_(mean)
            theirs.copy_(mean)
        assert torch.equal(pair[0].get_extra_state(), pair[1].get_extra_state())
