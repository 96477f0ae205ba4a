"""The codes of a corpus: those that the model makes, in batches that depend on their number only, kept with care."""

import numpy as np
import pytest
import torch

from causalcnn.models import CausalVQVAE2, CodeCorpus, VQVAE2Config
from causalcnn.models import code_corpus as module
from causalcnn.speech import FeatureCorpus, Utterance

CONFIG = VQVAE2Config(channels=4, residual_channels=2, residual_blocks=1, code_dim=4, num_codes=300)


def features(gain=0.1):
    draw = np.random.default_rng(0)
    sounds = [(0.4, "b"), (1.3, "a"), (0.03, "a")]
    return FeatureCorpus.of(
        [Utterance(draw.normal(0, gain, round(16_000 * s)).astype(np.float32), speaker=who) for s, who in sounds],
        cache=False,
    )


@pytest.fixture(scope="module")
def model():
    """A model whose codebooks have seen something, so that there are different codes."""
    torch.manual_seed(0)
    model, speech = CausalVQVAE2(CONFIG), features()
    with torch.no_grad():
        for _ in range(3):
            model(speech[1].T[None, None])
    return model.eval()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path))
    return tmp_path


def test_codes_are_those_of_the_model_whatever_the_pieces(model, monkeypatch):
    monkeypatch.setattr(module, "_PIECE_FRAMES", 7)
    speech = features()
    corpus = CodeCorpus.of(model, speech, cache=False)
    assert [clip.name for clip in corpus.clips] == [clip.name for clip in speech.clips]
    assert (corpus.top_cells, corpus.bottom_cells, corpus.num_codes) == (10, 20, 300)
    for clip, codes in zip(speech, corpus, strict=True):
        whole = model.encode(clip.T[None, None])
        assert torch.equal(codes.top, whole.top)
        assert torch.equal(codes.bottom, whole.bottom)
    assert max(int(codes.bottom.max()) for codes in corpus) > 255  # they fit into what they are kept in


def test_a_batch_is_the_codes_of_the_pieces_that_features_would_be_drawn_from(model):
    speech = features()
    corpus = CodeCorpus.of(model, speech, cache=False)
    for step in range(3):
        batch, same = corpus.batch(step, rows=4, frames=50, seed=2), speech.batch(step, rows=4, frames=50, seed=2)
        assert torch.equal(batch.mask, same.mask)
        assert torch.equal(batch.speaker, same.speaker)
        halves = [corpus.batch(step, rows=2, frames=50, seed=2, rank=rank, world_size=2) for rank in (0, 1)]
        assert torch.equal(torch.cat([half.bottom for half in halves]), batch.bottom)
        for row in range(4):  # a piece that begins a clip has no past, so it can be compared without one
            codes = model.encode(same.features[row].T[None, None])
            if torch.equal(batch.top[row, :1], codes.top[0, :1]) and not batch.mask[row].all():
                real = int(batch.mask[row].sum())
                assert torch.equal(batch.bottom[row, :real], codes.bottom[0, :real])
                assert not batch.bottom[row, real:].any()


def test_every_clip_once_for_scoring(model):
    corpus = CodeCorpus.of(model, features(), cache=False)
    batches = list(corpus.in_batches(2))
    assert [len(batch) for batch in batches] == [2, 1]
    assert torch.equal(batches[0].top[:1], corpus[1].top)
    assert sum(int(batch.mask.sum()) for batch in batches) == 40 + 130 + 3


def test_the_cache_is_found_again_and_belongs_to_the_model_and_the_features(model, cache, monkeypatch):
    first = CodeCorpus.of(model, features())
    assert len(list(cache.glob("codes/*.cache"))) == 1
    monkeypatch.setattr(module, "_encode", lambda *_: pytest.fail("it encodes again"))
    again = CodeCorpus.of(model, features())
    assert all(torch.equal(a.bottom, b.bottom) for a, b in zip(first, again, strict=True))
    monkeypatch.undo()
    monkeypatch.setenv("CAUSALCNN_CACHE", str(cache))
    CodeCorpus.of(model, features(gain=0.2))
    torch.manual_seed(1)
    CodeCorpus.of(CausalVQVAE2(CONFIG).eval(), features())
    assert len(list(cache.glob("codes/*.cache"))) == 3


def test_what_is_no_corpus(model):
    corpus = CodeCorpus.of(model, features(), cache=False)
    with pytest.raises(IndexError, match="there is no clip 3; this corpus has 3"):
        corpus[3]
    assert torch.equal(corpus[-1].top, corpus[2].top)
    with pytest.raises(ValueError, match="rows is 0"):
        corpus.batch(0, rows=0, frames=5)
    with pytest.raises(ValueError, match="do not belong together"):
        CodeCorpus(corpus.clips, np.zeros((5, 30), dtype=np.int16), top_cells=10, num_codes=300)
