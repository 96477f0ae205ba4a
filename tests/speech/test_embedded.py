"""The embedded corpus: exact labels, disjoint speakers, the same numbers every time, whatever dies or rots."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import pytest

from causalcnn.speech import (
    PHONES,
    READ_SENTENCES,
    SPLIT_SPEAKERS,
    EmbeddedSpeech,
    Span,
    arpabet,
    conversation,
    frame_labels,
    random_sentence,
    synthesize,
)
from causalcnn.speech import _espeak as engine
from causalcnn.speech.sentences import BACK_CHANNELS, vocabulary


def check_labels(utterance):
    assert utterance.rate_hz == 16000
    assert utterance.samples.dtype == np.float32
    assert np.abs(utterance.samples).max() < 1
    phones = utterance.phones
    assert phones[0].start == 0
    assert phones[-1].end == len(utterance)
    assert all(a.end == b.start and a.start < a.end for a, b in itertools.pairwise(phones))
    assert {phone.label for phone in phones} <= set(PHONES)
    spoken = " ".join(word.label for word in utterance.words)
    assert spoken == " ".join(token.strip(".,?!") for token in utterance.text.split())
    assert all(a.end <= b.start for a, b in zip(utterance.words, utterance.words[1:], strict=False))
    edges = {phone.start for phone in phones} | {phone.end for phone in phones}
    assert all(word.start in edges and word.end in edges for word in utterance.words)


@pytest.mark.parametrize("text", [*READ_SENTENCES, *BACK_CHANNELS])
def test_phones_and_words_cover_what_is_said(text):
    check_labels(synthesize(text, speaker=len(text)))


def test_a_thousand_drawn_sentences_have_a_phone_for_every_mnemonic():
    draw = np.random.default_rng(0)
    drawn = [random_sentence(draw) for _ in range(1000)]
    assert len(set(drawn)) > 980
    assert {word.strip(".,?").lower() for text in drawn for word in text.split()} <= vocabulary()
    for number, text in enumerate(drawn[:150]):
        check_labels(synthesize(text, speaker=number, seed=number))


def test_the_vocabulary_is_pronounced_with_known_phones():
    words = sorted(vocabulary())
    assert len(words) > 300
    heard = set()
    for start in range(0, len(words), 12):
        heard |= {p.label for p in synthesize(" ".join(words[start : start + 12]) + ".").phones}
    assert heard == set(PHONES)


def test_there_are_39_phones_and_silence():
    assert len(PHONES) == len(set(PHONES)) == 40
    assert arpabet("'eI") == "EY"
    with pytest.raises(ValueError, match="no ARPABET phone"):
        arpabet("qq")


def test_energy_is_where_the_phones_say():
    said = synthesize("Stop. Please wait.", speaker=2)
    voiced = np.concatenate([said.samples[p.start : p.end] for p in said.phones if p.label in ("AA", "IY", "EY")])
    silent = np.concatenate([said.samples[p.start + 400 : p.end] for p in said.phones if p.label == "SIL"])
    assert np.sqrt(np.mean(voiced**2)) > 100 * np.sqrt(np.mean(silent**2))


def test_the_same_call_gives_the_same_samples_in_any_order_and_process():
    texts = READ_SENTENCES[:4]
    forwards = [synthesize(t, speaker=i) for i, t in enumerate(texts)]
    backwards = [synthesize(t, speaker=i) for i, t in reversed(list(enumerate(texts)))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert np.array_equal(a.samples, b.samples)
        assert (a.phones, a.words) == (b.phones, b.words)
    engine._close()
    assert np.array_equal(synthesize(texts[3], speaker=3).samples, forwards[3].samples)


def test_seed_and_speaker_change_what_is_heard():
    text = READ_SENTENCES[0]
    assert len(synthesize(text)) == len(synthesize(text, seed=0))
    assert len({len(synthesize(text, seed=seed)) for seed in range(5)}) > 1
    assert not np.array_equal(synthesize(text, 0).samples[:8000], synthesize(text, 2).samples[:8000])


def test_nothing_to_say_is_an_error():
    for text in ("", "  \n", "a\0b"):
        with pytest.raises(ValueError, match="nothing to say"):
            synthesize(text)
    with pytest.raises(ValueError, match="speaker -1"):
        synthesize("Hello.", speaker=-1)


# ------------------------------------------------------------------ the corpus
def test_no_speaker_is_in_two_splits():
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not set(SPLIT_SPEAKERS[a]) & set(SPLIT_SPEAKERS[b])
        assert not set(EmbeddedSpeech(a, speakers=200).speaker_names) & set(
            EmbeddedSpeech(b, speakers=200).speaker_names
        )
    corpus = EmbeddedSpeech("test", speakers=3, seconds=10)
    assert {utterance.speaker for utterance in corpus} == set(corpus.speaker_names) == {"s1200", "s1201", "s1202"}


def test_cached_equals_made_and_long_begins_with_short():
    short, long = EmbeddedSpeech(speakers=4, seconds=6), EmbeddedSpeech(speakers=4, seconds=15)
    assert 6 <= sum(u.seconds for u in short) < 6 + short[-1].seconds
    for kept, made, longer in zip(short, short.generate(), long, strict=False):
        check_labels(kept)
        assert np.array_equal(kept.samples, made.samples)
        assert np.array_equal(kept.samples, longer.samples)
        assert (kept.text, kept.phones, kept.words, kept.speaker) == (made.text, made.phones, made.words, made.speaker)
    assert len(long) > len(short)
    assert [u.text for u in long[:2]] == [long[0].text, long[1].text]
    assert long[-1].text == long[len(long) - 1].text
    with pytest.raises(IndexError):
        long[len(long)]


@pytest.mark.parametrize("damage", ["cut", "flipped samples", "flipped labels", "empty"])
def test_a_damaged_cache_is_noticed_and_made_anew(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path))
    good = [u.samples for u in EmbeddedSpeech(seconds=3)]
    (file,) = tmp_path.rglob("*.cache")
    data = bytearray(file.read_bytes())
    if damage.startswith("flipped"):
        data[1000 if damage == "flipped samples" else -1000] ^= 0x55
    file.write_bytes(b"" if damage == "empty" else data[: len(data) // 2] if damage == "cut" else data)
    with pytest.warns(UserWarning, match="damaged"):
        again = [u.samples for u in EmbeddedSpeech(seconds=3)]
    assert all(np.array_equal(a, b) for a, b in zip(good, again, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(EmbeddedSpeech(seconds=3)) == len(good)
    assert not list(tmp_path.rglob("*.part"))


def test_a_cache_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("CAUSALCNN_CACHE", str(blocked))
    with pytest.warns(UserWarning, match="CAUSALCNN_CACHE"):
        assert len(EmbeddedSpeech(seconds=3)) >= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"split": "dev"}, "validation"),
        ({"speakers": 0}, "1 to 1000"),
        ({"speakers": 1001}, "1000"),
        ({"seconds": 0}, "more than 0"),
    ],
)
def test_impossible_corpora_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        EmbeddedSpeech(**arguments)


# ------------------------------------------------------------------ the worker
def test_a_killed_worker_is_started_again():
    before = synthesize(READ_SENTENCES[1])
    engine._worker.process.kill()
    engine._worker.process.wait()
    assert np.array_equal(synthesize(READ_SENTENCES[1]).samples, before.samples)


def test_a_worker_that_dies_twice_is_a_clear_error(monkeypatch):
    engine._close()

    def die(self, request):
        raise engine.WorkerDied("espeak-ng's worker process ended (exit status 1)")

    monkeypatch.setattr(engine.Worker, "ask", die)
    with pytest.raises(RuntimeError, match=r"restarted once and died again over 'Hello\.'"):
        synthesize("Hello.")
    monkeypatch.undo()
    assert synthesize("Hello.").seconds > 0.3


def test_a_worker_that_hangs_is_ended():
    worker = engine.Worker(timeout_seconds=0.01)
    with pytest.raises(engine.WorkerDied):
        worker.ask({"text": "x " * 30_000, **_voice()})
    worker.close()
    assert not worker.folder.exists()


def _voice():
    voice = engine.Speaker("s0000", False, 100.0, 170.0, "language variant\nname s0000\n")
    return {"speaker": voice.name, "definition": voice.definition, "words_per_minute": 170, "volume": 50}


def test_a_long_temporary_path_is_no_problem(tmp_path, monkeypatch):
    long = tmp_path / ("a" * 100) / ("b" * 100)
    long.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    engine._close()
    try:
        assert synthesize("Hello.").seconds > 0.3
        assert len(str(engine._worker.folder)) > 200
    finally:
        engine._close()
    assert not list(long.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_has_a_worker_of_its_own():
    code = (
        "import os, sys; from causalcnn.speech import _espeak, synthesize\n"
        "a = synthesize('One two three.').samples\n"
        "before = _espeak._worker.process.pid\n"
        "child = os.fork()\n"
        "same = (a == synthesize('One two three.').samples).all()\n"
        "own = _espeak._worker.process.pid != before\n"
        "if child == 0: os._exit(0 if same and own else 1)\n"
        "sys.exit(os.waitpid(child, 0)[1] or (1 if own or not same else 0))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60).returncode == 0


def test_nothing_is_left_behind_even_when_killed(tmp_path):
    code = "import os; from causalcnn.speech import synthesize; synthesize('Hello.'); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path), "TMP": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60)
    for _ in range(50):
        if not list(tmp_path.iterdir()):
            break
        time.sleep(0.1)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ labels and conversations
def test_a_label_belongs_to_the_centre_of_the_window():
    spans = [Span("A", 0, 1600), Span("B", 1600, 3200)]
    centered = frame_labels(spans, 3200, "centered", outside="-")
    assert centered == ["A"] * 10 + ["B"] * 10 + ["-"]
    assert frame_labels(spans, 3200, outside="-") == ["-"] + ["A"] * 10 + ["B"] * 9


def test_excerpt_moves_the_labels():
    said = synthesize("One two three four.")
    word = said.words[2]
    part = said.excerpt(word.start / 16000, word.end / 16000)
    assert part.text == "three"
    assert part.words == (Span("three", 0, word.end - word.start),)
    assert np.array_equal(part.samples, said.samples[word.start : word.end])
    with pytest.raises(ValueError, match="nothing is left"):
        said.excerpt(99, 100)


def test_a_conversation_knows_who_speaks_when():
    talk = conversation(seed=1, seconds=20, split="test")
    again = conversation(seed=1, seconds=20, split="test")
    assert np.array_equal(talk.samples, again.samples)
    assert talk.samples.shape == (2, 320000)
    assert talk.speakers[0] != talk.speakers[1]
    assert {int(name[1:]) for name in talk.speakers} <= set(SPLIT_SPEAKERS["test"])
    activity = talk.voice_activity()
    assert activity.shape == (2, 2000)
    assert (activity.mean(axis=1) > 0.1).all()
    assert 0 < (activity[0] & activity[1]).mean() < 0.4
    assert np.abs(talk.mixed).max() < 1
    for track in (0, 1):
        speech = np.zeros(320000, bool)
        for span in talk.speech[track]:
            speech[span.start : span.end] = True
        loud = np.abs(talk.samples[track]) > 0.02
        assert speech[loud].mean() > 0.999
        own = sorted((t.start, t.end) for t in talk.turns if t.track == track)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(own))
    with pytest.raises(ValueError, match="at least one frame"):
        conversation(seconds=0)
