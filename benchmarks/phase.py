"""From log-mel frames and from codes to samples: how close the sound comes, how late it is, and what a frame costs.

Griffin–Lim hears the whole recording; the online methods hear ``lookahead`` hops of 10 ms ahead. RTISI is that of the
papers: the phases of a frame are settled when the next frame has come, 3 hops before its last sample is given. All
spread the mel bands over the bins in the same way, frame by frame; one row is Griffin–Lim with librosa's least squares.
Rows that begin with "codes" go through the codes of the shipped VQ-VAE-2, and are compared with the recording, too. The
voices are those of ``evaluation_sounds``, at the level of the model's training, without the digits, which are too short
for STOI.

- spectral convergence: the distance of the mel magnitudes, relative to the wanted ones;
- log-spectral distance, in dB, of the mel bands within 60 dB of the clip's highest value;
- STOI, a measure of how much of the original is understood, 0 to 1;
- level: of the result relative to the original, in dB; peak: the highest absolute sample;
- hop start: energy of the steps into the first sample of a hop, relative to that of all steps, 1 without clicks;
- hop flux: by how many dB the energy of the second difference rises and falls within a hop.

The last table is of streams that get 10 ms at a time, from a microphone, from mel, or from codes: the latency that the
field declares, the CPU time of a frame, and how many times faster than real time that is; with all layers as streams of
torch, and with compiled ones before the phase method.

    python benchmarks/phase.py [--rounds 5] [--out book/measurements/phase.json]
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from causalcnn._files import check_writable, write_json
from causalcnn.models import CausalVQVAE2, CodeDecoder, CodeEncoder, load_model
from causalcnn.nn import CausalModule, CausalSequential
from causalcnn.speech import (
    FLOOR_DB,
    HIGHEST_HZ,
    HOP_SAMPLES,
    LOWEST_HZ,
    N_FFT,
    RATE_HZ,
    WINDOW_SAMPLES,
    LogMel,
    OnlineGriffinLim,
    evaluation_sounds,
    griffin_lim,
)
from causalcnn.speech.online_inversion import frame_magnitudes
from causalcnn_book.vocoder.vocoder_quality import MARGIN, compare

Samples = NDArray[np.float64]
Method = Callable[[list[torch.Tensor]], list[Samples]]
SECONDS, LONGEST_SECONDS, SPEAKERS = 20, 5, 8
SHIPPED = "book/checkpoints/vqvae2-tiny"
AHEAD = (0, 1, 2, 3)


class RTISI(OnlineGriffinLim):
    """As in the papers: of the frames over open hops, the oldest three keep their phases."""

    _FROZEN = 3


def clips(level_db: float) -> dict[str, list[Samples]]:
    """The sounds, each of whole hops."""
    sets = evaluation_sounds(SECONDS, speakers=SPEAKERS, level_db=level_db)
    most = LONGEST_SECONDS * RATE_HZ
    return {
        name: [x[: min(len(x), most) // HOP_SAMPLES * HOP_SAMPLES].double().numpy() for x in corpus]
        for name, corpus in sets.items()
        if name != "digits"
    }


# ------------------------------------------------------------------------------------------------------- the methods
def online(layer: OnlineGriffinLim) -> Method:
    """All clips as rows of a batch; the last frame of each goes on until its last hop is known."""

    def run(features: list[torch.Tensor]) -> list[Samples]:
        batch = torch.full((len(features), 80, max(f.shape[1] for f in features) + layer.lookahead), FLOOR_DB)
        for row, f in zip(batch, features, strict=True):
            row[:, : f.shape[1] + layer.lookahead] = torch.cat([f, f[:, -1:].expand(-1, layer.lookahead)], dim=1)
        with torch.no_grad():
            samples = layer(batch)[:, 0].double().numpy()
        return [y[: f.shape[1] * HOP_SAMPLES] for y, f in zip(samples, features, strict=True)]

    return run


def least_squares(features: list[torch.Tensor]) -> list[Samples]:
    """Griffin–Lim with magnitudes by librosa's non-negative least squares."""

    def one(f: torch.Tensor) -> Samples:
        silence = torch.full((80, MARGIN), FLOOR_DB)
        decibels = torch.cat([silence, f, f[:, -1:].expand(-1, MARGIN)], dim=1).numpy()
        power = np.where(decibels > FLOOR_DB, 10 ** (decibels / 10), 0)
        magnitudes = librosa.feature.inverse.mel_to_stft(
            power, sr=RATE_HZ, n_fft=N_FFT, power=2.0, fmin=LOWEST_HZ, fmax=HIGHEST_HZ
        )
        y = librosa.griffinlim(
            magnitudes,
            n_iter=32,
            hop_length=HOP_SAMPLES,
            win_length=WINDOW_SAMPLES,
            n_fft=N_FFT,
            random_state=0,
        )
        start = (MARGIN + 1) * HOP_SAMPLES  # librosa's frame k is centred on 160·k, ours on 160·k − 160
        return y[start : start + f.shape[1] * HOP_SAMPLES].astype(np.float64)

    return [one(f) for f in features]


