"""A softmax over a part of the identities, and over identities that two processes share out."""

import math

import pytest
import torch
import torch.distributed as dist
from helpers_processes import run_processes
from test_reid_heads_losses_margin_family import MARGINS, rows

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import CosineSoftmaxLoss
from reid_heads.losses.partial_fc import PartialFCLoss, choose_classes, shard_bounds

P, K, DIMS = 7, 2, (5, 3)


def make_loss(kind, name, sub_centers=1, **settings):
    torch.manual_seed(0)
    return kind(
        DIMS, P, scale=8.0, margin=MARGINS[name](), sub_centers=sub_centers, **settings
    ).double()


def batch(count, seed, num_identities=P):
    generator = torch.Generator().manual_seed(seed)
    pids = torch.randint(UNLABELED_PID, num_identities, (count,), generator=generator)
    return [3 * rows(count, dim, 10 * seed + dim) for dim in DIMS], pids


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
def test_chosen_are_the_positives_and_a_share_of_the_others(share):
    positives = torch.tensor([3, 50, 3, 99])
    chosen = choose_classes(positives, 100, share, seed=1)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert set(positives.tolist()) <= set(chosen.tolist())
    assert len(chosen) == 3 + math.ceil(97 * share)
    assert torch.equal(chosen, choose_classes(positives, 100, share, seed=1))
    if share < 1:
        assert not torch.equal(chosen, choose_classes(positives, 100, share, seed=2))


def test_others_are_chosen_equally_often():
    counts = torch.zeros(20)
    for seed in range(400):
        counts[choose_classes(torch.tensor([4]), 20, 0.5, seed)] += 1
    assert counts[4] == 400
    # 10 of 19: 210.5 on average, deviation 10.
    others = torch.cat([counts[:4], counts[5:]])
    assert others.min() > 160 and others.max() < 260


def test_no_positive_still_leaves_a_class():
    assert len(choose_classes(torch.zeros(0, dtype=torch.int64), 5, 0.01, seed=0)) == 1


@pytest.mark.parametrize(("count", "shards"), [(7, 2), (6, 3), (3, 3), (1000, 7)])
def test_shards_are_even_and_cover_all(count, shards):
    bounds = [shard_bounds(count, shards, n) for n in range(shards)]
    assert [n for start, stop in bounds for n in range(start, stop)] == list(range(count))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1


def test_fewer_identities_than_processes_are_refused():
    with pytest.raises(ValueError, match=r"3 identities for 4 processes.*SHARDED to False"):
        shard_bounds(3, 4, 0)


@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("name", MARGINS)
def test_all_classes_in_one_process_is_the_plain_loss_to_the_last_bit(name, is_sharded):
    plain = make_loss(CosineSoftmaxLoss, name, K)
    partial = make_loss(PartialFCLoss, name, K, is_sharded=is_sharded)
    assert set(plain.state_dict()) == set(partial.state_dict())
    for step in range(3):
        features, pids = batch(9, step)
        assert torch.equal(plain(features, pids), partial(features, pids))


@pytest.mark.parametrize("sub_centers", [1, K])
@pytest.mark.parametrize("name", MARGINS)
def test_sampled_loss_is_the_plain_one_of_the_chosen_classes(name, sub_centers):
    loss = make_loss(PartialFCLoss, name, sub_centers, sample_share=0.4, label_smoothing=0.1)
    features, pids = batch(3, 4)
    offsets = torch.linspace(-1, 1, P)
    torch.manual_seed(5)
    got = loss(features, pids, offsets)
    torch.manual_seed(5)
    seed = int(torch.randint(2**62, (1,)))
    chosen = choose_classes(pids[pids >= 0], P, 0.4, seed)
    assert len(chosen) < P
    small = CosineSoftmaxLoss(
        DIMS,
        len(chosen),
        scale=8.0,
        margin=MARGINS[name](),
        label_smoothing=0.1,
        sub_centers=sub_centers,
    ).double()
    vectors = [c * sub_centers + k for c in chosen.tolist() for k in range(sub_centers)]
    with torch.no_grad():
        for own, whole in zip(small.weights, loss.weights, strict=True):
            own.copy_(whole[vectors])
    where = {c: n for n, c in enumerate(chosen.tolist())}
    renamed = torch.tensor([where.get(pid, UNLABELED_PID) for pid in pids.tolist()])
    expected = small(features, renamed, offsets[chosen])
    torch.testing.assert_close(got, expected)
    got.backward()
    expected.backward()
    for own, whole in zip(small.weights, loss.weights, strict=True):
        torch.testing.assert_close(whole.grad[vectors], own.grad)
        others = [n for n in range(len(whole)) if n not in vectors]
        assert others and whole.grad[others].abs().sum() == 0


