"""OIM against a row-by-row loop written from the paper (Xiao et al., CVPR 2017, section 3.3)."""

import io
import math

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from helpers_processes import run_processes

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import OIMLoss

P, D, K = 5, 6, 4


class LoopOIM:
    """Equations 1 to 4, one row at a time, in float64."""

    def __init__(self, scale, momentum, num_identities=P, queue_size=K, dim=D):
        self.scale, self.momentum = scale, momentum
        self.table = torch.zeros(num_identities, dim, dtype=torch.float64)
        self.queue = torch.zeros(queue_size, dim, dtype=torch.float64)
        self.pointer = 0

    def loss(self, rows, pids):
        total, labeled = rows.sum() * 0.0, 0
        for x, pid in zip(rows, pids.tolist(), strict=True):
            if pid == UNLABELED_PID:
                continue
            terms = [torch.exp(self.scale * v @ x) for v in [*self.table, *self.queue]]
            total = total - torch.log(terms[pid] / sum(terms))
            labeled += 1
        return total / max(labeled, 1)

    def update(self, rows, pids):
        for x, pid in zip(rows.detach(), pids.tolist(), strict=True):
            if pid == UNLABELED_PID:
                if len(self.queue):
                    self.queue[self.pointer] = x
                    self.pointer = (self.pointer + 1) % len(self.queue)
            else:
                blended = self.momentum * self.table[pid] + (1 - self.momentum) * x
                self.table[pid] = blended / blended.norm()


def unit_rows(count, seed, dim=D):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64))


def random_pids(count, seed, num_identities=P):
    generator = torch.Generator().manual_seed(seed + 500)
    return torch.randint(UNLABELED_PID, num_identities, (count,), generator=generator)


def filled_loss(scale=10.0, momentum=0.5, queue_size=K):
    loss = OIMLoss(P, D, queue_size, scale, momentum)
    loss.table.copy_(unit_rows(P, 1))
    loss.queue.copy_(unit_rows(queue_size, 2))
    return loss


