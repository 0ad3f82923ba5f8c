"""Center loss against the published recipe: a Parameter with an SGD of its own."""

import io

import pytest
import torch
import torch.distributed as dist
from helpers_processes import run_processes

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import CenterLoss

P, D = 5, 6


def rows(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, D, generator=generator, dtype=torch.float64)


def random_pids(count, seed):
    generator = torch.Generator().manual_seed(seed + 500)
    return torch.randint(UNLABELED_PID, P, (count,), generator=generator)


class PublishedRecipe:
    """Center loss with weight beta, its own SGD and gradients multiplied by 1 / beta."""

    def __init__(self, centers, beta, rate=0.5):
        self.beta = beta
        self.centers = torch.nn.Parameter(centers.clone())
        self.optimizer = torch.optim.SGD([self.centers], lr=rate)

    def step(self, features, pids):
        total, labeled = features.sum() * 0.0, 0
        for x, pid in zip(features, pids.tolist(), strict=True):
            if pid != UNLABELED_PID:
                total = total + (x - self.centers[pid]).square().sum()
                labeled += 1
        loss = total / max(labeled, 1)
        self.optimizer.zero_grad()
        (self.beta * loss).backward()
        if labeled:
            self.centers.grad *= 1 / self.beta
            self.optimizer.step()
        return loss


@pytest.mark.parametrize("beta", [5e-4, 1.0])
@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_steps_equal_the_published_optimizer_whatever_the_weight(beta, rate):
    loss = CenterLoss(P, D, rate).double()
    recipe = PublishedRecipe(loss.centers, beta, rate)
    for step, count in enumerate([7, 1, 20, 0, 8]):
        x, pids = rows(count, step), random_pids(count, step)
        ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        expected = recipe.step(theirs, pids)
        got = loss(ours, pids)
        (beta * got).backward()
        assert got.item() == pytest.approx(expected.item(), rel=1e-12)
        torch.testing.assert_close(ours.grad, theirs.grad)
        torch.testing.assert_close(loss.centers, recipe.centers.detach())


def test_by_hand():
    loss = CenterLoss(2, 1)
    loss.centers.copy_(torch.tensor([[0.0], [10.0]]))
    got = loss(torch.tensor([[1.0], [3.0], [9.0], [7.0]]), torch.tensor([0, 0, 1, UNLABELED_PID]))
    # (1 + 9 + 1) / 3; the unlabelled row is not there.
    assert got.item() == pytest.approx(11 / 3)
    # Gradients 2/3 (-1 - 3) and 2/3 (10 - 9); rate 0.5.
    torch.testing.assert_close(loss.centers, torch.tensor([[4 / 3], [10 - 1 / 3]]))


def test_centers_come_to_the_mean_of_their_identity():
    loss = CenterLoss(2, D)
    x, pids = rows(8, 1).float(), torch.arange(8) // 4
    for _ in range(60):
        loss(x, pids)
    torch.testing.assert_close(loss.centers, x.reshape(2, 4, D).mean(1))


def test_centers_are_state_but_no_parameter():
    loss = CenterLoss(751, 64)
    assert list(loss.parameters()) == []
    assert loss.centers.mean().item() == pytest.approx(0, abs=0.02)
    assert loss.centers.std().item() == pytest.approx(1, abs=0.02)


def test_evaluation_mode_leaves_the_centers_alone():
    loss = CenterLoss(P, D).eval()
    before = loss.centers.clone()
    assert loss(rows(6, 2).float(), random_pids(6, 2)).item() > 0
    assert torch.equal(loss.centers, before)


def test_gradcheck():
    loss = CenterLoss(P, D).double().eval()
    pids = torch.tensor([1, UNLABELED_PID, 4, 1])
    assert torch.autograd.gradcheck(lambda x: loss(x, pids), rows(4, 3).requires_grad_())


def test_permuted_rows_give_the_same_step():
    x, pids, order = rows(6, 4), random_pids(6, 4), torch.tensor([5, 0, 3, 1, 4, 2])
    first, second = CenterLoss(P, D).double(), CenterLoss(P, D).double()
    torch.testing.assert_close(first(x, pids), second(x[order], pids[order]))
    torch.testing.assert_close(first.centers, second.centers)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_labelled_rows_give_a_connected_zero(count):
    loss = CenterLoss(P, D)
    before = loss.centers.clone()
    x = rows(count, 5).float().requires_grad_()
    value = loss(x, torch.full((count,), UNLABELED_PID))
    value.backward()
    assert value.item() == 0.0
    assert x.grad.abs().sum() == 0.0
    assert torch.equal(loss.centers, before)