def test_sampling_by_hand():
    # Four identities on the axes; a feature of 0 on its axis, s = 1. All: -log(e / (e + 2 + 1/e));
    # of the three others one is drawn, two with cosine 0, one with -1.
    loss = PartialFCLoss((2,), 4, scale=1.0, sample_share=0.3)
    with torch.no_grad():
        loss.weights[0].copy_(torch.tensor([[1.0, 0], [0, 1], [0, -1], [-1, 0]]))
    values = {}
    for seed in range(30):
        torch.manual_seed(seed)
        value = loss([torch.tensor([[3.0, 0.0]])], torch.tensor([0])).item()
        values[round(value, 5)] = values.get(round(value, 5), 0) + 1
    expected = {round(math.log(1 + math.exp(-1 - x)), 5) for x in (0, 1)}
    assert set(values) == expected
    assert values[round(math.log(1 + math.exp(-1)), 5)] > 10
    loss.eval()
    value = loss([torch.tensor([[3.0, 0.0]])], torch.tensor([0])).item()
    assert value == pytest.approx(math.log((math.e + 2 + 1 / math.e) / math.e), rel=1e-6)


def test_the_draw_follows_the_global_generator():
    loss = make_loss(PartialFCLoss, "arcface", sample_share=0.3)
    features, pids = batch(2, 3)

    def values():
        torch.manual_seed(7)
        return [loss(features, pids).item() for _ in range(4)]

    assert values() == values()
    assert len(set(values())) > 1
    # Where nothing is drawn, other draws are not moved.
    torch.manual_seed(7)
    before = torch.get_rng_state()
    make_loss(PartialFCLoss, "arcface")  # seeds anew
    torch.manual_seed(7)
    loss.eval()(features, pids)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("name", MARGINS)
def test_no_labelled_rows_give_a_connected_zero(name, count):
    loss = make_loss(PartialFCLoss, name, sample_share=0.5)
    features = [rows(count, dim, 1).requires_grad_() for dim in DIMS]
    value = loss(features, torch.full((count,), UNLABELED_PID))
    value.backward()
    assert value.item() == 0.0
    for leaf in [*features, *loss.parameters()]:
        assert leaf.grad.abs().sum() == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_share": 0.0}, r"sample_share=0\.0.*SAMPLE_SHARE"),
        ({"sample_share": 1.5}, r"sample_share=1\.5"),
        ({"inter": 0.5}, r"inter=0\.5.*SHARDED to False"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_loss(PartialFCLoss, "none", **settings)


def test_labels_out_of_range_are_refused():
    loss = make_loss(PartialFCLoss, "none", sample_share=0.5)
    with pytest.raises(ValueError, match=r"0\.\.6.*NUM_IDENTITIES"):
        loss([rows(2, dim, 1) for dim in DIMS], torch.tensor([0, P]))


# Rows on rank 0 and rank 1 in each step: unequal, one empty, both empty.
ROWS = [(3, 5), (0, 4), (0, 0)]
OFFSETS = torch.linspace(-1, 1, P)
# (margin, sub-centers): no margin, all three fixed ones in one, and those that keep statistics.
CASES = [("none", 1), ("combined2", 2), ("curricular", 1), ("magface", 2), ("adaface", 1)]


def whole_weights():
    return [w.detach().clone() for w in make_loss(CosineSoftmaxLoss, "none", K).weights]


def train(case, kind, ranks, settings):
    """Train features and classes; return losses, gradients of the features, weights, state."""
    name, sub_centers = case
    loss = make_loss(kind, name, sub_centers, label_smoothing=0.1, intra=0.2, **settings)
    start, stop = getattr(loss, "shard", (0, P))
    with torch.no_grad():
        for weight, whole in zip(loss.weights, whole_weights(), strict=True):
            by_class = whole.view(P, K, -1)[start:stop, :sub_centers]
            weight.copy_(by_class.flatten(0, 1))
    project = [torch.eye(dim, dtype=torch.float64, requires_grad=True) for dim in DIMS]
    optimizer = torch.optim.SGD([*loss.parameters(), *project], lr=0.05, momentum=0.5)
    # What DistributedDataParallel averages.
    averaged = project if getattr(loss, "is_divided", False) else [*loss.parameters(), *project]
    values, gradients = [], []
    for step in range(len(ROWS)):
        halves = [batch(ROWS[step][rank], 20 * step + rank) for rank in ranks]
        leaves = [
            torch.cat(parts).requires_grad_() for parts in zip(*(h[0] for h in halves), strict=True)
        ]
        optimizer.zero_grad()
        torch.manual_seed(1000 * step + ranks[0])
        # One feature that the network does not reach: no gradient goes into it.
        outputs = [x @ m if len(x) else x.detach() for x, m in zip(leaves, project, strict=True)]
        value = loss(outputs, torch.cat([h[1] for h in halves]), OFFSETS)
        value.backward()
        values.append(value.detach())
        gradients.append([x.grad if x.grad is not None else torch.zeros_like(x) for x in leaves])
        for parameter in averaged:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if dist.is_initialized():
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()
        optimizer.step()
    return {
        "values": values,
        "gradients": gradients,
        "weights": [w.detach() for w in loss.weights],
        "project": [m.detach() for m in project],
        "state": {k: v for k, v in loss.state_dict().items() if not k.startswith("weights")},
    }


def _train_all(rank, cases, settings):
    return [train(case, PartialFCLoss, (rank,), settings) for case in cases]


def _equal(got, expected, **kwargs):
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-10, **kwargs)


