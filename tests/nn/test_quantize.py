"""The codebook: what is looked up, what the moving averages do, and what can never happen to them."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import VectorQuantizer
from causalcnn.nn import lookup
from causalcnn.nn.lookup import nearest, nearest_reference
from tests.fuzz import examples


def plain(codes=8, dim=3, **options):
    """A quantiser without start or restart, in float64: nothing but moving averages."""
    options = {"dead_code_threshold": 0, "init": "random", "decay": 0.9} | options
    return VectorQuantizer(codes, dim, **options).double()


def rows(x):
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def state(quantizer):
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------------- the lookup
@given(
    st.sampled_from([1, 2, 7, 64, 127, 128, 256, 512, 514]), st.integers(1, 9), st.integers(0, 40), st.integers(0, 99)
)
def test_the_fast_lookup_equals_the_slow_one(codes, dim, vectors, seed):
    generator = torch.Generator().manual_seed(seed)
    # Whole numbers: distances are exact, and ties are frequent; of equally near words the first is taken.
    words = torch.randint(-4, 5, (codes, dim), generator=generator).double()
    x = torch.randint(-4, 5, (vectors, dim), generator=generator).double()
    assert torch.equal(nearest(x, words, words.square().sum(1) / 2), nearest_reference(x, words))


@given(st.integers(1, 5), st.integers(0, 70), st.sampled_from([(), (1,), (6,)]), st.integers(2, 40))
def test_pieces_of_any_size_are_found_alike(batch, time, frequency, codes):
    quantizer = plain(codes, 4).eval()
    x = noise(batch, 4, time, *frequency)
    found = quantizer.quantize(x)
    assert found.indices.shape == (batch, time, *frequency)
    assert torch.equal(found.indices.reshape(-1), nearest_reference(rows(x), quantizer.codebook))
    assert torch.equal(rows(found.values), quantizer.codebook[found.indices.reshape(-1)])
    assert found.values.shape == x.shape
    assert found.values.is_contiguous()


def test_many_pieces_are_found_alike(monkeypatch):
    quantizer = plain(16, 4)
    x, mask = noise(5, 4, 13, 7), torch.arange(13) < torch.tensor([13, 0, 5, 12, 1])[:, None]
    other = copy.deepcopy(quantizer)
    whole = quantizer.quantize(x, mask)
    for most in (1, 16, 160, 1600, 4000):
        monkeypatch.setattr(lookup, "SCORES", most)
        pieces = copy.deepcopy(other).quantize(x, mask)
        assert torch.equal(whole.indices, pieces.indices)
        assert torch.equal(whole.values, pieces.values)
        torch.testing.assert_close(whole.commitment, pieces.commitment, rtol=1e-12, atol=0)


def test_encode_decode_and_forward_agree():
    for frequency in ((), (5,)):
        quantizer = VectorQuantizer(32, 4).eval()
        x = noise(2, 4, 9, *frequency, dtype=torch.float32)
        codes = quantizer.encode(x)
        assert codes.dtype == torch.int64
        assert torch.equal(quantizer.decode(codes), quantizer(x))
        assert torch.equal(quantizer.quantize(x).indices, codes)
        assert torch.equal(quantizer.decode(codes.int()), quantizer(x))


def test_no_matrix_of_all_distances_is_ever_made():
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max([largest, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor))])
            return out

    quantizer, x = VectorQuantizer(512, 16), torch.randn(4, 16, 4000)
    with Watch():
        quantizer.quantize(x)
    assert largest <= max(x.numel(), 16_000 * 512 // 8)


# ---------------------------------------------------------------------- moving averages
def test_the_moving_averages_are_those_of_the_definition():
    quantizer = plain()
    count, total = None, None
    for seed in range(20):
        x = noise(3, 3, 11, seed=seed)
        if count is None:  # the drawn words weigh as much as one batch
            count = torch.full((8,), 33 / 8, dtype=torch.float64)
            total = quantizer.codebook * count[:, None]
        chosen = torch.nn.functional.one_hot(nearest_reference(rows(x), total / count[:, None]), 8).double()
        quantizer(x)
        count = 0.9 * count + 0.1 * chosen.sum(0)
        total = 0.9 * total + 0.1 * chosen.T @ rows(x)
        torch.testing.assert_close(quantizer.count, count, rtol=1e-12, atol=0)
        torch.testing.assert_close(quantizer.codebook, total / count[:, None], rtol=1e-12, atol=1e-14)


def test_only_count_and_sum_are_stored_and_the_codebook_is_their_ratio():
    quantizer = VectorQuantizer(16, 3)
    assert set(quantizer.state_dict()) == {"count", "sum", "started"}
    assert not list(quantizer.parameters())
    for seed in range(4):  # as drawn, after k-means, after restarts
        torch.testing.assert_close(quantizer.codebook * quantizer.count[:, None], quantizer.sum)
        quantizer(noise(2, 3, 30, dtype=torch.float32, seed=seed) * 10**seed)


def test_the_lookup_comes_before_the_update():
    quantizer = VectorQuantizer(16, 3)
    quantizer(noise(2, 3, 30, dtype=torch.float32))
    before = quantizer.codebook
    found = quantizer.quantize(noise(2, 3, 30, dtype=torch.float32, seed=1) + 1)
    assert torch.equal(rows(found.values), before[found.indices.reshape(-1)])
    assert not torch.equal(quantizer.codebook, before)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 60), st.sampled_from(["k-means", "random"]))
@settings(max_examples=examples(40))
def test_a_word_never_leaves_what_it_has_seen(offset, scale, time, start):
    """The words are means: neither the first steps nor restarts throw one out of the box of data and first words."""
    quantizer = VectorQuantizer(12, 3, init=start)
    boxes = [] if start == "k-means" else [quantizer.codebook]
    for seed in range(6):
        x = noise(1, 3, time, dtype=torch.float32, seed=seed) * scale + offset
        boxes.append(rows(x))
        quantizer(x)
        low, high = torch.cat(boxes).amin(0), torch.cat(boxes).amax(0)
        slack = 1e-4 * (high - low) + 1e-4 * torch.cat(boxes).abs().amax(0)
        assert ((quantizer.codebook >= low - slack) & (quantizer.codebook <= high + slack)).all()


def test_a_code_that_is_never_used_stays_where_it_is():
    quantizer = VectorQuantizer(4, 2, decay=0.01, dead_code_threshold=0, init="random")
    quantizer(torch.zeros(1, 2, 8))
    before, used = quantizer.codebook, quantizer.encode(torch.zeros(1, 2, 1)).item()
    for _ in range(300):  # 0.01 to the 300: far below any floating-point number
        quantizer(torch.zeros(1, 2, 8))
    others = [code for code in range(4) if code != used]
    torch.testing.assert_close(quantizer.codebook[others], before[others], rtol=1e-4, atol=0)
    assert (quantizer.count > 0).all()


def test_a_count_of_zero_gives_no_nan():
    quantizer = VectorQuantizer(4, 2)
    quantizer.count.zero_()
    quantizer.sum.zero_()
    quantizer.started.fill_(True)
    assert quantizer.codebook.isfinite().all()
    quantizer(torch.randn(2, 2, 20))
    assert quantizer.codebook.isfinite().all()


def test_an_empty_batch_changes_nothing():
    quantizer = VectorQuantizer(4, 2)
    for started in (False, True):
        before = state(quantizer)
        for x, mask in ((torch.randn(2, 2, 0), None), (torch.randn(2, 2, 5), torch.zeros(2, 5, dtype=torch.bool))):
            found = quantizer.quantize(x, mask)
            assert found.commitment == 0
            assert found.num_vectors == 0
            assert same(state(quantizer), before)
        assert bool(quantizer.started) == started
        quantizer(torch.randn(2, 2, 20))


@given(
    offset=st.floats(-3e3, 3e3),
    spread=st.sampled_from([0.1, 1.0, 30.0]),
    codes=st.sampled_from([1, 7, 64, 128]),
    dim=st.sampled_from([1, 5, 32]),
    vectors=st.sampled_from([1, 30, 700]),
)
@settings(max_examples=examples(20), deadline=None)
def test_the_nearest_word_is_found_as_far_from_zero(offset, spread, codes, dim, vectors):
    """Every way to look up: in training, with few and with many vectors, in a stream, in a compiled one."""
    torch.manual_seed(0)
    quantizer = VectorQuantizer(codes, dim).eval()
    quantizer.sum.copy_(offset + spread * torch.randn(codes, dim))
    quantizer.count.fill_(1)
    x = (offset + spread * torch.randn(vectors, dim)).T[None]
    distances = (x[0].T.double()[:, None] - quantizer.codebook.double()).square().sum(2)
    stream = quantizer.stream()
    stream(x[:, :, :0])
    for found in (quantizer.encode(x), quantizer.quantize(x).indices, stream.encode(x)):
        excess = distances.gather(1, found[0][:, None])[:, 0].sqrt() - distances.amin(1).sqrt()
        assert excess.max() <= 1e-4 * spread * dim**0.5
    compiled = quantizer.stream(engine="compiled")(x)
    torch.testing.assert_close(compiled, quantizer(x), rtol=1e-5, atol=spread)


@pytest.mark.parametrize("start", ["k-means", "random"])
def test_a_training_that_is_resumed_ends_with_the_same_numbers(start):
    batches = [noise(2, 3, 9, dtype=torch.float32, seed=seed) * (1 + seed % 5) for seed in range(12)]
    unbroken = VectorQuantizer(16, 3, decay=0.5, init=start)
    first = copy.deepcopy(unbroken)
    for x in batches:
        unbroken(x)
    for x in batches[:5]:
        first(x)
    torch.manual_seed(7)
    resumed = VectorQuantizer(16, 3, decay=0.5, init=start)
    resumed.load_state_dict(first.state_dict())
    for x in batches[5:]:
        torch.randn(3)  # another random state
        resumed(x)
    assert same(state(resumed), state(unbroken))


def test_a_copy_goes_its_own_way():
    quantizer = VectorQuantizer(8, 3)
    quantizer(torch.randn(2, 3, 20))
    twin = copy.deepcopy(quantizer)
    before = state(quantizer)
    assert same(state(twin), before)
    twin(torch.randn(2, 3, 20))
    assert same(state(quantizer), before)
    assert not torch.equal(twin.codebook, quantizer.codebook)


def test_loading_an_untrained_state_starts_again():
    quantizer, fresh = VectorQuantizer(8, 3), VectorQuantizer(8, 3)
    untrained = state(fresh)
    for each in (quantizer, fresh):
        each(noise(2, 3, 20, dtype=torch.float32))
    trained = state(fresh)
    fresh.load_state_dict(untrained)
    fresh(noise(2, 3, 20, dtype=torch.float32))
    assert same(state(fresh), trained)


# ---------------------------------------------------------------------- k-means start and restart
def clusters(count, each=40, dim=3, dtype=torch.float32):
    centers = noise(count, dim, dtype=dtype, seed=count) * 50
    vectors = centers.repeat_interleave(each, 0) + 0.01 * noise(count * each, dim, dtype=dtype)
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(1))
    return vectors[order].T[None], centers


def test_k_means_finds_the_clusters_in_the_first_batch():
    x, centers = clusters(6)
    quantizer = VectorQuantizer(24, 3)
    found = quantizer.quantize(x)
    assert found.commitment < 0.01
    assert torch.cdist(centers, quantizer.codebook).amin(1).max() < 0.05


def test_a_restarted_word_is_a_vector_of_the_batch_and_survives_the_next_call():
    quantizer = VectorQuantizer(8, 3, init="random")
    quantizer.sum.add_(1000)  # words that no vector is near
    quantizer.sum[0] = 0
    x, _ = clusters(5)
    for _ in range(400):
        before = quantizer.codebook
        quantizer(x)
        moved = (quantizer.codebook - before).abs().amax(1) > 100
        if moved.any():
            break
    assert moved[1:].all()  # the count fades alike in all of them
    assert torch.cdist(quantizer.codebook[moved], rows(x)).amin(1).max() == pytest.approx(0, abs=1e-3)
    restarted = quantizer.codebook
    quantizer(x)
    assert torch.cdist(quantizer.codebook[moved], restarted[moved]).diagonal().max() < 10
    assert quantizer.quantize(x).usage > 0.5


def test_who_restarts_does_not_depend_on_the_size_of_the_batch():
    x = noise(1, 3, 40, dtype=torch.float64)
    small, large = (
        VectorQuantizer(16, 3, init="random", dead_code_threshold=0.5, decay=0.8).double() for _ in range(2)
    )
    large.load_state_dict(small.state_dict())
    for _ in range(20):
        a, b = small.codebook, large.codebook
        small(x), large(x.repeat(1, 1, 25))
        torch.testing.assert_close(small.count * 25, large.count)
        if not torch.allclose(small.codebook, large.codebook):
            break
    vectors = rows(x)
    chosen = [torch.cdist(q.codebook, vectors).amin(1) < 1e-6 for q in (small, large)]
    assert torch.equal(*chosen)
    assert chosen[0].any()
    torch.testing.assert_close(small.codebook[~chosen[0]], large.codebook[~chosen[0]])
    torch.testing.assert_close(a, b)


def test_a_collapsed_codebook_recovers_with_restarts_and_not_without():
    x, _ = clusters(32)
    usage = []
    for dead_code_threshold in (0.0, 0.1):
        quantizer = VectorQuantizer(32, 3, decay=0.8, dead_code_threshold=dead_code_threshold, init="random")
        quantizer.sum.add_(100)
        quantizer.sum[0] = 0
        for _ in range(100):
            found = quantizer.quantize(x)
        usage.append(found.usage.item())
    assert usage[0] < 0.2
    assert usage[1] > 0.8


def test_no_random_number_is_drawn():
    quantizer = VectorQuantizer(16, 3)
    before = torch.get_rng_state()
    for _ in range(3):
        quantizer(torch.zeros(2, 3, 5) + torch.arange(5.0))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------- what must not touch it
def test_eval_changes_nothing():
    quantizer = VectorQuantizer(16, 3)
    x = torch.randn(2, 3, 20)
    quantizer(x)
    before = state(quantizer)
    quantizer.encode(x + 1), quantizer.decode(quantizer.encode(x))
    quantizer.stream()(x + 1)  # a stream never learns, not even in train()
    assert same(state(quantizer), before)
    quantizer.eval()
    quantizer(x + 1), quantizer.quantize(x + 1), quantizer.step(x + 1, ())
    assert same(state(quantizer), before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("started", [False, True])
def test_a_broken_batch_is_refused_and_destroys_nothing(bad, started):
    quantizer = VectorQuantizer(16, 3)
    x = torch.randn(2, 3, 20)
    if started:
        quantizer(x)
    before = state(quantizer)
    broken = x.clone()
    broken[1, 2, 7] = bad
    with pytest.raises(ValueError, match="codebook was left"):
        quantizer(broken)
    assert same(state(quantizer), before)
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[1, 7] = False
    assert quantizer.quantize(broken, mask).commitment.isfinite()  # in padding it does no harm
    assert quantizer.codebook.isfinite().all()


@given(st.lists(st.integers(0, 12), min_size=3, max_size=3), st.sampled_from([(), (4,)]), st.sampled_from([0, 0.3]))
@settings(max_examples=examples(30))
def test_padding_counts_nowhere(lengths, frequency, dead_code_threshold):
    """Masked vectors change no loss, no gradient, no statistics, no start and no restart; whatever they hold."""
    lengths = [max(1, lengths[0]), *lengths[1:]]
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    results = []
    for filling in (0.0, 5.0, float("nan")):
        torch.manual_seed(1)
        quantizer = VectorQuantizer(6, 3, decay=0.5, dead_code_threshold=dead_code_threshold)
        for seed in range(4):
            x = noise(3, 3, 12, *frequency, dtype=torch.float32, seed=seed)
            wide = mask.view(3, 1, 12, *(1,) * len(frequency))
            x = torch.where(wide, x, filling).requires_grad_()
            found = quantizer.quantize(x, mask)
            (found.commitment + torch.where(wide, found.values, 0).square().sum()).backward()
        results.append((state(quantizer), found.commitment, x.grad, found.counts, found.perplexity))
        assert not x.grad[~wide.expand_as(x)].any()
    # The same vectors, without any padding, as one row.
    torch.manual_seed(1)
    quantizer = VectorQuantizer(6, 3, decay=0.5, dead_code_threshold=dead_code_threshold)
    for seed in range(4):
        x = noise(3, 3, 12, *frequency, dtype=torch.float32, seed=seed)
        x = torch.cat([row[:, :n] for row, n in zip(x, lengths, strict=True)], 1)[None]
        found = quantizer.quantize(x)
    for other in results:
        assert same(other[0], results[0][0])
        torch.testing.assert_close(other[1:], results[0][1:])
        torch.testing.assert_close(other[0], state(quantizer))
        torch.testing.assert_close(other[1], found.commitment)
        torch.testing.assert_close(other[3:], (found.counts, found.perplexity))


def test_everything_is_float32_under_autocast():
    x = torch.randn(2, 16, 200)
    plain32 = VectorQuantizer(32, 16)
    cast = copy.deepcopy(plain32)
    for _ in range(3):
        expected = plain32.quantize(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = cast.quantize(x)
        assert torch.equal(found.indices, expected.indices)
        assert torch.equal(found.commitment, expected.commitment)
    assert same(state(cast), state(plain32))
    half = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = cast.quantize(half)
    assert found.values.dtype == torch.bfloat16
    assert found.commitment.dtype == torch.float32
    (found.commitment + found.values.sum()).backward()
    assert half.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_keeps_its_averages_in_float32(dtype):
    quantizer = VectorQuantizer(32, 4)
    quantizer(torch.randn(2, 4, 50))
    before = state(quantizer)
    quantizer.to(dtype)
    assert same(state(quantizer), before)
    assert quantizer(torch.randn(2, 4, 50, dtype=dtype)).dtype == dtype
    assert {quantizer.count.dtype, quantizer.sum.dtype} == {torch.float32}
    assert quantizer.double().codebook.dtype == torch.float64


# ---------------------------------------------------------------------- gradients
def test_the_gradient_passes_straight_through():
    quantizer, x = plain().eval(), noise(2, 3, 7).requires_grad_()
    weight = noise(2, 3, 7, seed=1)
    (quantizer(x) * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def test_the_commitment_pulls_vectors_to_their_words():
    quantizer, x = plain().eval(), noise(2, 3, 7).requires_grad_()
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    found = quantizer.quantize(x, mask)
    gap = torch.where(mask[:, None], x - found.values, 0).detach()
    torch.testing.assert_close(found.commitment, gap.square().sum() / (11 * 3))
    (3 * found.commitment).backward()
    torch.testing.assert_close(x.grad, 3 * 2 * gap / (11 * 3))
    assert torch.autograd.gradcheck(lambda x: quantizer.quantize(x, mask).commitment, x)


def test_what_is_left_needs_the_detached_words():
    """Residual quantisation: x − values has no gradient at all, so that a second quantiser could not be reached."""
    first, second = plain().eval(), plain().eval()
    for left, pulled in ((lambda x, v: x - v, False), (lambda x, v: x - v.detach(), True)):
        x = noise(2, 3, 7).requires_grad_()
        second.quantize(left(x, first(x))).commitment.backward()
        assert bool(x.grad.any()) == pulled


# ---------------------------------------------------------------------- what it reports
def test_usage_and_perplexity_count_real_vectors():
    quantizer = VectorQuantizer(4, 1).eval()
    quantizer.sum.copy_(torch.tensor([[0.0], [10], [20], [30]]))
    x = torch.tensor([[0.0, 10], [10, 20], [30, 30]])[None, None]
    found = quantizer.quantize(x, torch.tensor([[True, True, False]]))
    assert found.indices.tolist() == [[[0, 1], [1, 2], [3, 3]]]
    assert found.counts.tolist() == [1, 2, 1, 0]
    assert found.num_vectors == 4
    assert found.usage == 0.75
    assert found.perplexity == pytest.approx(2**1.5)
    assert quantizer.quantize(x).num_vectors == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q: q(torch.randn(2, 4, 5)), r"\(2, 4, 5\).*\(batch, 3, time\)"),
        (lambda q: q(torch.randn(3, 5)), r"\(3, 5\)"),
        (lambda q: q(torch.zeros(2, 3, 5, dtype=torch.int64)), r"int64.*x\.float\(\)"),
        (lambda q: q.encode(torch.randn(2, 4, 5)), r"\(2, 4, 5\)"),
        (lambda q: q.quantize(torch.randn(2, 3, 5), torch.ones(2, 4, dtype=torch.bool)), r"\(2, 5\)"),
        (lambda q: q.quantize(torch.randn(2, 3, 5), torch.ones(2, 5)), r"float32.*bool"),
        (lambda q: q.decode(torch.zeros(2, 3, 5, 6, dtype=torch.int64)), r"\(2, 3, 5, 6\).*\(batch, time\)"),
        (lambda q: q.decode(torch.zeros(2, 5)), r"float32.*int64"),
        (lambda q: q.decode(torch.tensor([[0, 8]])), "between 0 and 8.* 0 to 7"),
        (lambda q: q.decode(torch.tensor([[-1, 3]])), "between -1 and 3"),
        (lambda q: VectorQuantizer(0, 3), "num_codes is 0"),
        (lambda q: VectorQuantizer(8, 2.5), "dim is 2.5"),
        (lambda q: VectorQuantizer(8, 3, decay=1), "decay is 1"),
        (lambda q: VectorQuantizer(8, 3, dead_code_threshold=-1), "dead_code_threshold is -1"),
        (lambda q: VectorQuantizer(8, 3, init="zeros"), "'zeros'.*'k-means'"),
    ],
)  # fmt: skip
def test_errors_name_the_value_the_rule_and_the_way_out(call, message):
    with pytest.raises(ValueError, match=message):
        call(VectorQuantizer(8, 3))


def test_without_memory_a_code_that_wins_nothing_keeps_its_place():
    quantizer = VectorQuantizer(2, 1, decay=0, dead_code_threshold=0)
    quantizer.quantize(torch.tensor([[[0.0, 0.0, 10.0, 10.0]]]))
    before = quantizer.codebook.sort(0)[0]
    quantizer.quantize(torch.tensor([[[9.0, 11.0, 11.0, 9.0]]]))
    torch.testing.assert_close(before, torch.tensor([[0.0], [10.0]]))
    torch.testing.assert_close(quantizer.codebook.sort(0)[0], torch.tensor([[0.0], [10.0]]))
