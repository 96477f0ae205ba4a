"""Several processes hold the same codebook: two of them, joined by gloo, on this CPU."""

import os
import sys

import pytest
import torch
import torch.distributed as dist

from causalcnn import ResidualVectorQuantizer, VectorQuantizer

if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("this torch has no gloo", allow_module_level=True)

STEPS = 6


def batch(step):
    """Four rows; the processes take two each. The lengths leave the second process nothing at one step."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(4, 3, 30, 2, generator=generator, dtype=torch.float64) * (1 + step % 3)
    lengths = torch.tensor([[30, 11, 25, 0], [3, 30, 0, 0]][step % 2])
    return x, torch.arange(30) < lengths[:, None]


def quantizer(start, seed=0):
    torch.manual_seed(seed)
    return VectorQuantizer(16, 3, decay=0.7, dead_code_threshold=0.4, init=start).double()


def work(rank, folder):
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    out = {}
    for start in ("k-means", "random"):
        layer = quantizer(start, seed=rank if start == "random" else 0)
        out[start] = []
        for step in range(STEPS):
            x, mask = batch(step)
            layer.quantize(x[2 * rank :][:2], mask[2 * rank :][:2])
            out[start].append({name: value.clone() for name, value in layer.state_dict().items()})
    layer = quantizer("k-means")
    nothing = layer.quantize(torch.zeros(2, 3, 0, 2)) if rank else layer.quantize(*[t[:2] for t in batch(0)])
    out["one has nothing"] = [layer.state_dict()]
    assert nothing.commitment.isfinite()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = batch(0)[0][:2].float()
    x[0, 0, 0] = float("nan") if rank else 0.0
    try:
        layer(x)
        out["refused"] = False
    except ValueError:
        out["refused"] = all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    single = torch.randn(2, 5, 40)  # another number of vectors, half precision on one side only
    layer = VectorQuantizer(8, 5)
    layer(single.bfloat16() if rank else single[:, :, :7])
    out["mixed"] = [layer.state_dict()]
    layer, out["frozen in between"] = quantizer("k-means"), []
    for step in range(STEPS):
        x, mask = batch(step)
        layer.freeze() if step in (2, 3) else layer.unfreeze()
        for _ in range(1 + rank * layer.frozen):  # nobody waits for a frozen one, which may be called more often
            layer.quantize(x[2 * rank :][:2], mask[2 * rank :][:2])
        out["frozen in between"].append({name: value.clone() for name, value in layer.state_dict().items()})
    torch.manual_seed(0)
    stages, out["residual"] = ResidualVectorQuantizer(3, 8, 3, decay=0.7, dead_code_threshold=0.4).double(), []
    for step in range(STEPS):
        x, mask = batch(step)
        stages.quantize(x[2 * rank :][:2], mask[2 * rank :][:2])
        out["residual"].append({name: value.clone() for name, value in stages.state_dict().items()})
    torch.save(out, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", ["k-means", "random", "one has nothing", "mixed", "frozen in between", "residual"])
def test_both_hold_the_same_codebook(results, case):
    """Bit by bit, after every step: start, moving averages and restarts; also when one has no real vector."""
    for a, b in zip(results[0][case], results[1][case], strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("start", ["k-means", "random"])
def test_two_processes_learn_what_one_would_learn(results, start):
    layer, restarts = quantizer(start), 0
    for step in range(STEPS):
        before = layer.codebook
        layer.quantize(*batch(step))
        words = batch(step)[0].movedim(1, -1).reshape(-1, 3)
        restarts += int((torch.cdist(layer.codebook, words).amin(1) < 1e-9).sum())
        assert not torch.equal(before, layer.codebook)
        torch.testing.assert_close(dict(layer.state_dict()), dict(results[0][start][step]), rtol=1e-9, atol=1e-12)
    assert restarts >= 1


def test_frozen_they_stand_and_then_learn_as_one_would(results):
    found, layer = results[0]["frozen in between"], quantizer("k-means")
    for step in range(STEPS):
        if step in (2, 3):
            assert all(torch.equal(found[1][name], found[step][name]) for name in found[1])
            continue
        layer.quantize(*batch(step))
        torch.testing.assert_close(dict(layer.state_dict()), dict(found[step]), rtol=1e-9, atol=1e-12)


def test_two_processes_learn_the_stages_that_one_would_learn(results):
    torch.manual_seed(0)
    stages = ResidualVectorQuantizer(3, 8, 3, decay=0.7, dead_code_threshold=0.4).double()
    for step in range(STEPS):
        stages.quantize(*batch(step))
        torch.testing.assert_close(dict(stages.state_dict()), results[0]["residual"][step], rtol=1e-9, atol=1e-12)


def test_a_broken_batch_on_one_is_refused_by_both(results):
    assert results[0]["refused"]
    assert results[1]["refused"]
