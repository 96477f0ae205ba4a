"""How far does a frame generator drift from speech when it reads what it wrote? Frame by frame after a prompt.

    causalcnn experiment likelihood likelihood.json --rows logistics "own samples" --runs runs
    causalcnn experiment exposure-bias book/measurements/exposure-bias.json --runs runs

Models trained on the truth alone, and models that read some of their own samples in training, of the same size and
budget and the same seeds, continue real speech of unseen speakers; so does the shipped model, which was trained for
longer. Beside what they write *freely* stands what they write *one frame ahead*, each frame given the true past, and
the speech itself. What was measured of a model is kept in the folder of its weights, and not measured again. Three
kinds of measures, none of which a generator was trained on:

- two judges price every frame: the shipped model, and a linear one that was fitted by least squares;
- the distance of the cloud of frames from that of other speech, in dB a band;
- what a frame is like: its level, how much of it is silence, the contrast between its bands, the step from the
  frame before.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._files import write_json
from causalcnn.models import AutoregressiveModel, load_model
from causalcnn.speech import EVALUATION_MAX_HZ, EmbeddedSpeech, FeatureCorpus, bands_below
from causalcnn_book.frame_generator.drift_metrics import (
    SILENT_BELOW_DB,
    LinearJudge,
    continuations,
    distance_db,
    looks,
    one_frame_ahead,
)
from causalcnn_book.likelihood.likelihood import STEPS, Task, score

__all__ = ["Asked", "by_temperature", "main", "measure", "of_speech", "together"]

LAGS = (1, 2, 5, 10, 20, 50, 100, 200)
PROMPT_FRAMES = 40
SEEDS = (0, 1, 2)
TEMPERATURES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.15)
SHIPPED = Path("book/checkpoints/frame-generator-tiny")
ROWS = {"teacher forcing": "logistics", "own samples": "own-samples"}


@dataclass(frozen=True)
class Asked:
    """What everything is measured on.

    Attributes:
        levels: ``(rows, prompt + frames, mels)``. speakers: of the rows. other: as ``levels``, of other clips.
        level_db: of training speech. judge: the linear one. decibels: levels → dB.
    """

    levels: Tensor
    speakers: list[str]
    other: Tensor
    level_db: float
    judge: LinearJudge
    decibels: Callable[[Tensor], Tensor]


def _windows() -> list[slice]:
    return [slice(a, b) for a, b in zip((0, *LAGS[:-1]), LAGS, strict=True)]


def _told(asked: Asked, levels: Tensor, before: Tensor) -> dict[str, Any]:
    """What frames are like, and how far from speech, window by window.

    Args:
        levels: ``(rows, frames, mels)``. before: the frame before each, as many.
    """
    lists: dict[str, Any] = {}
    for window in _windows():
        now, last, other = (
            asked.decibels(x[:, window]).transpose(1, 2) for x in (levels, before, asked.other[:, PROMPT_FRAMES:])
        )
        found = looks(now, last, asked.level_db)
        for name, values in found.items():
            mean, half = _interval(values.mean(1), asked.speakers)
            lists.setdefault(name, []).append(round(mean, 3))
            lists.setdefault(name + "_half", []).append(round(half, 3))
        lists.setdefault("level_spread_db", []).append(round(float(found["level_db"].std()), 3))
        distance = distance_db(now.flatten(0, 1), other.flatten(0, 1))
        lists.setdefault("distance_db", []).append(round(distance, 3))
    return lists


def _priced(asked: Asked, bits: Tensor, name: str) -> dict[str, Any]:
    """Bits ``(rows, frames)``, window by window."""
    found = [_interval(bits[:, window].mean(1), asked.speakers) for window in _windows()]
    return {name: [round(mean, 3) for mean, _ in found], f"{name}_half": [round(half, 3) for _, half in found]}


def together(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tables of several trainings as one: means, and for each the least and the most."""
    joined: dict[str, Any] = {}
    for key in tables[0]:
        if key.endswith("_half"):
            continue
        columns = list(zip(*(table[key] for table in tables), strict=True))
        joined[key] = [round(sum(column) / len(column), 3) for column in columns]
        joined[f"{key}_range"] = [[min(column), max(column)] for column in columns]
    return joined