@pytest.mark.parametrize(
    ("scale", "momentum", "queue_size", "rows"),
    [(10.0, 0.5, K, 7), (30.0, 0.0, K, 1), (5.0, 0.9, K, 40), (10.0, 0.5, 0, 7), (10.0, 0.5, 1, 9)],
)
def test_steps_equal_the_row_by_row_loop(scale, momentum, queue_size, rows):
    """Loss, gradient, table, queue and pointer over several steps: the pointer wraps, an identity
    occurs several times in a batch, and 40 rows bring more unlabelled people than slots."""
    ours = OIMLoss(P, D, queue_size, scale, momentum)
    loop = LoopOIM(scale, momentum, queue_size=queue_size)
    for step in range(6):
        x64 = unit_rows(rows, step).requires_grad_()
        x32 = x64.detach().float().requires_grad_()
        pids = random_pids(rows, step)

        expected = loop.loss(x64, pids)
        expected.backward()
        loop.update(x64, pids)
        got = ours(x32, pids)
        got.backward()

        assert got.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
        torch.testing.assert_close(x32.grad, x64.grad.float(), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(ours.table, loop.table.float(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.queue, loop.queue.float(), rtol=0, atol=1e-6)
        assert ours.queue_pointer.item() == loop.pointer


def test_one_step_by_hand():
    loss = OIMLoss(num_identities=2, embedding_dim=2, queue_size=2, scale=math.log(2))
    loss.table.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    loss.queue[0] = torch.tensor([-1.0, 0.0])
    loss.queue_pointer.fill_(1)
    # Row (1, 0) of identity 1 and row (0, -1) of nobody. The first one's cosines 1 and 0 with the
    # table, -1 and 0 with the queue, whose second slot is still empty, give 2^1, 2^0, 2^-1 and 2^0,
    # in all 4.5: p = 1 / 4.5.
    x = torch.tensor([[1.0, 0.0], [0.0, -1.0]]).requires_grad_()
    got = loss(x, torch.tensor([1, UNLABELED_PID]))
    assert got.item() == pytest.approx(math.log(4.5), rel=1e-6)
    # Scale times the mean row less the true one: ((2, 0) + (0, 1) + (-0.5, 0) + 0) / 4.5 - (0, 1).
    got.backward()
    expected = math.log(2) * torch.tensor([[1 / 3, -7 / 9], [0.0, 0.0]])
    torch.testing.assert_close(x.grad, expected)
    # (0.5 * (0, 1) + 0.5 * (1, 0)) normalised: both 1 / sqrt(2).
    root = 1 / math.sqrt(2)
    torch.testing.assert_close(loss.table, torch.tensor([[1.0, 0.0], [root, root]]))
    assert torch.equal(loss.queue, torch.tensor([[-1.0, 0.0], [0.0, -1.0]]))
    assert loss.queue_pointer.item() == 0


def test_first_sight_of_an_identity_becomes_its_row():
    loss = OIMLoss(P, D, K)
    x = unit_rows(1, 3).float()
    loss(x, torch.tensor([2]))
    torch.testing.assert_close(loss.table[2], x[0])


def test_permuted_rows_of_distinct_identities_give_the_same_step():
    """Holds for the loss always, and for the memory where no identity occurs twice."""
    x = unit_rows(4, 4).float()
    pids = torch.tensor([3, 0, UNLABELED_PID, 1])
    order = torch.tensor([2, 3, 0, 1])
    first, second = filled_loss(), filled_loss()
    torch.testing.assert_close(first(x, pids), second(x[order], pids[order]))
    torch.testing.assert_close(first.table, second.table)
    torch.testing.assert_close(first.queue, second.queue)


def test_gradient_equals_finite_differences():
    loss = filled_loss(scale=3.0).eval()
    x = unit_rows(3, 5).float()
    pids = torch.tensor([1, UNLABELED_PID, 4])
    leaf = x.clone().requires_grad_()
    loss(leaf, pids).backward()
    step = 1e-2  # float32 loss: a smaller step drowns in rounding
    for i in range(3):
        for j in range(D):
            shift = torch.zeros_like(x)
            shift[i, j] = step
            slope = (loss(x + shift, pids) - loss(x - shift, pids)) / (2 * step)
            assert leaf.grad[i, j].item() == pytest.approx(slope.item(), abs=2e-3)


@pytest.mark.parametrize("pids", [[], [UNLABELED_PID], [UNLABELED_PID] * 3])
def test_no_labelled_rows_give_a_connected_zero(pids):
    """Cross entropy without targets is nan in torch."""
    loss = filled_loss()
    x = unit_rows(max(len(pids), 1), 6).float()[: len(pids)].requires_grad_()
    value = loss(x, torch.tensor(pids, dtype=torch.int64))
    value.backward()
    assert value.item() == 0.0
    assert x.grad.abs().sum() == 0.0
    assert loss.queue_pointer.item() == len(pids)


@pytest.mark.parametrize("bad", [P, P + 100, -2, 5555])
def test_id_outside_the_table_is_refused(bad):
    loss = filled_loss()
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    with pytest.raises(ValueError, match=r"0\.\.4.*NUM_IDENTITIES"):
        loss(unit_rows(2, 7).float(), torch.tensor([0, bad]))
    for name, value in loss.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_identities": 0},
        {"queue_size": -1},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"scale": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    settings = {"num_identities": P, "embedding_dim": D, "queue_size": K, **wrong}
    with pytest.raises(ValueError, match="OIMLoss got"):
        OIMLoss(**settings)


def test_evaluation_mode_leaves_the_memory_alone():
    loss = filled_loss().eval()
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    assert loss(unit_rows(6, 8).float(), random_pids(6, 8)).item() > 0
    for name, value in loss.state_dict().items():
        assert torch.equal(value, before[name])


def test_whole_state_is_in_the_checkpoint():
    """SeqNet's queue pointer is a Python integer and is lost at a resume."""
    first = OIMLoss(P, D, K)
    for step in range(3):
        first(unit_rows(5, step).float(), random_pids(5, step))
    assert first.queue_pointer.item() != 0
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = OIMLoss(P, D, K)
    second.load_state_dict(torch.load(file))
    x, pids = unit_rows(5, 9).float(), random_pids(5, 9)
    assert torch.equal(first(x, pids), second(x, pids))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_two_losses_before_one_backward():
    """Gradient accumulation: the update after the first loss must not break its backward."""
    loss = filled_loss()
    leaves = [unit_rows(4, seed).float().requires_grad_() for seed in (10, 11)]
    pids = torch.tensor([0, 1, 1, UNLABELED_PID])
    alone = filled_loss()
    other = leaves[0].detach().clone().requires_grad_()
    alone(other, pids).backward()
    (loss(leaves[0], pids) + loss(leaves[1], pids)).backward()
    torch.testing.assert_close(leaves[0].grad, other.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_float_types_are_computed_in_float32(dtype):
    x = unit_rows(5, 12).to(dtype)
    pids = torch.tensor([0, 1, 2, 3, UNLABELED_PID])
    value = filled_loss()(x, pids)
    assert value.dtype == torch.float32
    assert value.item() == filled_loss()(x.float(), pids).item()


def test_bfloat16_autocast_changes_nothing():
    """Autocast would turn the product with the memory into bfloat16."""
    x, pids = unit_rows(5, 13).float(), torch.tensor([0, 1, 2, 3, UNLABELED_PID])
    plain, mixed = filled_loss(), filled_loss()
    expected = plain(x, pids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = mixed(x, pids)
    assert got.dtype == torch.float32
    assert got.item() == expected.item()
    assert torch.equal(plain.table, mixed.table)


# Rows on rank 0 and rank 1 in each step: unequal, one empty, the other empty, both empty.
ROWS = [(3, 5), (0, 4), (2, 0), (0, 0), (6, 6)]


def _batch(step, rank):
    count = ROWS[step][rank]
    return unit_rows(count, 20 * step + rank).float(), random_pids(count, 20 * step + rank)


def _steps(batches):
    """Train a projection over the batches; return the losses, gradients and the memory."""
    loss = OIMLoss(P, D, K, scale=10.0)
    project = torch.eye(D).requires_grad_()
    losses, gradients = [], []
    for x, pids in batches:
        project.grad = None
        value = loss(F.normalize(x @ project), pids)
        value.backward()
        losses.append(value.detach())
        gradients.append(project.grad.clone())
        # Where both processes must stay equal: step with the averaged gradient, as DDP does.
        if dist.is_initialized():
            dist.all_reduce(gradients[-1])
            gradients[-1] /= dist.get_world_size()
        project = (project.detach() - 0.1 * gradients[-1]).requires_grad_()
    return {"losses": losses, "gradients": gradients, **loss.state_dict()}


def _steps_of_rank(rank):
    return _steps([_batch(step, rank) for step in range(len(ROWS))])


def test_two_processes_equal_one_with_the_joined_batch():
    """detectron2 builds DDP with broadcast_buffers=False: without gathering, memories diverge."""
    first, second = run_processes(_steps_of_rank, 2)
    joined = [
        tuple(torch.cat(parts) for parts in zip(_batch(step, 0), _batch(step, 1), strict=True))
        for step in range(len(ROWS))
    ]
    alone = _steps(joined)
    for name in ("table", "queue", "queue_pointer"):
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], alone[name])
    for step in range(len(ROWS)):
        mean = (first["losses"][step] + second["losses"][step]) / 2
        torch.testing.assert_close(mean, alone["losses"][step])
        torch.testing.assert_close(first["gradients"][step], alone["gradients"][step])