def test_state_travels_in_the_checkpoint():
    first = CenterLoss(P, D)
    first(rows(6, 6).float(), random_pids(6, 6))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = CenterLoss(P, D)
    second.load_state_dict(torch.load(file))
    x, pids = rows(6, 7).float(), random_pids(6, 7)
    assert torch.equal(first(x, pids), second(x, pids))
    assert torch.equal(first.centers, second.centers)


def test_two_losses_before_one_backward():
    """Gradient accumulation: the update after the first loss must not break its backward."""
    pids = torch.tensor([0, 1, 1, UNLABELED_PID])
    leaves = [rows(4, seed).float().requires_grad_() for seed in (8, 9)]
    alone = leaves[0].detach().clone().requires_grad_()
    CenterLoss(P, D)(alone, pids).backward()
    loss = CenterLoss(P, D)
    (loss(leaves[0], pids) + loss(leaves[1], pids)).backward()
    torch.testing.assert_close(leaves[0].grad, alone.grad)


def test_bfloat16_autocast_changes_nothing():
    x, pids = rows(6, 10).float(), torch.tensor([0, 1, 1, 2, 3, UNLABELED_PID])
    plain, mixed, low = CenterLoss(P, D), CenterLoss(P, D), CenterLoss(P, D)
    expected = plain(x, pids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = mixed(x, pids)
        low(x.bfloat16(), pids)
    assert got.dtype == torch.float32
    assert got.item() == expected.item()
    assert torch.equal(plain.centers, mixed.centers)
    assert low.centers.dtype == torch.float32
    torch.testing.assert_close(low.centers, plain.centers, rtol=0, atol=0.02)


@pytest.mark.parametrize("bad", [P, -2])
def test_id_out_of_range_is_refused(bad):
    """As an index, -2 would silently be the last center but one."""
    loss = CenterLoss(P, D)
    before = loss.centers.clone()
    with pytest.raises(ValueError, match=r"0\.\.4.*NUM_IDENTITIES"):
        loss(rows(2, 11).float(), torch.tensor([0, bad]))
    assert torch.equal(loss.centers, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_identities": 0}, "NUM_IDENTITIES"), ({"learning_rate": 0.0}, r"CENTER\.LEARNING_RATE")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CenterLoss(**{"num_identities": P, "dim": D, **settings})


# Rows on rank 0 and rank 1 in each step: unequal, one empty, the other empty, both empty.
ROWS = [(3, 5), (0, 4), (2, 0), (0, 0), (6, 6)]


def _batch(step, rank):
    count = ROWS[step][rank]
    return rows(count, 20 * step + rank).float(), random_pids(count, 20 * step + rank)


def _steps(batches):
    """Return the losses, the centers and, averaged as DDP does, the gradients of a projection."""
    loss = CenterLoss(P, D)
    losses, gradients = [], []
    for x, pids in batches:
        project = torch.eye(D).requires_grad_()
        value = loss(x @ project, pids)
        value.backward()
        if dist.is_initialized():
            dist.all_reduce(project.grad)
            project.grad /= dist.get_world_size()
        losses.append(value.detach())
        gradients.append(project.grad)
    return {"losses": losses, "gradients": gradients, "centers": loss.centers}


def _steps_of_rank(rank):
    # As detectron2 seeds: the centers must not depend on it.
    torch.manual_seed(7 + rank)
    return _steps([_batch(step, rank) for step in range(len(ROWS))])


def test_two_processes_equal_one_with_the_joined_batch():
    """detectron2 builds DDP with broadcast_buffers=False and seeds each process differently."""
    first, second = run_processes(_steps_of_rank, 2)
    joined = [
        tuple(torch.cat(parts) for parts in zip(_batch(step, 0), _batch(step, 1), strict=True))
        for step in range(len(ROWS))
    ]
    alone = _steps(joined)
    assert torch.equal(first["centers"], second["centers"])
    torch.testing.assert_close(first["centers"], alone["centers"])
    for step in range(len(ROWS)):
        mean = (first["losses"][step] + second["losses"][step]) / 2
        torch.testing.assert_close(mean, alone["losses"][step])
        torch.testing.assert_close(first["gradients"][step], alone["gradients"][step])