def _interval(rows: Tensor, speakers: Sequence[str]) -> tuple[float, float]:
    """The mean over speakers, and half of its 95 % interval."""
    means = [float(rows[[s == each for s in speakers]].mean()) for each in sorted(set(speakers))]
    mean, count = sum(means) / len(means), len(means)
    deviation = math.sqrt(sum((m - mean) ** 2 for m in means) / max(1, count - 1))
    return mean, 2.09 * deviation / math.sqrt(count)  # Student's t for 20 speakers


@torch.no_grad()
def _network_bits(model: AutoregressiveModel, levels: Tensor) -> Tensor:
    """What a network charges for the frames after the prompt, ``(rows, frames)``."""
    parts = [-model.log_prob(some).mean(2)[:, PROMPT_FRAMES:] / math.log(2) for some in levels.split(8)]
    return torch.cat(parts)


def _linear_ahead(asked: Asked, drawn: Tensor) -> Tensor:
    """The linear judge's bits for frames that were drawn given the true past, ``(rows, frames)``."""
    judge, true = asked.judge, asked.levels
    windows = true.unfold(1, judge.frames, 1)[:, PROMPT_FRAMES - judge.frames : -1]  # (rows, frames, mels, 6)
    both = torch.cat([windows.transpose(2, 3), drawn[:, :, None]], 2)
    return judge.bits(both.flatten(0, 1)).view(drawn.shape[:2])


@torch.no_grad()
def _network_ahead(model: AutoregressiveModel, asked: Asked, drawn: Tensor, every: int = 20) -> Tensor:
    """The same for a network, for some of the frames only, as each needs a past of its own: ``(rows,)``."""
    past = int(model.field.axis("time").past or 0)
    total = []
    for t in range(0, drawn.shape[1], every):
        at = PROMPT_FRAMES + t
        levels = torch.cat([asked.levels[:, at - past : at], drawn[:, t : t + 1]], 1)
        total.append(-model.log_prob(levels)[:, -1].mean(1) / math.log(2))
    return torch.stack(total, 1).mean(1)


def of_speech(judge: AutoregressiveModel, asked: Asked) -> dict[str, Any]:
    """The measures of the speech itself."""
    true, first = asked.levels, PROMPT_FRAMES
    told = _told(asked, true[:, first:], true[:, first - 1 : -1])
    told |= _priced(asked, asked.judge.bits(true[:, first - asked.judge.frames :]), "linear_bits")
    return told | _priced(asked, _network_bits(judge, true), "network_bits")