def test_divided_over_two_processes_equals_undivided():
    """Losses, gradients of the features, updated weights, what the margins keep."""
    both = run_processes(_train_all, 2, CASES, {"is_sharded": True})
    for case, first, second in zip(CASES, *both, strict=True):
        alone = train(case, CosineSoftmaxLoss, (0, 1), {})
        for step, value in enumerate(alone["values"]):
            # The whole loss on either process.
            _equal(first["values"][step], value, msg=f"{case} {step}")
            _equal(second["values"][step], value)
            pairs = zip(first["gradients"][step], second["gradients"][step], strict=True)
            for own, (a, b) in zip(alone["gradients"][step], pairs, strict=True):
                # Twice, for the average over processes that follows.
                _equal(torch.cat([a, b]) / 2, own, msg=f"{case} {step}")
        for n, own in enumerate(alone["weights"]):
            held = [len(x["weights"][n]) for x in (first, second)]
            assert held == [4 * case[1], 3 * case[1]]
            _equal(torch.cat([first["weights"][n], second["weights"][n]]), own, msg=str(case))
            _equal(first["project"][n], alone["project"][n])
            assert torch.equal(first["project"][n], second["project"][n])
        for key, state in alone["state"].items():
            assert torch.equal(first["state"][key], second["state"][key]), key
            _equal(first["state"][key], state)


def test_sampled_on_two_processes_without_dividing():
    """Both draw the same classes, those of the first one's seed, and stay in step."""
    cases = CASES[1:3]
    both = run_processes(_train_all, 2, cases, {"sample_share": 0.3})
    for case, first, second in zip(cases, *both, strict=True):
        alone = train(case, PartialFCLoss, (0, 1), {"sample_share": 0.3})
        for step, value in enumerate(alone["values"]):
            mean = (first["values"][step] + second["values"][step]) / 2
            _equal(mean, value, msg=f"{case} {step}")
        for n, own in enumerate(alone["weights"]):
            assert torch.equal(first["weights"][n], second["weights"][n])
            _equal(first["weights"][n], own, msg=str(case))


def _sampled_and_divided(rank):
    loss = make_loss(PartialFCLoss, "combined", sample_share=0.5, is_sharded=True)
    loss.eval()
    features, _ = batch(2, rank)
    pids = torch.tensor([[0, 5], [0, UNLABELED_PID]][rank])
    in_evaluation = loss(features, pids)
    loss.train()
    torch.manual_seed(3 + rank)
    value = loss(features, pids)
    value.backward()
    moved = [w.grad.abs().sum(1) > 0 for w in loss.weights]
    return {"value": value.detach(), "all": in_evaluation.detach(), "moved": moved, "pids": pids}


def test_sampled_and_divided():
    first, second = run_processes(_sampled_and_divided, 2)
    assert torch.equal(first["value"], second["value"]) and first["value"] > 0
    # Fewer classes to lose against.
    assert first["value"] < first["all"]
    pids = torch.cat([first["pids"], second["pids"]])
    for result, (start, stop) in ((first, (0, 4)), (second, (4, 7))):
        own = {int(p) - start for p in pids if start <= p < stop}
        expected = len(own) + math.ceil((stop - start - len(own)) / 2)
        for moved in result["moved"]:
            assert int(moved.sum()) == expected
            assert own <= set(moved.nonzero().flatten().tolist())
