"""From log-mel frames to samples: how close the sound comes, how late it is, and what a frame costs.

Griffin–Lim hears the whole recording; the online methods hear ``lookahead`` hops of 10 ms ahead. RTISI is that of the
papers: the phases of a frame are settled when the next frame has come, 3 hops before its last sample is given. All
online methods spread the mel bands over the bins in the same way, frame by frame; Griffin–Lim is measured with this
way, too, and as ``griffin_lim`` does it, by librosa. Voices: twelve embedded ones of the test split, and recordings
where ``CAUSALCNN_DATA`` names them (prompts, LibriSpeech, Arctic).

- spectral convergence: the distance of the mel magnitudes, relative to the wanted ones;
- log-spectral distance, in dB, of the mel bands within 60 dB of the clip's highest value;
- STOI, a measure of how much of the original is understood, 0 to 1;
- level: of the result relative to the original, in dB; peak: the highest absolute sample;
- hop start: energy of the steps into the first sample of a hop, relative to that of all steps, 1 without clicks;
- hop flux: by how many dB the energy of the second difference rises and falls within a hop.

    python benchmarks/phase.py [--rounds 5] [--out book/measurements/phase.json]
"""

from __future__ import annotations

import argparse
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
from causalcnn.speech import (
    FLOOR_DB,
    HOP_SAMPLES,
    N_FFT,
    RATE_HZ,
    SPLIT_SPEAKERS,
    WINDOW_SAMPLES,
    AudioFolder,
    LogMel,
    OnlineGriffinLim,
    example_recording,
    griffin_lim,
    random_sentence,
    read_recording,
    synthesize,
)
from causalcnn.speech.environment import data_folder
from causalcnn.speech.online_inversion import frame_magnitudes
from causalcnn_book.wavenet.vocoder_quality import MARGIN, compare

Samples = NDArray[np.float64]
Method = Callable[[list[torch.Tensor]], list[Samples]]
LONGEST_SECONDS = 5


class RTISI(OnlineGriffinLim):
    """As in the papers: of the frames over open hops, the oldest three keep their phases."""

    _FROZEN = 3


def clips() -> dict[str, list[Samples]]:
    """The sounds, each of whole hops."""
    rng = np.random.default_rng(0)
    sets = {"embedded": [synthesize(random_sentence(rng), speaker=n).samples for n in SPLIT_SPEAKERS["test"][:12]]}
    folder, real = data_folder(), []
    if folder is not None:
        prompts = AudioFolder(folder / "prompts-en")
        real += [prompts[i].samples for i in range(0, len(prompts), len(prompts) // 8)]
        real += [example_recording(f"libri{n}").samples for n in (1, 2, 3)]
        real += [read_recording(folder / "arctic" / "arctic_a0009.wav").samples]
    if real:
        sets["recordings"] = real
    most = LONGEST_SECONDS * RATE_HZ
    return {
        name: [x[: min(len(x), most) // HOP_SAMPLES * HOP_SAMPLES].astype(np.float64) for x in some]
        for name, some in sets.items()
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


def with_margin(features: torch.Tensor) -> NDArray[np.float32]:
    """Magnitudes of the frames, after silence, and with the last frame going on."""
    silence = torch.full((80, MARGIN), FLOOR_DB)
    return frame_magnitudes(torch.cat([silence, features, features[:, -1:].expand(-1, MARGIN)], dim=1).T).numpy()


def offline(iterations: int) -> Method:
    """Griffin–Lim with the magnitudes of the online methods."""

    def one(features: torch.Tensor) -> Samples:
        y = librosa.griffinlim(
            with_margin(features).T,
            n_iter=iterations,
            hop_length=HOP_SAMPLES,
            win_length=WINDOW_SAMPLES,
            n_fft=N_FFT,
            random_state=0,
        )
        start = (MARGIN + 1) * HOP_SAMPLES  # librosa's frame k is centred on 160·k, ours on 160·k − 160
        return y[start : start + features.shape[1] * HOP_SAMPLES].astype(np.float64)

    return lambda features: [one(f) for f in features]


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


def methods() -> Iterator[tuple[str, Method, OnlineGriffinLim | None]]:
    """Name, method, and the layer whose stream is timed."""
    yield "zero phase", zero_phase, None
    for n in (32, 100):
        shipped = lambda features, n=n: [griffin_lim(f, iterations=n).astype(np.float64) for f in features]  # noqa: E731
        yield f"griffin_lim, {n} iterations", shipped, None
        yield f"Griffin–Lim, bands as online, {n} iterations", offline(n), None
    for ahead in (0, 1, 3):
        layer: OnlineGriffinLim = RTISI(3 + ahead)
        yield f"RTISI of the papers, {ahead} frames ahead", online(layer), layer
    for lookahead, iterations in [(n, 8) for n in (0, 1, 2, 3, 4, 6)] + [(n, i) for n in (1, 3) for i in (1, 2, 4, 32)]:
        layer = OnlineGriffinLim(lookahead, iterations)
        yield f"OnlineGriffinLim({lookahead}, {iterations})", online(layer), layer


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


def milliseconds_a_frame(layer: OnlineGriffinLim, features: torch.Tensor, rounds: int) -> float:
    """CPU time of a frame in a stream, the median of rounds of 100 frames."""
    stream, times = layer.stream(), []
    frames = list(features[None].repeat(1, 1, 1 + 120 // features.shape[1]).split(1, dim=2))
    for frame in frames[:20]:
        stream(frame)
    for _ in range(rounds):
        start = time.process_time()
        for frame in frames[20:120]:
            stream(frame)
        times.append((time.process_time() - start) * 10)
    return statistics.median(times)


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
    sounds = clips()
    features = {name: [LogMel()(torch.from_numpy(x).float()[None])[0] for x in some] for name, some in sounds.items()}
    result: dict[str, Any] = {
        "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}, one thread",
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": {"torch": torch.__version__, "librosa": librosa.__version__, "python": platform.python_version()},
        "seeds": [0],
        "spread": "median and quartiles over the clips of a set; CPU time of a frame: median of "
        f"{asked.rounds} rounds of 100 frames, of offline methods that of all clips together",
        "command": " ".join(["python benchmarks/phase.py", *sys.argv[1:]]),
        "clips": {
            n: {"clips": len(some), "seconds": round(sum(map(len, some)) / RATE_HZ, 1)} for n, some in sounds.items()
        },
        "original": {name: of_set(some, some) for name, some in sounds.items()},
        "rows": {},
    }
    for name, method, layer in methods():
        start, row = time.process_time(), {}
        found = {set_name: method(some) for set_name, some in features.items()}
        frames = sum(f.shape[1] for some in features.values() for f in some)
        cost = (time.process_time() - start) * 1000 / frames
        for set_name, some in sounds.items():
            row[set_name] = of_set(some, found[set_name])
        row["lookahead_hops"] = None if layer is None else layer.lookahead
        row["ms_a_frame"] = round(
            cost if layer is None else milliseconds_a_frame(layer, features["embedded"][0], asked.rounds), 3
        )
        result["rows"][name] = row
        said = "   ".join(in_words(set_name, row[set_name]) for set_name in sounds)
        print(f"{name:46} {row['ms_a_frame']:6.2f} ms  {said}", flush=True)
        if asked.out:
            write_json(asked.out, result)


if __name__ == "__main__":
    main()