def measure(
    model: AutoregressiveModel, judge: AutoregressiveModel, asked: Asked, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a model writes one frame ahead, and what it writes freely."""
    true, first = asked.levels, PROMPT_FRAMES
    drawn = torch.stack([one_frame_ahead(model, row, first, seed=seed) for row in true])
    ahead = _told(asked, drawn, true[:, first - 1 : -1]) | _priced(asked, _linear_ahead(asked, drawn), "linear_bits")
    priced = _interval(_network_ahead(judge, asked, drawn), asked.speakers)
    ahead["network_bits_of_all"] = [round(number, 3) for number in priced[:1]]
    drawn = model.generate(true.shape[1] - first, rows=len(true), prompt=true[:, :first], seed=seed)
    whole = torch.cat([true[:, :first], drawn], 1)
    free = _told(asked, drawn, whole[:, first - 1 : -1])
    free |= _priced(asked, asked.judge.bits(whole[:, first - asked.judge.frames :]), "linear_bits")
    return ahead, free | _priced(asked, _network_bits(judge, whole), "network_bits")


def by_temperature(model: AutoregressiveModel, asked: Asked) -> list[dict[str, Any]]:
    """The last 100 frames of free runs at each temperature, one seed."""
    true, found = asked.levels, []
    frames = true.shape[1] - PROMPT_FRAMES
    sets = {str(t): model.generate(frames, rows=len(true), prompt=true[:, :PROMPT_FRAMES], seed=0, temperature=t)
            for t in TEMPERATURES}  # fmt: skip
    for name, levels in {**sets, "speech": true[:, PROMPT_FRAMES:]}.items():
        late, last = (asked.decibels(x).transpose(1, 2) for x in (levels[:, 100:], levels[:, 99:-1]))
        other = asked.decibels(asked.other[:, -100:]).transpose(1, 2)
        row: dict[str, Any] = {"temperature": name, "distance_db": distance_db(late.flatten(0, 1), other.flatten(0, 1))}
        values = looks(late, last, asked.level_db)
        row |= {key: float(value.mean()) for key, value in values.items()}
        row["level_spread_db"] = float(values["level_db"].std())
        found.append({key: value if isinstance(value, str) else round(value, 3) for key, value in row.items()})
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the table as JSON: whole, or not at all."""
    parser = argparse.ArgumentParser(
        prog="causalcnn experiment exposure-bias", description=(__doc__ or "").split("\n")[0]
    )  # fmt: skip
    parser.add_argument("to", type=Path, help="the JSON file to write")
    parser.add_argument("--runs", type=Path, required=True, help="the folder that `experiment discrete --runs` filled")
    parser.add_argument("--shipped", type=Path, default=SHIPPED, help=f"the longer trained model; default: {SHIPPED}")
    parser.add_argument("--per-speaker", type=int, default=2, help="prompts of each of the 20 speakers; default: 2")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the trainings; default: 0 1 2")
    options = parser.parse_args(arguments)
    shipped, card = load_model(options.shipped)
    loaded = {("shipped", 0): (shipped, card)} | {
        (name, seed): load_model(options.runs / f"{row}-{seed}-{STEPS}")
        for name, row in ROWS.items()
        for seed in options.seeds
    }
    shipped = shipped.eval()
    task = Task.usual()
    unseen = FeatureCorpus.of(EmbeddedSpeech("test", speakers=20, seconds=1200))
    levels, speakers = continuations(unseen, shipped, per_speaker=2 * options.per_speaker)
    part = task.corpus.part(900)
    judge = LinearJudge.fitted(shipped.levels(clip[None])[0] for clip in part)
    asked = Asked(
        levels[0::2], speakers[0::2], levels[1::2], task.corpus.level_db, judge,
        lambda x: shipped.bins.decode(x).transpose(1, 2),
    )  # fmt: skip

    def kept(name: str, sha256: str, make: Callable[[], Any]) -> Any:
        """What was measured already, of the very same models and prompts, or what is measured now."""
        file = options.runs / f"exposure-{name.replace(' ', '-')}.json"
        which = {"sha256": sha256, "judge": card["sha256"], "rows": len(asked.levels)}
        found = json.loads(file.read_text("utf8")) if file.exists() else {}
        if found.get("of") != which:
            found = {"of": which, "measured": make()}
            write_json(file, found)
        print(f"measured: {name}", flush=True)
        return found["measured"]

    own = card["sha256"]
    told: dict[str, Any] = {"speech": kept("speech", own, lambda: of_speech(shipped, asked))}
    found: dict[str, list[Any]] = {}
    for (name, seed), (model, about) in loaded.items():
        part_of = functools.partial(measure, model.eval(), shipped, asked, seed)
        found.setdefault(name, []).append(kept(f"{name} {seed}", about["sha256"], part_of))
    told["shipped, one ahead"], told["shipped, free"] = found["shipped"][0]
    for name in ROWS:
        for i, kind in enumerate(("one ahead", "free")):
            told[f"{name}, {kind}"] = together([pair[i] for pair in found[name]])
    temperatures = kept("temperatures", own, lambda: by_temperature(shipped, asked))
    held_out = kept("held-out", own, lambda: {
        key: score(shipped, corpus, bands=bands_below(EVALUATION_MAX_HZ[key])) for key, corpus in task.sets.items()
    })  # fmt: skip
    table = {
        "command": (
            'causalcnn experiment likelihood likelihood.json --rows logistics "own samples" --runs runs; '
            f"causalcnn experiment exposure-bias book/measurements/{options.to.name} --runs runs"
        ),
        "device": f"CPU, {platform.machine()}, torch {torch.__version__.split('+')[0]}",
        "seeds": list(options.seeds),
        "spread": "_range: least and most over trainings, each with draws of its own; _half: half of the 95 % "
        "interval over speakers",
        "shipped": {key: card[key] for key in ("command", "seed", "training") if key in card},
        "prompts": {
            "rows": len(asked.levels), "speakers": len(set(speakers)), "frames": PROMPT_FRAMES,
            "linear_judge": {"frames": judge.frames, "seconds": round(part.seconds)},
            "silent_below_db": SILENT_BELOW_DB,
        },
        "lags": list(LAGS),
        "windows": "a lag's numbers are of the frames after the lag before it, up to it",
        "told": told,
        "temperatures": temperatures,
        "held_out": {key: {kind: round(v, 4) for kind, v in found.items()} for key, found in held_out.items()},
    }  # fmt: skip
    write_json(options.to, table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
