"""A corpus of features: the front end's numbers, batches that depend on their number only, a cache that cannot lie."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn.speech import AudioFolder, EmbeddedSpeech, FeatureCorpus, LogMel, Utterance, to_2d
from causalcnn.speech import feature_extraction as extraction
from tests.fuzz import examples


def utterance(seconds, speaker="a", seed=0, gain=0.1):
    draw = np.random.default_rng(seed)
    return Utterance(draw.normal(0, gain, round(seconds * 16000)).astype(np.float32), speaker=speaker)


def clips():
    """Lengths from 3 to 300 frames, three speakers."""
    lengths = [(0.031, "c"), (1.0, "a"), (3.0, "b"), (0.5, "a"), (2.01, "c")]
    return [utterance(seconds, speaker, seed) for seed, (seconds, speaker) in enumerate(lengths)]


@pytest.fixture(scope="module")
def corpus():
    return FeatureCorpus.of(clips(), cache=False)


# ------------------------------------------------------------------------------------ what it holds
def test_features_are_the_front_ends_whole_and_in_order(corpus):
    front_end = LogMel()
    assert len(corpus) == 5
    assert corpus.frames == 3 + 100 + 300 + 50 + 201
    assert corpus.seconds == pytest.approx(6.54)
    assert corpus.speaker_names == ("a", "b", "c")
    for clip, features, spoken in zip(corpus.clips, corpus, clips(), strict=True):
        torch.testing.assert_close(features, front_end(spoken.tensor())[0], rtol=0, atol=1e-4)
        assert features.shape == (80, clip.frames)
        assert clip.speaker == spoken.speaker
    torch.testing.assert_close(corpus[-1], corpus[4])
    with pytest.raises(IndexError, match="no clip 5; this corpus has 5"):
        corpus[5]


def test_a_long_recording_is_computed_in_pieces_without_a_seam(monkeypatch):
    whole = FeatureCorpus.of([utterance(2)], cache=False)[0]
    monkeypatch.setattr(extraction, "_PIECE_FRAMES", 7)
    torch.testing.assert_close(FeatureCorpus.of([utterance(2)], cache=False)[0], whole, rtol=0, atol=1e-4)


def test_embedded_speech_is_cached_and_split_by_speaker():
    source = EmbeddedSpeech("train", speakers=3, seconds=8)
    made = FeatureCorpus.of(source)
    assert made.speaker_names == source.speaker_names
    assert [clip.speaker for clip in made.clips] == [spoken.speaker for spoken in source]
    again = FeatureCorpus.of(EmbeddedSpeech("train", speakers=3, seconds=8))
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
    assert isinstance(again._clip_frames[0].array, np.memmap)
    torch.testing.assert_close(made[1], LogMel()(source[1].tensor())[0], rtol=0, atol=1e-4)
    other = FeatureCorpus.of(EmbeddedSpeech("test", speakers=3, seconds=8))
    assert not set(other.speaker_names) & set(made.speaker_names)


# ------------------------------------------------------------------------------------ batches
numbers = st.integers(0, 10**6)


@given(numbers, st.integers(1, 6), st.integers(1, 320), numbers, st.integers(1, 4))
@settings(max_examples=examples(40))
def test_processes_share_the_batch_that_one_would_draw(corpus, step, rows, frames, seed, world_size):
    whole = corpus.batch(step, rows=rows * world_size, frames=frames, seed=seed)
    shares = [
        corpus.batch(step, rows=rows, frames=frames, seed=seed, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    for name in ("features", "mask", "speaker"):
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))


def test_a_batch_depends_on_its_arguments_only(corpus):
    first = corpus.batch(7, rows=4, frames=50)
    np.random.default_rng().random(3)
    corpus.batch(8, rows=4, frames=50)
    again = FeatureCorpus.of(clips(), cache=False).batch(7, rows=4, frames=50)
    assert torch.equal(first.features, again.features)
    for other in (corpus.batch(8, rows=4, frames=50), corpus.batch(7, rows=4, frames=50, seed=1)):
        assert not torch.equal(first.features, other.features)


@given(numbers, st.integers(1, 400))
@settings(max_examples=examples(40))
def test_every_row_is_a_piece_of_a_clip_of_its_speaker_padded_at_the_end(corpus, step, frames):
    batch = corpus.batch(step, rows=3, frames=frames)
    assert batch.features.shape == (3, 80, frames)
    assert batch.features.dtype == torch.float32
    assert batch.mask.dtype == torch.bool
    assert batch.speaker.dtype == torch.int64
    assert to_2d(batch.features).is_contiguous()
    for features, mask, speaker in zip(batch.features, batch.mask, batch.speaker, strict=True):
        real = int(mask.sum())
        assert real
        assert mask[:real].all()  # padding is at the end
        assert (features[:, real:] == -100).all()
        whole = [clip for i, clip in enumerate(corpus) if corpus.clips[i].speaker == corpus.speaker_names[speaker]]
        assert any(
            torch.equal(features[:, :real], clip[:, start : start + real])
            for clip in whole
            for start in range(clip.shape[1] - real + 1)
            if real == min(frames, clip.shape[1])
        )


def test_clips_come_in_proportion_to_their_length_and_none_is_dropped(corpus):
    rows = 64
    drawn = torch.cat([corpus.batch(step, rows=rows, frames=320).mask.sum(1) for step in range(200)])
    for clip in corpus.clips:
        expected = clip.frames / corpus.frames
        share = (drawn == clip.frames).double().mean().item()
        assert share == pytest.approx(expected, abs=4 * (expected / (200 * rows)) ** 0.5), clip


def test_starts_reach_both_ends_of_a_clip():
    one = FeatureCorpus.of([utterance(0.1)], cache=False)
    starts = {
        next(s for s in range(5) if torch.equal(one[0][:, s : s + 6], row))
        for step in range(20)
        for row in one.batch(step, rows=4, frames=6).features
    }
    assert starts == {0, 1, 2, 3, 4}


def test_every_clip_once_for_scoring(corpus):
    batches = list(corpus.in_batches(2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert sum(int(batch.mask.sum()) for batch in batches) == corpus.frames
    assert sorted(int(n) for batch in batches for n in batch.mask.sum(1)) == [3, 50, 100, 201, 300]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows is 0; it must be an integer of at least 1"),
        ({"frames": 2.5}, "frames is 2.5"),
        ({"step": -1}, "step is -1"),
        ({"rank": 2, "world_size": 2}, "rank is 2; of 2 processes the ranks are 0 to 1"),
    ],
)
def test_numbers_that_cannot_be(corpus, arguments, message):
    with pytest.raises(ValueError, match=message):
        corpus.batch(**{"step": 0, "rows": 2, "frames": 5, **arguments})


# ------------------------------------------------------------------------------------ other corpora
def test_only_some_speakers(corpus):
    some = corpus.select_speakers(["c"])
    assert [clip.frames for clip in some.clips] == [3, 201]
    assert some.speaker_names == ("c",)
    assert some.batch(0, rows=2, frames=4).speaker.tolist() == [0, 0]
    assert corpus.select_speakers("c").frames == some.frames
    with pytest.raises(ValueError, match=r"no speaker is called \['z'\]; there are a, b, c"):
        corpus.select_speakers(["a", "z"])


def test_two_corpora_become_one(corpus):
    both = corpus.select_speakers("a") + FeatureCorpus.of([utterance(1, "new", 9)], cache=False)
    assert both.speaker_names == ("a", "new")
    assert both.frames == 250
    torch.testing.assert_close(both[2], FeatureCorpus.of([utterance(1, "new", 9)], cache=False)[0])


def test_a_part_is_taken_evenly():
    many = FeatureCorpus.of([utterance(0.2, seed=i) for i in range(10)], cache=False)
    assert [clip.name for clip in many.subset(0.8).clips] == ["000000", "000002", "000005", "000007"]
    assert many.subset(100) is many
    assert len(many.subset(0.001)) == 1


def test_a_part_has_every_speaker(corpus):
    assert corpus.subset(0.5).speaker_names == corpus.speaker_names
    assert corpus.subset(0.5).frames < corpus.frames


def test_a_corpus_is_brought_to_a_level(corpus):
    quiet = FeatureCorpus.of([utterance(1, gain=0.01)], cache=False)
    loud = FeatureCorpus.of([utterance(1, gain=0.1)], cache=False)
    assert quiet.level_db == pytest.approx(loud.level_db - 20, abs=1e-3)
    levelled = quiet.at_level(loud.level_db)
    assert levelled.level_db == pytest.approx(loud.level_db)
    torch.testing.assert_close(levelled[0], loud[0], rtol=0, atol=1e-3)
    assert quiet.with_gain(-500)[0].min() == -100
    assert (quiet + loud).with_gain(3).with_gain(-3).level_db == pytest.approx((quiet + loud).level_db)
    each = (quiet + FeatureCorpus.of([utterance(1, "b", gain=0.1)], cache=False)).at_level(-15, per="speaker")
    assert [clip.level_db for clip in each.clips] == pytest.approx([-15, -15])
    with pytest.raises(ValueError, match="per is 'clip'; it must be 'corpus' or 'speaker'"):
        quiet.at_level(-15, per="clip")
    with pytest.raises(ValueError, match="gain is nan"):
        quiet.with_gain(float("nan"))


@given(noise_db=st.floats(-120, -60), place=st.integers(0, 3), count=st.integers(1, 2), seed=st.integers(0, 99))
@settings(max_examples=examples(10), deadline=None)
def test_clips_without_speech_weigh_nothing(noise_db, place, count, seed):
    """Digital silence, dither, and the noise of a quiet room, −60 dB of full scale."""
    draw = np.random.default_rng(seed)
    noise = [draw.normal(0, 10 ** (noise_db / 20), 8_000).astype(np.float32) for _ in range(count)]
    silent = [Utterance(np.zeros(8_000, np.float32)), *map(Utterance, noise)]
    spoken = [utterance(0.5, gain=gain, seed=seed) for gain in (0.02, 0.1, 0.05, 0.1)]
    alone = FeatureCorpus.of(spoken, cache=False)
    both = FeatureCorpus.of([*spoken[:place], *silent, *spoken[place:]], cache=False)
    assert both.level_db == pytest.approx(alone.level_db, abs=1e-6)
    assert both.with_gain(-30).level_db == pytest.approx(alone.level_db - 30, abs=1e-6)
    assert both.at_level(-20).level_db == pytest.approx(-20)


def test_one_loud_noise_does_not_silence_a_corpus():
    spoken = [utterance(1, gain=0.02, seed=seed) for seed in range(5)]
    alone, both = (
        FeatureCorpus.of(some, cache=False).level_db for some in (spoken, [*spoken, utterance(0.2, gain=0.9)])
    )
    assert both - alone == pytest.approx(33 * 0.2 / 5.2, abs=0.2)


def test_a_corpus_of_silence_has_no_level_to_change():
    silent = FeatureCorpus.of([Utterance(np.zeros(8_000, np.float32), speaker="ann")], cache=False)
    assert silent.level_db == -100
    for per in ("corpus", "speaker"):
        with pytest.raises(ValueError, match="all clips of ann are silent"):
            silent.at_level(-20, per=per)


def test_integers_that_nobody_scaled_are_refused_at_the_door():
    whole = (utterance(1).samples * 32767).astype(np.int16)
    for samples in (whole, whole.astype(np.int32), whole.astype(np.uint8), torch.zeros(16_000), [0.0] * 16_000):
        with pytest.raises(ValueError, match=r"an utterance has a float32 array in −1 … 1"):
            Utterance(samples)
    with pytest.raises(ValueError, match=r"shape \(2, 800\); an utterance is mono"):
        Utterance(np.zeros((2, 800), np.float32))
    with pytest.raises(ValueError, match=r"'000000' has samples that reach .*full scale is 1"):
        FeatureCorpus.of([Utterance(whole.astype(np.float32))], cache=False)


# ------------------------------------------------------------------------------------ sources
@pytest.fixture
def folder(tmp_path):
    import soundfile

    for name in ("ann/one.wav", "ann/two.wav", "bob/one.wav"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "mine" / name, utterance(0.3, seed=len(name)).samples, 16000)
    return tmp_path / "mine"


def test_the_speaker_is_the_folder_or_what_one_says(folder):
    assert FeatureCorpus.of(AudioFolder(folder)).speaker_names == ("ann", "bob")
    assert [clip.name for clip in FeatureCorpus.of(AudioFolder(folder)).clips] == [
        "ann/one.wav",
        "ann/two.wav",
        "bob/one.wav",
    ]
    assert FeatureCorpus.of(AudioFolder(folder), speaker_of="me").speaker_names == ("me",)
    by_file = FeatureCorpus.of(AudioFolder(folder), speaker_of=lambda name: name.split("/")[1][:3])
    assert by_file.speaker_names == ("one", "two")
    assert FeatureCorpus.of(AudioFolder(folder / "ann")).speaker_names == ("unknown",)


def test_a_generator_of_utterances_will_do(folder):
    made = [utterance(0.3, seed=seed) for seed in range(2)]
    for cache in (True, False):
        assert len(FeatureCorpus.of((u for u in made), speaker_of="me", cache=cache)) == 2


def test_a_changed_folder_is_read_again_and_a_bad_file_is_left_out_aloud(folder):
    before = FeatureCorpus.of(AudioFolder(folder))
    (folder / "bob" / "noise.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"noise\.wav.* cannot be used"):
        FeatureCorpus.of(AudioFolder(folder))
    with pytest.warns(UserWarning, match="left out: .*noise.wav"):
        after = FeatureCorpus.of(AudioFolder(folder, on_bad="skip"))
    assert [clip.name for clip in after.clips] == [clip.name for clip in before.clips]


def test_clips_that_cannot_be(tmp_path):
    broken = utterance(1)
    broken.samples[500] = np.nan
    with pytest.raises(ValueError, match="'000000' has NaN or infinite samples"):
        FeatureCorpus.of([broken], cache=False)
    with pytest.raises(ValueError, match="'000001' has 100 samples; one frame needs 160"):
        FeatureCorpus.of([utterance(1), utterance(100 / 16000)])
    with pytest.raises(ValueError, match="no clip"):
        FeatureCorpus.of([])
    with pytest.raises(ValueError, match="8000 samples a second"):
        FeatureCorpus.of([Utterance(np.zeros(8000, np.float32), rate_hz=8000)])
    with pytest.raises(ValueError, match="at least one clip"):
        FeatureCorpus([], [])


# ------------------------------------------------------------------------------------ the cache
@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def test_the_cache_is_found_again_without_computing(cache, monkeypatch):
    made = FeatureCorpus.of(clips())
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(extraction, "features_of", None)
    again = FeatureCorpus.of(clips())
    assert again.clips == made.clips
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
    with pytest.raises(TypeError):
        FeatureCorpus.of([*clips(), utterance(0.1)])  # another corpus is not found there


def _cut(file):
    file.write_bytes(file.read_bytes()[:-1000])


def _flip(place):
    def flip(file):
        data = bytearray(file.read_bytes())
        data[place] ^= 1
        file.write_bytes(bytes(data))

    return flip


def _nothing(file):
    file.write_bytes(b"")


def _foreign(file):
    file.write_text(json.dumps({"array": "elsewhere.npy"}))


@pytest.mark.parametrize("damage", [_cut, _flip(77), _flip(-77), _flip(-9), _flip(-1), _nothing, _foreign, os.unlink])
def test_a_damaged_cache_is_made_anew_with_a_warning(cache, damage):
    before = [features.clone() for features in FeatureCorpus.of(clips())]
    (file,) = cache.iterdir()
    damage(file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        after = FeatureCorpus.of(clips())
    said = "".join(str(warning.message) for warning in caught)
    assert ("are damaged" in said) == (damage is not os.unlink)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert list(cache.iterdir()) == [file]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureCorpus.of(clips())


def test_a_full_disk_is_named_and_leaves_nothing(cache):
    """A limit on the size of files fails like a full disk: in the middle of a write."""
    code = (
        "import resource, signal; from tests.speech.test_feature_corpus import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: FeatureCorpus.of(clips())\n"
        "except OSError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the features cannot be kept in" in run.stdout
    assert "CAUSALCNN_CACHE" in run.stdout
    assert list(cache.iterdir()) == []


def test_a_failing_source_leaves_nothing_and_keeps_its_own_error(cache):
    class Failing:
        def identity(self):
            return "failing"

        def __iter__(self):
            yield utterance(1)
            raise FileNotFoundError("the second recording is gone")

    with pytest.raises(FileNotFoundError, match="the second recording is gone"):
        FeatureCorpus.of(Failing())
    assert list(cache.iterdir()) == []


def test_two_processes_build_at_once(cache):
    code = (
        "from tests.speech.test_feature_corpus import *\n"
        "print(float(sum(features.double().sum() for features in FeatureCorpus.of(clips()))))"
    )
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1] != ""
    assert not list(cache.glob("*.part"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureCorpus.of(clips())


def test_a_process_that_is_overtaken_disturbs_nobody(cache, monkeypatch):
    made = extraction.extract_features

    other = []

    def overtaken(source):
        yield from made(source)
        monkeypatch.setattr(extraction, "extract_features", made)
        other.append(FeatureCorpus.of(clips()))  # the other one finishes while this one has not written its index

    monkeypatch.setattr(extraction, "extract_features", overtaken)
    corpus = FeatureCorpus.of(clips())
    assert len(list(cache.iterdir())) == 1
    assert corpus.frames == 654
    assert all(torch.equal(a, b) for a, b in zip(corpus, other[0], strict=True))
