"""What do the codes of one frame remember, and what do they know of the next one?

From the codewords of one frame, (20 + 10) · 64 numbers or 270 bits, a reader must tell the log-mel frame k frames
earlier, for k inside the field of the codes and beyond it, and for frames that are still to come. Readers learn on
training speakers, are chosen on validation speakers, and are asked once about test speakers. What a past frame has
in common with the present one is no memory, so everything is repeated with frames in random order, where they have
nothing in common.

    causalcnn experiment memory book/measurements/memory.json
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._files import atomic_write
from causalcnn.models import CausalVQVAE2
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
from causalcnn_book.encoders.phones import T_95
from causalcnn_book.what_codes_remember.linear_probe import LinearReader, Moments, fit_linear, fit_network
from causalcnn_book.what_codes_remember.probe_inputs import (
    AHEAD,
    DIRECTIONS,
    FURTHEST,
    Clips,
    Narrow,
    Source,
    Told,
    bits,
    field_frames,
    gather,
    rows_of,
    tell,
    vectors,
    window,
)

__all__ = ["BACK", "horizon", "main", "pictures", "read_back", "run", "spread"]

BACK: tuple[int, ...] = (-AHEAD, -2, -1, *range(FURTHEST + 1))
"""The frames that are asked for, counted back from the present one; −1 is the next frame."""
NOW = BACK.index(0)
NETWORK_BACK = (-5, -2, -1, 0, 1, 2, 4, 6, 8, 10, 12, 14)
"""Those that the network is asked for."""
NETWORKED = ("codes", "before", "untrained", "frame", "window")
"""What networks read, too: the codes, and the mel frames that they were made from."""
SHUFFLED_BACK = tuple(range(17))
SEVERAL, SEVERAL_DIRECTIONS = 4, 12
"""Where the codes of several frames are read: how many frames, and directions of each codeword."""


# ------------------------------------------------------------------------------------------------- readers
def read_back(
    told: Sequence[Told], clips: Sequence[Clips], back: Sequence[int] = BACK
) -> tuple[Tensor, LinearReader, list[Moments]]:
    """How well a linear reader tells the frames of ``back`` from what stands for the present one.

    Args:
        told: what stands for the frames of train, validation and test clips. clips: these clips.

    Returns:
        Squared error on the test clips as a share of their variance about the mean training frame,
        ``(len(back),)``; the reader; the moments that it comes from.
    """
    moments = [gather(rows, some, back) for rows, some in zip(told, clips, strict=True)]
    reader = fit_linear(moments[0], moments[1], groups=len(back))
    return reader.errors(moments[2]), reader, moments


def _by_level(moments: Sequence[Moments], top: int, groups: int) -> dict[str, list[float]]:
    """The errors of readers that see the numbers of one level only: the first ``top`` ones, or the others."""
    found = {}
    for level, columns in (("top", slice(0, top)), ("bottom", slice(top, None))):
        heard, choose, unheard = (m.part(columns) for m in moments)
        found[level] = fit_linear(heard, choose, groups=groups).errors(unheard).tolist()
    return found


def _network_errors(reader: LinearReader, told: Sequence[Told], clips: Sequence[Clips], seed: int) -> Tensor:
    """The errors of a network that adds to a linear reader."""
    mels, asked = clips[0].features[0].shape[1], len(NETWORK_BACK)
    columns = torch.cat([torch.arange(mels) + BACK.index(k) * mels for k in NETWORK_BACK])
    linear = LinearReader(
        reader.weight[:, columns].float(), reader.x_mean, reader.y_mean[columns], asked, reader.penalties
    )
    rows = [
        [torch.cat(part) for part in zip(*rows_of(t, c, NETWORK_BACK), strict=True)]
        for t, c in zip(told, clips, strict=True)
    ]
    (train_x, train_y), (choose_x, choose_y), (x, y) = rows
    network, _ = fit_network(linear, (train_x, train_y), (choose_x, choose_y), seed=seed)
    with torch.no_grad():
        read = torch.cat([linear(some) + network(some) for some in x.split(4096)])
    return _share(read, y, linear.y_mean, asked)


def _share(read: Tensor, y: Tensor, mean: Tensor, groups: int) -> Tensor:
    """Squared error as a share of the variance of ``y`` about ``mean``, for each group of columns."""
    wrong = (read - y).double().square().sum(0).reshape(groups, -1).sum(1)
    return wrong / (y.double() - mean).square().sum(0).reshape(groups, -1).sum(1)


def _copied(clips: Clips, mean: Tensor) -> Tensor:
    """The error of saying that the asked frame is like the present one."""
    x, y = (torch.cat(part) for part in zip(*rows_of(clips.features, clips, BACK), strict=True))
    return _share(x.repeat(1, len(BACK)), y, mean, len(BACK))


@torch.no_grad()
def _decoded(model: CausalVQVAE2, clips: Clips, mean: Tensor) -> float:
    """The error of the model's own decoder at the present frame: it reads the codes of several frames."""
    pairs = zip(clips.features, clips.asked, strict=True)
    read, y = zip(*((model(clip[None, None])[0, 0][at], clip[at]) for clip, at in pairs), strict=True)
    return float(_share(torch.cat(read), torch.cat(y), mean, 1))


