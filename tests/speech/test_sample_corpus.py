"""A corpus of samples: nothing is lost but the sixteenth bit, and a batch depends on its number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, SampleBatch, SampleCorpus, Utterance


def utterance(samples: int, speaker: str = "", seed: int = 0, scale: float = 0.5) -> Utterance:
    draw = np.random.default_rng([seed, samples])
    return Utterance((draw.uniform(-1, 1, samples) * scale).astype(np.float32), speaker=speaker)


CORPUS = SampleCorpus.of([utterance(3_000, "bob"), utterance(50, "ann"), utterance(2_000, "bob"), utterance(900, "cy")])


def test_samples_are_kept_to_sixteen_bits() -> None:
    one = utterance(1_000, scale=1.0)
    kept = SampleCorpus.of([one])[0]
    assert kept.dtype == torch.float32
    assert np.abs(kept.numpy() - one.samples).max() <= 1 / 32768
    exact = Utterance(kept.numpy())
    assert torch.equal(SampleCorpus.of([exact])[0], kept)


def test_what_it_is() -> None:
    assert (len(CORPUS), CORPUS.seconds) == (4, 5_950 / 16_000)
    assert CORPUS.speakers == ("bob", "ann", "bob", "cy")
    assert CORPUS.speaker_names == ("ann", "bob", "cy")
    assert repr(CORPUS) == "<SampleCorpus: 4 utterances, 0 s, 3 speakers>"
    assert torch.equal(CORPUS[-1], CORPUS[3])
    assert [len(samples) for samples in CORPUS] == [3_000, 50, 2_000, 900]
    with pytest.raises(IndexError):
        CORPUS[4]


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 4_000), st.integers(0, 3))
def test_a_batch_is_pieces_of_utterances(step: int, rows: int, samples: int, seed: int) -> None:
    batch = CORPUS.batch(step, rows=rows, samples=samples, seed=seed)
    assert batch.samples.shape == batch.mask.shape == (rows, samples)
    for piece, mask, speaker in zip(batch.samples, batch.mask, batch.speaker.tolist(), strict=True):
        real = int(mask.sum())
        assert mask[:real].all()
        assert not piece[real:].any()
        whole = [CORPUS[i] for i in range(4) if CORPUS.speakers[i] == CORPUS.speaker_names[speaker]]
        inside = [
            torch.equal(one[first : first + real], piece[:real])
            for one in whole
            if min(samples, len(one)) == real
            for first in range(len(one) - real + 1)
            if one[first] == piece[0]
        ]
        assert any(inside)
    again = CORPUS.batch(step, rows=rows, samples=samples, seed=seed)
    assert torch.equal(again.samples, batch.samples)


def test_processes_share_the_rows_of_a_step() -> None:
    whole = CORPUS.batch(3, rows=6, samples=100, seed=5)
    parts = [CORPUS.batch(3, rows=2, samples=100, seed=5, rank=rank, world_size=3) for rank in range(3)]
    assert torch.equal(torch.cat([part.samples for part in parts]), whole.samples)
    assert torch.equal(torch.cat([part.speaker for part in parts]), whole.speaker)
    assert not torch.equal(CORPUS.batch(4, rows=6, samples=100, seed=5).samples, whole.samples)
    assert not torch.equal(CORPUS.batch(3, rows=6, samples=100, seed=6).samples, whole.samples)


def test_an_utterance_is_drawn_as_often_as_it_is_long() -> None:
    speaker = CORPUS.batch(0, rows=6_000, samples=1).speaker
    shares = torch.bincount(speaker, minlength=3) / 6_000
    torch.testing.assert_close(shares, torch.tensor([50.0, 5_000.0, 900.0]) / 5_950, atol=0.02, rtol=0)


def test_speakers_are_taken_apart() -> None:
    part = CORPUS.select_speakers(["bob", "cy"])
    assert part.speakers == ("bob", "bob", "cy")
    assert torch.equal(part[1], CORPUS[2])
    assert len(CORPUS.select_speakers("ann")) == 1
    assert len(CORPUS) == 4


def test_a_speaker_is_named_as_in_a_corpus_of_features() -> None:
    class Folder(list[Utterance]):
        def named(self) -> list[tuple[str, Utterance]]:
            return [(f"mary/{i}.wav", one) for i, one in enumerate(self)]

    source = Folder([utterance(400), utterance(400, "eve")])
    names = FeatureCorpus.of(source, cache=False).speaker_names
    assert SampleCorpus.of(source).speaker_names == names == ("eve", "mary")
    assert SampleCorpus.of(source, speaker_of="one").speaker_names == ("one",)
    assert SampleCorpus.of(source, speaker_of=lambda name: name[5]).speaker_names == ("0", "1")
    assert SampleCorpus.of([utterance(400)]).speaker_names == ("unknown",)


def test_embedded_speech_is_a_source() -> None:
    pytest.importorskip("espeakng_loader", reason="needs the extra speech")
    source = list(EmbeddedSpeech("validation", speakers=2, seconds=3).generate())
    corpus = SampleCorpus.of(source)
    assert corpus.speaker_names == ("s1000", "s1001")
    assert torch.equal(corpus[1], torch.from_numpy(source[1].samples))


def test_a_batch_moves_whole() -> None:
    batch = CORPUS.batch(0, rows=2, samples=10)
    moved = batch.to("cpu")
    assert isinstance(moved, SampleBatch)
    assert len(moved) == 2
    assert torch.equal(moved.mask, batch.mask)


def test_a_little_beyond_full_scale_is_clipped() -> None:
    corpus = SampleCorpus.of([Utterance(np.array([1.2, -1.2, 0.5], np.float32))])
    assert corpus[0].tolist() == [32767 / 32768, -1, 0.5]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "at least one utterance"),
        ([Utterance(np.zeros(10, np.float32), rate_hz=8_000)], "utterance 000000 has 8000 samples a second"),
        ([utterance(10), Utterance(np.zeros(0, np.float32))], "utterance 000001 has no sample"),
        ([Utterance(np.array([0, np.nan], np.float32))], "NaN, or far outside"),
        ([Utterance(np.array([0, np.inf], np.float32))], "NaN, or far outside"),
        ([Utterance(np.array([0, 20_000], np.float32))], "NaN, or far outside"),
    ],
)
def test_sounds_that_cannot_be_used_are_named(source: list[Utterance], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SampleCorpus.of(source)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 1.5}, "samples is 1.5"),
        ({"step": -1}, "step is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"rank": 2, "world_size": 2}, "rank is 2; of 2 processes the ranks are 0 to 1"),
    ],
)
def test_batches_that_cannot_be_are_refused(numbers: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CORPUS.batch(**{"step": 0, "rows": 2, "samples": 10, **numbers})


def test_speakers_that_are_not_there_are_named() -> None:
    with pytest.raises(ValueError, match=r"no speaker is called \['zoe'\]; there are ann, bob, cy"):
        CORPUS.select_speakers("zoe")
    with pytest.raises(ValueError, match="a speaker for each"):
        SampleCorpus([np.zeros(3, np.int16)], [])
