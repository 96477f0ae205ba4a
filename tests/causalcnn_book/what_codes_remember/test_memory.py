"""What codes remember: probes are exact, a shuffled past is beyond them, and nothing is lost by a stop."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("espeakng_loader")

from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
from causalcnn_book.what_codes_remember.linear_probe import Moments, TransformCode, fit_linear, fit_network
from causalcnn_book.what_codes_remember.memory import BACK, NOW, Memory, horizon, pictures, probe_frames, spread
from causalcnn_book.what_codes_remember.probe_inputs import (
    Clips,
    PerLevelPCA,
    bits,
    build_inputs,
    field_frames,
    gather,
    vectors,
    window,
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    """A small one whose codebooks have met noise; no training is needed to prove the measuring."""
    torch.manual_seed(0)
    config = VQVAE2Config(channels=8, residual_channels=4, residual_blocks=1, code_dim=6, num_codes=16)
    made = CausalVQVAE2(config)
    with torch.no_grad():
        made.reconstruct(torch.randn(4, 1, 60, 80) * 20 - 35)
    return made.eval()


@pytest.fixture(scope="module")
def clips():
    """Train, validation and test clips of noise, some frames long, all of them read."""
    draw = torch.Generator().manual_seed(0)
    frames = [torch.randn(200, 80, generator=draw) * 20 - 35 for _ in range(18)]
    every = [torch.arange(20, 195)] * len(frames)
    return [Clips(frames[a:b], every[a:b]) for a, b in ((0, 12), (12, 15), (15, 18))]


def rows(seed=0, n=400):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=draw) * torch.tensor([1.0, 2.0, 3.0, 0.1, 1.0]) + 7
    noise = torch.randn(n, 2, generator=draw)
    return x, torch.stack([x[:, 0] - x[:, 1] + 3, x[:, 2] + noise[:, 0], noise[:, 1] - 40, x[:, 4] * 0.5], 1)


def moments(x, y, pieces=3):
    made = Moments(x[:10].mean(0), y[:10].mean(0))
    for a, b in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
        made.add(a, b)
    return made


def test_moments_are_those_of_the_rows_however_they_come():
    x, y = rows()
    xx, xy, yy = moments(x, y).about(x.double().mean(0), y.double().mean(0))
    a, b = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    for found, true in ((xx, a.T @ a / 400), (xy, a.T @ b / 400), (yy, b.square().mean(0))):
        assert torch.allclose(found, true, atol=1e-4)
    part = moments(x, y).part(slice(1, 3)).about(x[:, 1:3].double().mean(0), y.double().mean(0))
    assert torch.allclose(part[0], xx[1:3, 1:3], atol=1e-4)


def test_a_linear_probe_is_ridge_regression_and_its_error_that_of_its_reading():
    train, validation, test = (rows(seed) for seed in (0, 1, 2))
    probe = fit_linear(moments(*train), moments(*validation), groups=2, penalties=(1e-3,))
    x, y = (part.double() - part.double().mean(0) for part in train)
    unit = float((x.T @ x / 400).diagonal().mean())
    weight = torch.linalg.solve(x.T @ x / 400 + 1e-3 * unit * torch.eye(5, dtype=torch.float64), x.T @ y / 400)
    assert torch.allclose(probe.weight, weight, atol=1e-4)
    wrong = (probe(test[0].double()) - test[1]).square().mean(0).reshape(2, -1).sum(1)
    about = (test[1].double() - train[1].double().mean(0)).square().mean(0).reshape(2, -1).sum(1)
    assert torch.allclose(probe.errors(moments(*test)), wrong / about, atol=1e-4)


def test_each_group_takes_its_own_penalty():
    train, validation = rows(0, 12), rows(1)
    probe = fit_linear(moments(*train), moments(*validation), groups=4, penalties=(1e-6, 10.0))
    assert probe.penalties[0] == 1e-6  # an exact law: no penalty is best
    assert probe.penalties[2] == 10.0  # noise: the mean is best


def test_a_network_never_reads_worse_than_the_linear_probe_and_finds_a_product():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3000, 2, generator=draw)
    y = (x[:, :1] * x[:, 1:]).repeat(1, 2)
    linear = fit_linear(moments(x, y), moments(x, y), groups=1)
    train, validation = (x[:2000], y[:2000]), (x[2000:], y[2000:])
    network, history = fit_network(linear, train, validation, hidden=32, epochs=8, rows=100, learning_rate=2e-2, seed=1)
    with torch.no_grad():
        error = float((linear(x[2000:]) + network(x[2000:]) - y[2000:]).square().mean())
    assert error == pytest.approx(min(history), rel=1e-4)
    assert error < 0.3 * history[0]


def test_a_transform_code_spends_its_bits_where_the_variance_is():
    draw = torch.Generator().manual_seed(0)
    windows = torch.randn(5000, 6, generator=draw) * torch.tensor([8.0, 4.0, 2.0, 1.0, 0.01, 0.01])
    code = TransformCode(windows, bits=10)
    assert sum(code.bits) == 10
    assert code.bits == (4, 3, 2, 1)
    rounded = code(windows)
    assert [len(column.unique()) for column in rounded.T] == [16, 8, 4, 2]
    finer = TransformCode(windows, bits=20)

    def lost(c):
        return float((c(windows) @ c.basis.T + c.mean - windows).square().mean())

    assert lost(finer) < 0.1 * lost(code)


def test_vectors_are_those_of_the_model(model):
    clip = torch.randn(30, 80) * 20 - 35
    codewords, before = vectors(model, clip)
    _, top, bottom = model.reconstruct(clip[None, None])
    assert torch.equal(codewords[:, :10], top.values[0].permute(1, 2, 0))
    assert torch.equal(codewords[:, 10:], bottom.values[0].permute(1, 2, 0))
    assert before.shape == codewords.shape == (30, 30, 6)
    distance = torch.cdist(before[:, :10], model.quantize_top.codebook)
    assert torch.equal(distance.argmin(2), top.indices[0])


def test_a_narrow_view_keeps_all_of_it_where_it_keeps_all_directions(model):
    codewords, _ = vectors(model, torch.randn(40, 80) * 20 - 35)
    pca = PerLevelPCA(codewords, 10, directions=6)
    assert pca(codewords).shape == (40, 180)
    assert max(abs(lost) for lost in pca.lost) < 1e-9
    assert torch.allclose(
        pca(codewords).square().sum(), (codewords - mean_of(pca, codewords)).square().sum(), rtol=1e-4
    )
    assert 0 < PerLevelPCA(codewords, 10, directions=2).lost[0] < 1


def mean_of(pca, codewords):
    return torch.cat([pca.means[0].expand(len(codewords), 10, -1), pca.means[1].expand(len(codewords), 20, -1)], 1)


def test_a_window_ends_with_its_frame():
    clip = torch.arange(6.0)[:, None] * torch.ones(1, 2)
    assert window(clip, 3)[4].tolist() == [2, 2, 3, 3, 4, 4]
    assert window(clip, 3)[0].tolist() == [0, 0, 0, 0, 0, 0]


def test_what_is_in_the_window_is_told_exactly_and_what_is_not_cannot_be(clips):
    inputs = [[window(x, 4) for x in some.features] for some in clips]
    errors, _, _ = probe_frames(inputs, clips, (-1, 0, 3, 4, 9))
    assert errors[1] < 1e-4
    assert errors[2] < 1e-4
    assert ((errors[[0, 3, 4]] > 0.97) & (errors[[0, 3, 4]] < 1.1)).all()  # noise has no likeness


def test_codes_tell_nothing_beyond_their_field(model, clips):
    top, bottom = field_frames(model)
    assert (top, bottom, bits(model)) == (9, 13, 120)
    codewords = build_inputs(model, None, clips[0])["codes"]
    errors, _, _ = probe_frames([[codewords(x) for x in c.features] for c in clips], clips, (0, bottom, bottom + 3))
    assert errors[0] < 0.97
    assert (errors[1:] > 0.98).all()


def test_speech_is_cut_so_that_every_frame_that_is_asked_is_there():
    corpus = FeatureCorpus.of(EmbeddedSpeech("validation", speakers=2, seconds=6))
    clips = Clips.of(corpus, -70.0)
    for x, at in zip(clips.features, clips.positions, strict=True):
        assert x.min() >= -70
        assert at.min() >= 20
        assert at.max() < len(x) - 5
    mixed = clips.shuffled(0, frames=100)
    pool = torch.cat([x[at] for x, at in zip(clips.features, clips.positions, strict=True)])
    assert len(mixed) > 0
    assert torch.cat(mixed.features).sort(0).values[0].min() >= pool.min()
    assert not torch.equal(torch.cat(mixed.features)[:50], pool[:50])
    assert torch.equal(mixed.features[0], clips.shuffled(0, frames=100).features[0])


def test_silence_is_not_asked():
    clips = Clips([torch.zeros(10, 80)], [torch.arange(0)])
    with pytest.raises(ValueError, match="no frame"):
        gather([torch.zeros(10, 3)], clips, (0,))


def test_the_spread_is_half_of_the_interval_of_the_mean():
    found = spread([[0.1, 0.5], [0.3, 0.5]])
    assert found["mean"] == [0.2, 0.5]
    assert found["half_interval"] == [pytest.approx(12.7062 * 0.1, abs=1e-4), 0.0]  # the deviation over √2 is 0.1
    assert found["by_seed"] == [[0.1, 0.5], [0.3, 0.5]]


def test_the_horizon_is_the_last_frame_before_the_error_passes():
    assert horizon([0.1, 0.2, 0.6, 0.3], 0.5) == 1
    assert horizon([0.1, 0.2], 0.5) == 1
    assert horizon([0.7], 0.5) == -1


def test_the_table_is_whole_and_repeats(tmp_path, model):
    out = tmp_path / "memory.json"
    experiment = Memory(seconds=12, no_network=True)
    experiment.trained = model, {"model": "vqvae2", "config": {}, "sha256": ""}
    experiment.untrained = model
    table = experiment.run(out, seeds=(0,))
    drawn = json.loads((tmp_path / "memory-pictures.json").read_text("utf8"))
    assert json.loads(out.read_text("utf8")) == table
    assert table["field"] == {"top": 9, "bottom": 13}
    codes = table["linear"]["codes"]
    assert len(codes["mean"]) == len(codes["half_interval"]) == len(BACK)
    assert codes["by_seed"] == [codes["mean"]]
    assert codes["half_interval"] == [None] * len(BACK)
    assert codes["mean"][NOW] < codes["mean"][NOW + 5]
    assert table["linear"]["window"]["mean"][NOW + 12] < 1e-3 < table["linear"]["window"]["mean"][NOW + 13]
    assert table["linear"]["copy"]["mean"][NOW] == 0
    assert len(drawn["truth"]) == 2400
    assert {name: {len(p) for p in texts} for name, texts in drawn["readings"].items()} == {
        name: {2400} for name in ("codes", "untrained", "fixed")
    }
    assert {path.name for path in tmp_path.iterdir()} == {"memory.json", "memory-pictures.json"}


def test_a_picture_needs_a_long_clip(clips, model):
    representations = build_inputs(model, model, clips[0])
    probes = {}
    for name in ("codes", "untrained", "fixed"):
        _, probes[name], _ = probe_frames([[representations[name](x) for x in c.features] for c in clips], clips)
    assert pictures(representations, probes, clips[2])["frames"] == 60