# ----------------------------------------------------------------------------------------------- the table
def _draw(seed: int, seconds: float, floor_db: float) -> list[Clips]:
    """Train, validation and test clips: the same speakers for every seed, other sentences."""
    sets = (("train", 40, 1.0), ("validation", 10, 0.2), ("test", 20, 0.4))
    return [
        Clips.of(FeatureCorpus.of(EmbeddedSpeech(split, speakers, max(6.0, share * seconds), 100 + seed)), floor_db)  # type: ignore[arg-type]
        for split, speakers, share in sets
    ]


def _seed(
    model: CausalVQVAE2, fresh: CausalVQVAE2, seed: int, seconds: float, network: bool, say: Callable[[str], None]
) -> tuple[dict[str, dict[str, list[float]]], dict[str, Any]]:
    """All errors of one draw of sentences, and the pictures."""
    clips = _draw(seed, seconds, model.config.floor_db)
    found: dict[str, dict[str, list[float]]] = {"linear": {}, "network": {}, "shuffled": {}, "lost": {}}
    compared, readers, top = tell(model, fresh, clips[0]), {}, model.config.mels // 8
    for name, source in compared.items():
        told = [[source(x) for x in some.features] for some in clips]
        errors, readers[name], moments = read_back(told, clips)
        found["linear"][name] = errors.tolist()
        if name == "codes":
            found["linear"] |= _by_level(moments, top * DIRECTIONS, len(BACK))
        if network and name in NETWORKED:
            found["network"][name] = _network_errors(readers[name], told, clips, seed).tolist()
        if hasattr(source, "narrow"):
            found["lost"][name] = source.narrow.lost
        say(f"{name}: now {errors[NOW]:.3f}, next {errors[NOW - 1]:.3f}, five back {errors[NOW + 5]:.3f}")
    some = torch.cat([vectors(model, x)[0] for x in clips[0].features[: len(clips[0].features) // 4]])
    narrow = Narrow(some, top, SEVERAL_DIRECTIONS)
    told = [[window(narrow(vectors(model, x)[0]), SEVERAL) for x in c.features] for c in clips]
    found["linear"]["several"] = read_back(told, clips)[0].tolist()
    mean = readers["frame"].y_mean
    found["linear"]["copy"] = _copied(clips[2], mean).tolist()
    found["decoder"] = {"now": [_decoded(model, clips[2], mean.reshape(len(BACK), -1)[NOW])]}
    mixed = [c.shuffled(seed) for c in clips]
    for name in ("codes", "before", "untrained"):
        told = [[compared[name](x) for x in c.features] for c in mixed]
        errors, _, moments = read_back(told, mixed, SHUFFLED_BACK)
        found["shuffled"][name] = errors.tolist()
        if name == "codes":
            found["shuffled"] |= _by_level(moments, top * DIRECTIONS, len(SHUFFLED_BACK))
        say(f"shuffled {name}: {[round(e, 3) for e in errors.tolist()]}")
    return found, pictures(compared, readers, clips[2])


def spread(runs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Mean and half of the 95 % interval over seeds, for each frame that is asked, and the seeds themselves."""
    columns = list(zip(*runs, strict=True))
    half = [T_95[len(c) - 1] * statistics.stdev(c) / math.sqrt(len(c)) if len(c) > 1 else None for c in columns]
    return {
        "mean": [round(statistics.mean(c), 4) for c in columns],
        "half_interval": [None if h is None else round(h, 4) for h in half],
        "by_seed": [[round(e, 4) for e in run] for run in runs],
    }


def horizon(errors: Sequence[float], most: float) -> int:
    """How many frames back, the present one counted as 0, the error stays at or below ``most``; −1 for none."""
    good = [error <= most for error in errors]
    return (good.index(False) if False in good else len(good)) - 1


def run(
    model: CausalVQVAE2,
    fresh: CausalVQVAE2,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    seconds: float = 300.0,
    network: bool = True,
    out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure everything with every seed; a seed draws the sentences and the network's weights.

    Args:
        model, fresh: trained and untrained, in eval mode. seconds: of training speech.
        network: whether to train networks as well. out: the JSON file, written anew after each seed.

    Returns:
        The table, and the pictures of :func:`pictures`, of the first seed.
    """
    results: list[dict[str, dict[str, list[float]]]] = []
    drawn: dict[str, Any] = {}
    top, bottom = field_frames(model)
    for seed in seeds:
        say(f"seed {seed}")
        found, pictured = _seed(model, fresh, seed, seconds, network, say)
        results.append(found)
        drawn = drawn or pictured
        table = {
            "what": "squared error of the frame k frames back, read from what stands for one frame, as a share of the "
            "variance about the mean training frame; embedded speech, unheard speakers, speaking frames",
            "command": "run() of causalcnn_book.what_codes_remember.memory",
            "device": f"CPU, {platform.machine()}, torch {torch.__version__.split('+')[0]}",
            "seeds": list(seeds[: len(results)]),
            "spread": "half of the 95 % interval of the mean over seeds, Student's t; a seed draws other sentences",
            "settings": {
                "seconds": seconds,
                "numbers": 3 * model.config.mels // 8 * model.config.code_dim,
                "bits": bits(model),
                "directions": DIRECTIONS,
                "several": SEVERAL,
                "several_directions": SEVERAL_DIRECTIONS,
            },
            "field": {"top": top, "bottom": bottom},
            "back": list(BACK),
            "network_back": list(NETWORK_BACK),
            "shuffled_back": list(SHUFFLED_BACK),
            **{
                kind: {name: spread([r[kind][name] for r in results]) for name in results[0][kind]}
                for kind in results[0]
            },
        }
        past = {name: line["mean"][NOW:] for name, line in table["linear"].items()}  # type: ignore[attr-defined]
        table["horizon"] = {n: {str(m): horizon(line, m) for m in (0.1, 0.25, 0.5)} for n, line in past.items()}
        if out is not None:
            _write(out, table)
    return table, drawn


# -------------------------------------------------------------------------------------------- the pictures
PICTURED, BANDS, LEVELS, LATEST = 60, 40, 64, 18
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def pictures(compared: dict[str, Source], readers: dict[str, LinearReader], clips: Clips) -> dict[str, Any]:
    """One clip as it was, and as readers say it was from what stands for the frame k frames later, k = 0 … 18.

    Two mel bands make one row, and a level is one of 64, written as one letter: a picture is a text, column by
    column, from the low bands up.
    """
    need = FURTHEST + PICTURED + LATEST + AHEAD
    clip = next(x for x in clips.features if len(x) >= need + 20)
    start, mels = FURTHEST + 10, clip.shape[1]
    truth = clip[start : start + PICTURED]
    low, high = float(truth.min()), float(truth.max())

    def text(frames: Tensor) -> str:
        rows = frames.reshape(len(frames), BANDS, -1).mean(2)
        levels = ((rows - low) / (high - low) * (LEVELS - 1)).round().clamp(0, LEVELS - 1).int()
        return "".join(LETTERS[level] for level in levels.flatten().tolist())

    said: dict[str, list[str]] = {}
    for name in ("codes", "untrained", "fixed"):
        found = readers[name](compared[name](clip)).reshape(len(clip), len(BACK), mels)
        said[name] = [text(found[start + k : start + k + PICTURED, BACK.index(k)]) for k in range(LATEST + 1)]
    return {"frames": PICTURED, "bands": BANDS, "low_db": round(low, 1), "high_db": round(high, 1),
            "truth": text(truth), "said": said}  # fmt: skip


def _write(path: Path, table: dict[str, Any]) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(table, ensure_ascii=False) + "\n", "utf8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: measure, and write the table and the pictures beside it."""
    from causalcnn.models import load_model
    from causalcnn_book.causal_vqvae2.reconstruction import untrained

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("to", type=Path, help="the JSON file to write; the pictures go beside it, NAME-pictures.json")
    parser.add_argument("--checkpoint", type=Path, default=Path("book/checkpoints/vqvae2-tiny"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=300.0, help="of training speech for the readers")
    parser.add_argument("--no-network", action="store_true", help="linear readers only")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, card = load_model(asked.checkpoint)
    seen = FeatureCorpus.of(EmbeddedSpeech("train", speakers=8, seconds=120))
    fresh = untrained(model, seen)
    if not isinstance(model, CausalVQVAE2) or not isinstance(fresh, CausalVQVAE2):
        raise TypeError(f"{asked.checkpoint} holds a {card['model']!r}; this asks the causal model, 'vqvae2'")
    chosen = {"seeds": asked.seeds, "seconds": asked.seconds, "network": not asked.no_network}
    table, drawn = run(model, fresh, **chosen, out=asked.to, say=lambda line: print(line, flush=True))
    command = " ".join(["causalcnn experiment memory", *(arguments or sys.argv[1:])])
    table |= {"command": command, "model": {key: card[key] for key in ("model", "config", "sha256")}}
    _write(asked.to, table)
    same = {key: table[key] for key in ("command", "device", "seeds", "spread", "model")}
    _write(asked.to.with_name(f"{asked.to.stem}-pictures.json"), same | drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
