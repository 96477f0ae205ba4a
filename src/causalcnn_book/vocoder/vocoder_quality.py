"""How close do vocoders come to the voices that their frames were made of? Measured on speakers that none has heard.

    causalcnn experiment vocoder --out book/measurements/vocoder.json

The network draws one sound, or several at a time, of which those go on that fit the frames best, with a hop more of
latency. It is beside what needs no training: noise through the same linear prediction; pulses where there is a voice
and noise elsewhere; Griffin–Lim, which hears the whole recording; and the online phase method with a look-ahead of 0 to
3 frames. All get the same log-mel frames, at the level of the training speech, and the last frame goes on until the
last hop is known.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from causalcnn._extras import require
from causalcnn.models import HEAD_SCALE, LPWaveNet, load_model
from causalcnn.speech import (
    HOP_SAMPLES,
    RATE_HZ,
    EmbeddedSpeech,
    FeatureCorpus,
    LogMel,
    OnlineGriffinLim,
    SampleCorpus,
    evaluation_sounds,
    fit_to_frames,
    griffin_lim,
)
from causalcnn_book.experiment import Experiment, Results, option
from causalcnn_book.vocoder.source_filter import filter_excitation, pulses_or_noise
from causalcnn_book.wavenet.bits_per_sample import score

__all__ = ["VocoderQuality", "compare", "noise_vocoder", "vocoders"]

ROWS = (
    "lp-wavenet", "cooler", "4 draws", "16 draws", "noise", "pulses",
    "griffin_lim", "online 0", "online 1", "online 2", "online 3",
)  # fmt: skip
"""The names of :func:`vocoders`."""
DRAWN = ("lp-wavenet", "cooler", "4 draws", "16 draws", "noise", "pulses")
"""Those that draw: other seeds, other sounds."""
COOLER = 0.7
"""Times the temperature, in a row of its own: noisy voices may gain by it."""
MARGIN = 4
"""Frames at either end of a clip that are not compared: windows reach over its ends."""
LONGEST_SECONDS, SHORTEST_SECONDS = 5, 2
"""Longer clips are cut, shorter ones left out: of a word alone the measure of what is understood says nothing."""


def compare(original: NDArray[np.float64], found: NDArray[np.float64]) -> dict[str, float]:
    """Measure how far a sound is from another.

    Args:
        original: samples at 16,000 Hz, ``(time,)``.
        found: as many samples, ``(time,)``.

    Returns:
        ``stoi``, how much of the original is understood, from 0 to 1; ``log_spectral_distance_db``, of the mel bands
        within 60 dB of the clip's highest value; ``spectral_convergence``, the distance of the mel magnitudes relative
        to the wanted ones; ``level_db``, that of the sound relative to the original.

    Raises:
        ImportError: pystoi is missing; the extra ``dev`` brings it.

    Source:
        Taal et al., An algorithm for intelligibility prediction of time–frequency weighted noisy speech, 2011,
        doi 10.1109/TASL.2011.2114881.
    """
    stoi = require("pystoi", extra="dev").stoi
    a, b = (_bands(sound) for sound in (original, found))
    floor = a.max() - 60
    linear_a, linear_b = 10 ** (a / 20), 10 ** (b / 20)
    return {
        "stoi": float(stoi(original, found, RATE_HZ)),
        "log_spectral_distance_db": float(np.sqrt(((np.maximum(a, floor) - np.maximum(b, floor)) ** 2).mean(0)).mean()),
        "spectral_convergence": float(np.linalg.norm(linear_a - linear_b) / np.linalg.norm(linear_a)),
        "level_db": float(10 * np.log10((found**2).mean() / (original**2).mean())),
    }


def _bands(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    return LogMel()(torch.from_numpy(sound)[None])[0, :, MARGIN:-MARGIN].numpy()


def noise_vocoder(vocoder: LPWaveNet) -> LPWaveNet:
    """Make a vocoder whose excitation is white noise of the expected size: linear prediction without its network.

    Args:
        vocoder: gives the order and the look-ahead.

    Returns:
        A vocoder whose last layer says 0 and 1 whatever it reads.
    """
    model = LPWaveNet(vocoder.config).eval()
    last: Any = model.network.head[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, math.log(math.expm1(1.0))]) / HEAD_SCALE)
    return model


Method = Callable[[Tensor, int], Tensor]
"""From the frames of a clip, ``(1, 80, frames)``, and a seed to its samples, ``(160 · frames,)``."""


def vocoders(vocoder: LPWaveNet, temperature: float) -> dict[str, Method]:
    """List what makes sound of frames.

    Args:
        vocoder: the trained network.
        temperature: at which it draws.

    Returns:
        Row → its method.
    """

    def drawn(model: LPWaveNet, temperature: float) -> Method:
        def run(frames: Tensor, seed: int) -> Tensor:
            longer = _go_on(frames, model.config.lookahead_frames)
            return model.generate(longer, seed=seed, temperature=temperature, engine="compiled")[0]

        return run

    def searched(candidates: int) -> Method:
        def run(frames: Tensor, seed: int) -> Tensor:
            search = vocoder.search(candidates, engine="compiled")
            longer = _go_on(frames, search.lookahead_frames)
            return search.draw(longer, torch.Generator().manual_seed(seed), temperature=temperature)[0]

        return run

    def pulses(frames: Tensor, seed: int) -> Tensor:
        lookahead = vocoder.config.lookahead_frames
        fit = fit_to_frames(_go_on(frames, lookahead).double())
        noise = np.random.default_rng(seed).standard_normal(HOP_SAMPLES * frames.shape[2])
        return filter_excitation(fit, pulses_or_noise(fit, noise, lookahead), lookahead)

    def online(lookahead: int) -> Method:
        return lambda frames, seed: OnlineGriffinLim(lookahead)(_go_on(frames, lookahead))[0, 0].clamp(-1, 1)

    return {
        "lp-wavenet": drawn(vocoder, temperature),
        "cooler": drawn(vocoder, COOLER * temperature),
        **{f"{candidates} draws": searched(candidates) for candidates in (4, 16)},
        "noise": drawn(noise_vocoder(vocoder), 1.0),
        "pulses": pulses,
        "griffin_lim": lambda frames, seed: torch.from_numpy(griffin_lim(frames[0])).clamp(-1, 1),
        **{f"online {lookahead}": online(lookahead) for lookahead in (0, 1, 2, 3)},
    }


def _go_on(frames: Tensor, lookahead: int) -> Tensor:
    return torch.cat([frames, frames[:, :, -1:].expand(-1, -1, lookahead)], dim=2)


@dataclass
class VocoderQuality(Experiment):
    """How close do vocoders come to the voices that their frames were made of?

    Rows are an LP-WaveNet, the same with 4 and 16 draws at a time, and what needs no training. What draws is measured
    with three seeds, 16 draws and the rest once. The minutes that this takes go mostly into the phase methods.

    Attributes:
        name: the command's name.
        spread: that over the clips.
        rows: what makes sound of frames.
        seeds: each draws other sounds.
        model: the network.
        temperature: at which it draws.
        clip_seconds: about how many seconds of each set are used.

    Example:
        >>> from causalcnn_book.vocoder.vocoder_quality import VocoderQuality
        >>> VocoderQuality().seeds_of("noise", (0, 1, 2)), VocoderQuality().seeds_of("griffin_lim", (0, 1, 2))
        ((0, 1, 2), (0,))
    """

    name = "vocoder"
    spread = "median and quartiles over the clips of a set, for rows that draw over clips and seeds"
    rows = ROWS
    seeds = (0, 1, 2)

    model: str = option("book/checkpoints/lp-wavenet", "the path of the trained LP-WaveNet")
    temperature: float = option(1.0, "at which it draws")
    clip_seconds: float = option(40.0, "of each set, in whole clips")

    @cached_property
    def sets(self) -> dict[str, SampleCorpus]:
        """The sounds by set, at the level of the training speech."""
        level_db = FeatureCorpus.of(EmbeddedSpeech("train", speakers=40, seconds=3600)).level_db
        return evaluation_sounds(self.clip_seconds, level_db=level_db)

    @cached_property
    def vocoder(self) -> LPWaveNet:
        """The trained network."""
        return load_model(Path(self.model))[0]

    @override
    def seeds_of(self, row: str, seeds: Any) -> Any:
        """Measure what draws with every seed, apart from 16 draws, which take long.

        Args:
            row: one of :attr:`rows`.
            seeds: those that were asked for.

        Returns:
            All of them, or the first.
        """
        return seeds if row in DRAWN and row != "16 draws" else seeds[:1]

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Make the sounds of one row, and compare them.

        Args:
            row: one of :attr:`rows`.
            seed: draws the sounds; each clip has its own.

        Returns:
            ``sets``: set → measure → a number for each clip, those of :func:`compare` and the ``peak``;
            ``cpu_seconds``, those for a second of sound, the median over clips; and for networks ``bits`` a sample on
            each set, over 256 μ-law cells.
        """
        method, costs = vocoders(self.vocoder, self.temperature)[row], []
        found: dict[str, Any] = {"sets": {}}
        method(torch.full((1, 80, 8), -60.0), 0)  # what is compiled is compiled now
        for name, corpus in self.sets.items():
            clips: list[dict[str, float]] = []
            for number, samples in enumerate(_clips(corpus)):
                frames, start = LogMel()(samples[None]), time.process_time()
                with torch.no_grad():
                    sound = method(frames, 1_000 * seed + number).double().numpy()
                costs.append((time.process_time() - start) * RATE_HZ / len(samples))
                clips.append({**compare(samples.double().numpy(), sound), "peak": float(np.abs(sound).max())})
            if clips:
                found["sets"][name] = {key: [round(clip[key], 4) for clip in clips] for key in clips[0]}
        found["cpu_seconds"] = round(statistics.median(costs), 3)
        if row in ("lp-wavenet", "noise") and seed == self.seeds[0]:
            model = self.vocoder if row == "lp-wavenet" else noise_vocoder(self.vocoder)
            found["bits"] = {name: round(score(model, corpus), 4) for name, corpus in self.sets.items()}
        return found

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write the medians and quartiles.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``sets``, and of each row its latency and what was measured.
        """
        rows = {}
        for row, by_seed in results.items():
            found = list(by_seed.values())
            rows[row] = {
                "lookahead_frames": _lookahead(row, self.vocoder),
                "cpu_seconds_of_a_second": statistics.median(each["cpu_seconds"] for each in found),
                **{
                    name: {key: _quartiles([x for each in found for x in each["sets"][name][key]]) for key in of_set}
                    for name, of_set in found[0]["sets"].items()
                },
                **({"bits": found[0]["bits"]} if "bits" in found[0] else {}),
            }
        return {
            "model": {
                "parameters": sum(p.numel() for p in self.vocoder.parameters()),
                "temperature": self.temperature,
                "cooler": COOLER * self.temperature,
            },
            "sets": {
                name: {
                    "clips": len(list(_clips(corpus))),
                    "seconds": round(sum(map(len, _clips(corpus))) / RATE_HZ, 1),
                    "speakers": len(corpus.speaker_names),
                }
                for name, corpus in self.sets.items()
            },
            "rows": rows,
        }


def _clips(corpus: SampleCorpus) -> list[Tensor]:
    """The clips that are compared, each of whole hops and not too long."""
    most = LONGEST_SECONDS * RATE_HZ
    return [x[: min(len(x), most) // HOP_SAMPLES * HOP_SAMPLES] for x in corpus if len(x) >= SHORTEST_SECONDS * RATE_HZ]


def _lookahead(row: str, vocoder: LPWaveNet) -> int | None:
    """Frames after the own one that a hop waits for; None for what hears the whole recording."""
    if row in DRAWN:
        return vocoder.config.lookahead_frames + row.endswith(" draws")
    return int(row.removeprefix("online ")) if row.startswith("online ") else None


def _quartiles(values: list[float]) -> dict[str, Any]:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"median": round(float(middle), 4), "quartiles": [round(float(low), 4), round(float(high), 4)]}
