"""The prior over codes: what it reads, that its probabilities are probabilities, and that all ways to draw are one."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import audit, check_contract
from causalcnn.causality import Verdict, measure_field, trace
from causalcnn.models import (
    CausalVQVAE2,
    CodeBatch,
    CodePrior,
    CodePriorConfig,
    Codes,
    Sampler,
    VQVAE2Config,
    WithinFrame,
    load_model,
    save_model,
)
from causalcnn.models.code_prior import CodeLevel, CodePriorSampler
from tests.fuzz import examples
from tests.models.shared import lively

SMALL = CodePriorConfig(
    top_cells=2,
    bottom_cells=4,
    num_codes=5,
    embedding_size=2,
    channels=3,
    hidden=2,
    first_time_kernel=(2, 3),
    first_frequency_kernel=2,
    time_dilations=((2, 1),),
    frequency_dilations=(1,),
)
FRAMES = 6


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def small(config=SMALL, kind=CodePrior):
    return lively(kind(config)).double().eval()


def some_codes(config=SMALL, rows=2, frames=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shape = (rows, frames, config.top_cells + config.bottom_cells)
    return torch.randint(0, config.num_codes, shape, generator=draw)


# ------------------------------------------------------------------------------------------ what it reads
def test_it_keeps_the_contract():
    check_contract(small(), torch.randn(2, 2, 11, 6, dtype=torch.float64))


@settings(max_examples=examples(6), derandomize=True, deadline=None)
@given(
    cells=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 2), st.integers(1, 4)),
    lower=st.integers(1, 3),
    blocks=st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=2),
)
def test_a_code_reads_what_is_declared_and_nothing_that_comes_later(cells, kernel, lower, blocks):
    tops, ratio = cells
    config = SMALL.with_(
        top_cells=tops, bottom_cells=tops * ratio, first_time_kernel=kernel, first_frequency_kernel=lower,
        time_dilations=tuple(block[:2] for block in blocks), frequency_dilations=tuple(block[2] for block in blocks),
    )  # fmt: skip
    model = small(config)
    x = torch.zeros(1, 2, FRAMES, model.cells, dtype=torch.float64)
    followed, measured = trace(model, x), measure_field(model, x)
    for t, f in itertools.product(range(FRAMES), range(model.cells)):
        declared = model.field.inputs_of((t, f), within=(range(FRAMES), range(model.cells)))
        earlier = {(u, g) for u in range(t) for g in range(tops if f < tops else model.cells)}
        assert declared <= earlier | {(t, g) for g in range(f)}
        assert followed.inputs_of((t, f)) == declared, (t, f)  # for any weights, through the operations
        assert measured[t, f] == declared, (t, f)  # by the derivative


def test_every_bottom_code_reads_all_lower_ones_with_the_default_sizes():
    field = CodePrior().field
    for f in (10, 17, 29):
        assert {(0, g) for g in range(10, f)} <= field.inputs_of((0, f))
    assert field.axis("time").past == 16
    assert field.axis("time").lookahead == 0


class WithinLevel(WithinFrame):
    """The frame of a prior along the codes of one level; those of the other level are noise, and stay."""

    def __init__(self, model, level):
        super().__init__(model)
        tops = model.config.top_cells
        self.own = slice(0, tops) if level == "top" else slice(tops, model.cells)

    def forward(self, x):
        frame = self.before[:, :, 0].expand(len(x), -1, -1).clone()
        frame[:, :, self.own][:, :, : x.shape[2]] = x
        logits = self.model(torch.cat([self.before.expand(len(x), -1, -1, -1), frame.unsqueeze(2)], dim=2))
        return logits[:, :, -1, self.own].roll(-1, 2)[:, :, : x.shape[2]]


def test_the_audit_certifies_time_and_the_order_within_each_level():
    config = SMALL.with_(top_cells=6, bottom_cells=6)
    model = small(config)
    for network, example in (
        (model, (1, 2, FRAMES, 12)),
        (WithinLevel(model, "top"), (1, 2, 6)),
        (WithinLevel(model, "bottom"), (1, 2, 6)),
    ):
        report = audit(network, example, max_frames=48)
        assert report.verdict is Verdict.CAUSAL, report
        assert report.passed, report


class ReadsItself(CodeLevel):
    """A shift that was forgotten: the frequency stack reads the very code that it predicts."""

    def frequency_stack(self, x, condition, tops):
        return super().frequency_stack(torch.nn.functional.pad(x, (-1, 1)), condition, tops)


class OneLevelReadsItself(CodePrior):
    """Its bottom level does so."""

    def __init__(self, config):
        super().__init__(config)
        self.bottom = ReadsItself(config, 2 * config.embedding_size, config.bottom_cells)


class NotLate(CodePrior):
    """Its time stacks read the present frame."""

    def step(self, x, state):
        last, time_state = state
        condition, time_state = self.time_stack(x, time_state)
        return self.frequency_stack(x, condition), (last, time_state)


@pytest.mark.parametrize(("kind", "ahead"), [(OneLevelReadsItself, 1), (NotLate, 2)])
def test_the_audit_finds_a_prior_that_reads_the_code_it_predicts(kind, ahead):
    model = small(kind=kind)
    assert audit(model, (1, 2, FRAMES, 6), max_frames=24).verdict is Verdict.CAUSAL  # frames alone do not tell
    within = audit(WithinFrame(model), (1, 2, 6))
    assert within.verdict is Verdict.LOOKS_AHEAD
    assert max(within.frames.values()) >= ahead


# ------------------------------------------------------------------------------------------ probabilities
@pytest.mark.parametrize(("num_codes", "cells", "frames"), [(2, (1, 2), 4), (3, (1, 1), 4), (2, (2, 2), 3)])
def test_the_probabilities_of_all_sequences_sum_to_one(num_codes, cells, frames):
    config = SMALL.with_(num_codes=num_codes, top_cells=cells[0], bottom_cells=cells[1])
    model = small(config)
    every = torch.tensor(list(itertools.product(range(num_codes), repeat=frames * sum(cells))))
    with torch.no_grad():
        nats = model.log_prob(every.view(-1, frames, sum(cells))).double().sum((1, 2))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert nats.std() > 0.1  # and they differ


def test_log_prob_is_that_of_the_logits_of_the_layer():
    model, codes = small(), some_codes()
    logits = model(model.to_input(codes))
    assert logits.shape == (2, 5, 7, 6)
    assert torch.allclose(model.log_prob(codes), model.distribution.log_prob(logits.movedim(1, -1), codes))
    assert model.log_prob(codes[:, :0]).shape == (2, 0, 6)


def test_the_loss_is_in_bits_and_counts_real_frames_only():
    model = small()
    codes = some_codes()
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 4:] = False
    top, bottom = model.split(codes)
    loss, metrics = model.loss(CodeBatch(top, bottom, mask, torch.zeros(2).long()))
    bits = -model.log_prob(codes)[mask] / math.log(2)
    assert loss.item() == pytest.approx(bits.mean().item(), rel=1e-5)
    assert metrics["bits_top"].item() == pytest.approx(bits[:, :2].mean().item(), rel=1e-5)
    assert metrics["bits_bottom"].item() == pytest.approx(bits[:, 2:].mean().item(), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


# ------------------------------------------------------------------------------------------ drawing
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_all_samplers_draw_the_same_codes_from_the_same_uniforms(temperature):
    model = small()
    samplers = [
        Sampler(model, 2),
        CodePriorSampler(model, 2, compiled=False),
        CodePriorSampler(model, 2),
    ]
    draw = torch.Generator().manual_seed(3)
    for sampler in samplers:
        sampler.read(some_codes(frames=5))
    for _ in range(12):
        uniform = samplers[0].uniform(draw)
        reference, *fast = (sampler.draw(uniform, temperature) for sampler in samplers)
        for codes in fast:
            assert torch.equal(codes, reference)


def test_top_codes_that_are_given_stay_and_the_bottom_is_drawn_as_if_they_had_been():
    model = small()
    prompt = some_codes(frames=3)
    drawn = model.generate(9, rows=2, prompt=prompt, seed=4, reference=True)
    top, bottom = model.split(drawn)
    assert torch.equal(model.generate_bottom(top, prompt=model.split(prompt), seed=4), bottom)
    other = model.generate_bottom((top + 1) % 5, prompt=model.split(prompt), seed=4)
    assert not torch.equal(other, bottom)
    assert model.generate_bottom(top[:, :0]).shape == (2, 0, 4)


def test_draws_follow_the_probabilities():
    config = SMALL.with_(num_codes=3, top_cells=1, bottom_cells=1)
    model = small(config)
    rows = 20_000
    drawn = model.generate(1, rows=rows, seed=0)[:, 0]
    every = torch.tensor(list(itertools.product(range(3), repeat=2)))
    expected = model.log_prob(every[:, None]).sum((1, 2)).exp()
    found = torch.stack([(drawn == pair).all(1).double().mean() for pair in every])
    assert torch.allclose(found, expected.double(), atol=0.015)


def test_a_low_temperature_prefers_likelier_codes():
    model = small()
    prices = [-model.log_prob(model.generate(30, seed=1, temperature=t)).mean().item() for t in (0.2, 1.0)]
    assert prices[0] < prices[1]


# ------------------------------------------------------------------------------------------ as a model
def test_vectors_of_codes_begin_as_far_apart_as_the_codewords():
    torch.manual_seed(1)
    coder = CausalVQVAE2(VQVAE2Config(channels=4, residual_channels=2, residual_blocks=1, code_dim=6, num_codes=9))
    prior = CodePrior(CodePriorConfig(num_codes=9, channels=3, hidden=2, embedding_size=8))
    before = prior.embeddings[1].weight.detach().clone()
    prior.start_from(coder)
    for embedding, quantizer in zip(prior.embeddings, (coder.quantize_top, coder.quantize_bottom), strict=True):
        distances = [torch.pdist(words.detach()) for words in (embedding.weight[:, :6], quantizer.codebook)]
        ratio = distances[0] / distances[1]
        assert ratio.std() < 1e-4 * ratio.mean()  # all directions there are, so nothing is lost
    assert torch.equal(prior.embeddings[1].weight[:, 6:], before[:, 6:])
    few = CodePrior(CodePriorConfig(num_codes=9, channels=3, hidden=2, embedding_size=2))
    few.start_from(coder)
    assert torch.allclose(few.embeddings[0].weight.std(), torch.tensor(1.0), atol=0.05)
    with pytest.raises(ValueError, match=r"the coder has \(10, 20, 9\) top cells"):
        small().start_from(coder)


def test_it_is_kept_and_found_again(tmp_path):
    model = small().float()
    save_model(tmp_path / "prior", model)
    again, card = load_model(tmp_path / "prior")
    assert card["model"] == "code-prior"
    assert torch.equal(again.log_prob(some_codes()), model.log_prob(some_codes()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bottom_cells": 5}, "bottom_cells is 5; it must be a multiple of top_cells, 2"),
        ({"num_codes": 0}, "num_codes is 0"),
        ({"frequency_dilations": (1, 2)}, "1 time and 2 frequency dilations"),
    ],
)
def test_settings_that_cannot_be(changes, words):
    with pytest.raises(ValueError, match=words):
        SMALL.with_(**changes)


def test_codes_that_cannot_be():
    model = small()
    with pytest.raises(ValueError, match="the codes reach from 0 to 5; they are 0 to 4"):
        model.log_prob(torch.tensor([[[0, 1, 2, 3, 4, 5]]]))
    sampler = model.sampler(1)
    with pytest.raises(ValueError, match=r"it must be integers \(1, time, 6\): prior.join"):
        sampler.read(torch.zeros(1, 3, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="the prompt has bins from 7 to 7; they are 0 to 4"):
        sampler.read(torch.full((1, 3, 6), 7))
    with pytest.raises(ValueError, match=r"what is given of the top is .* integers \(1, 2\)"):
        sampler.draw(sampler.uniform(torch.Generator()), top=torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="temperature is 0"):
        model.generate_bottom(torch.zeros(1, 1, 2, dtype=torch.int64), temperature=0)
    with pytest.raises(TypeError, match="no order"):
        model.distribution.mean(torch.zeros(5))
    with pytest.raises(TypeError, match="a model has a vector for each"):
        model.distribution.to_input(torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"the bins reach from 0 to 5; they must lie within 0 to 4"):
        model.distribution.log_prob(torch.zeros(2, 5), torch.tensor([0, 5]))


def test_codes_in_the_order_of_prediction_and_back():
    model = small()
    codes = some_codes()
    top, bottom = model.split(codes)
    assert torch.equal(top, codes[:, :, :2])
    assert torch.equal(model.join(Codes(top, bottom)), codes)