def offline(iterations: int) -> Method:
    return lambda features: [griffin_lim(f, iterations=iterations).astype(np.float64) for f in features]


def through_codes(model: CausalVQVAE2, method: Method) -> Method:
    codec = CausalSequential(CodeEncoder(model), CodeDecoder(model)).eval()

    def run(features: list[torch.Tensor]) -> list[Samples]:
        with torch.no_grad():
            return method([codec(f[None])[0] for f in features])

    return run


def zero_phase(features: list[torch.Tensor]) -> list[Samples]:
    """Each frame a pulse in the middle of its window: what one has without a phase method."""
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1]

    def one(f: torch.Tensor) -> Samples:
        y = np.zeros((f.shape[1] + 4) * HOP_SAMPLES)
        for t, magnitude in enumerate(frame_magnitudes(f.T).numpy()):
            pulse = np.roll(np.fft.irfft(magnitude, N_FFT), WINDOW_SAMPLES // 2)[:WINDOW_SAMPLES]
            y[t * HOP_SAMPLES :][:WINDOW_SAMPLES] += pulse * window / 1.5
        return y[WINDOW_SAMPLES - HOP_SAMPLES :][: f.shape[1] * HOP_SAMPLES]

    return [one(f) for f in features]


def methods(model: CausalVQVAE2) -> Iterator[tuple[str, Method, OnlineGriffinLim | None]]:
    """Name, method, and the layer whose stream is timed."""
    yield "zero phase", zero_phase, None
    yield "Griffin–Lim, bands by least squares, 32 iterations", least_squares, None
    for n in (32, 100):
        yield f"griffin_lim, {n} iterations", offline(n), None
    for ahead in (0, 1, 3):
        layer: OnlineGriffinLim = RTISI(3 + ahead)
        yield f"RTISI of the papers, {ahead} frames ahead", online(layer), layer
    for lookahead, iterations in [(n, 8) for n in (*AHEAD, 4, 6)] + [(n, i) for n in (1, 3) for i in (1, 2, 4, 32)]:
        layer = OnlineGriffinLim(lookahead, iterations)
        yield f"OnlineGriffinLim({lookahead}, {iterations})", online(layer), layer
    yield "codes, Griffin–Lim, bands by least squares, 32 iterations", through_codes(model, least_squares), None
    yield "codes, griffin_lim, 32 iterations", through_codes(model, offline(32)), None
    for lookahead in AHEAD:
        layer = OnlineGriffinLim(lookahead)
        yield f"codes, OnlineGriffinLim({lookahead}, 8)", through_codes(model, online(layer)), None


# ------------------------------------------------------------------------------------------------------ the measures
def within_hop(sounds: list[Samples], order: int) -> Samples:
    """Energy of the difference of that order at each of the 160 places of a hop, relative to the mean."""
    energy = sum((np.diff(x, order, prepend=np.zeros(order)).reshape(-1, HOP_SAMPLES) ** 2)[4:].sum(0) for x in sounds)
    return np.asarray(energy / np.mean(energy))


def of_set(originals: list[Samples], found: list[Samples]) -> dict[str, Any]:
    rows = [compare(x, y) for x, y in zip(originals, found, strict=True)]
    table: dict[str, Any] = {}
    for name in rows[0]:
        low, middle, high = np.quantile([row[name] for row in rows], (0.25, 0.5, 0.75))
        table[name] = {"median": round(float(middle), 4), "quartiles": [round(float(q), 4) for q in (low, high)]}
    flux = within_hop(found, 2)
    return table | {
        "peak": round(max(float(np.abs(y).max()) for y in found), 3),
        "clipped_samples": int(sum((np.abs(y) > 1).sum() for y in found)),
        "hop_start": round(float(within_hop(found, 1)[0]), 3),
        "hop_flux_db": round(float(10 * np.log10(np.quantile(flux, 0.95) / np.quantile(flux, 0.05))), 2),
    }


def milliseconds_a_frame(
    live: Callable[[torch.Tensor], torch.Tensor], frames: list[torch.Tensor], rounds: int
) -> float:
    """CPU time of a frame in a stream that gets one at a time, the median of rounds of 100 frames."""
    times, coming = [], itertools.cycle(frames)
    for _ in range(20):
        live(next(coming))
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(100):
            live(next(coming))
        times.append((time.process_time() - start) * 10)
    return round(statistics.median(times), 3)


def chains(model: CausalVQVAE2, sound: Samples, rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Streams that end in sound: their latency, and what a frame costs."""
    x = torch.from_numpy(sound).float()[None, None]
    mel = LogMel()(x)
    codes = CodeEncoder(model)(mel)
    starts: dict[str, tuple[list[CausalModule], torch.Tensor, int]] = {
        "mel": ([], mel, 1),
        "codes": ([CodeDecoder(model)], codes, 1),
        "microphone, mel": ([LogMel()], x, HOP_SAMPLES),
        "microphone, codes": ([LogMel(), CodeEncoder(model), CodeDecoder(model)], x, HOP_SAMPLES),
    }
    for (name, (parts, given, step)), lookahead in itertools.product(starts.items(), AHEAD):
        speak, pieces = OnlineGriffinLim(lookahead), list(given.split(step, dim=2))
        chain = CausalSequential(*parts, speak).eval()
        row: dict[str, Any] = {"latency_ms": round(1000 * chain.field.latency(), 4)}
        row["torch_ms"] = milliseconds_a_frame(chain.stream(), pieces, rounds)
        row["times_real_time"] = round(10 / row["torch_ms"], 2)
        if parts:
            first, last = CausalSequential(*parts).eval().stream(engine="compiled"), speak.stream()
            row["compiled_ms"] = milliseconds_a_frame(lambda piece: last(first(piece)), pieces, rounds)  # noqa: B023
            row["times_real_time_compiled"] = round(10 / row["compiled_ms"], 2)
        yield f"{name}, OnlineGriffinLim({lookahead}, 8)", row


def in_words(name: str, row: dict[str, Any]) -> str:
    convergence, distance, heard, level = (
        row[key]["median"] for key in ("spectral_convergence", "log_spectral_distance_db", "stoi", "level_db")
    )
    measures = f"SC {convergence:.3f} LSD {distance:.2f} STOI {heard:.3f} level {level:+.2f}"
    return f"{name}: {measures} hop start {row['hop_start']:.2f} flux {row['hop_flux_db']:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.out:
        check_writable(asked.out)
    torch.set_num_threads(1)
    model, card = load_model(SHIPPED)
    assert isinstance(model, CausalVQVAE2)
    sounds = clips(card["corpus"]["level_db"])
    features = {name: [LogMel()(torch.from_numpy(x).float()[None])[0] for x in some] for name, some in sounds.items()}
    result: dict[str, Any] = {
        "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}, one thread",
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": {"torch": torch.__version__, "librosa": librosa.__version__, "python": platform.python_version()},
        "seeds": [0],
        "spread": "median and quartiles over the clips of a set; CPU time of a frame: median of "
        f"{asked.rounds} rounds of 100 frames; of methods that hear the whole, and through codes, that of all clips",
        "command": " ".join(["python benchmarks/phase.py", *sys.argv[1:]]),
        "clips": {
            n: {"clips": len(some), "seconds": round(sum(map(len, some)) / RATE_HZ, 1)} for n, some in sounds.items()
        },
        "original": {name: of_set(some, some) for name, some in sounds.items()},
        "rows": {},
        "live": {},
    }
    for name, method, layer in methods(model):
        start, row = time.process_time(), {}
        found = {set_name: method(some) for set_name, some in features.items()}
        cost = (time.process_time() - start) * 1000 / sum(f.shape[1] for some in features.values() for f in some)
        for set_name, some in sounds.items():
            row[set_name] = of_set(some, found[set_name])
        row["lookahead_hops"] = None if layer is None else layer.lookahead
        frames = list(features["embedded"][0][None].split(1, dim=2))
        row["ms_a_frame"] = (
            round(cost, 3) if layer is None else milliseconds_a_frame(layer.stream(), frames, asked.rounds)
        )
        result["rows"][name] = row
        said = "   ".join(in_words(set_name, row[set_name]) for set_name in sounds)
        print(f"{name:46} {row['ms_a_frame']:6.2f} ms  {said}", flush=True)
        if asked.out:
            write_json(asked.out, result)
    for name, row in chains(model, sounds["embedded"][0], asked.rounds):
        result["live"][name] = row
        print(f"{name:46}", *(f"{key} {value}" for key, value in row.items()), flush=True)
        if asked.out:
            write_json(asked.out, result)


if __name__ == "__main__":
    main()
