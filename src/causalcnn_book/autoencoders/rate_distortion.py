"""Rate and distortion: what error each bottleneck leaves on voices that it has not heard, at how many bits a second.

    causalcnn experiment rate-distortion --runs runs --out book/measurements/rate-distortion.json

All networks are trained on the same batches. Rate and error are those of the same frames, the ones that speak. The
error is that of the log-mel bands in dB, values below the models' floor counting as the floor. Real recordings are
brought to the level of the training speech, one gain for each speaker. The rates of a point are, by name:

- ``fixed``: codes without entropy coding, log₂ of the codebook's size each.
- ``unigram``: a price for each symbol by how often it occurred in training, another table for each place of a frame.
- ``differences``: the same for the change of each number since the frame before.
- ``prior``: what a network that has read all codes before it says of each code. Only the book's codec has one.
- ``kl``: the divergence of a VAE's posterior from its prior. It is the rate of a *draw* from the posterior, and only
  relative entropy coding comes near to it, in long messages, when sender and receiver share random numbers
  (Flamich et al., arXiv 2010.01185). Bits-back coding has the same price where the input comes back exactly.
- ``gaussian``: what no code could do without, if frames were independent draws of a Gaussian: a yardstick, no code.

Several processes can share the rows: each with other ``--rows`` and the same ``--runs``, then one command with all rows
writes the table. A training that is stopped goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn._extras import require
from causalcnn.models import (
    MODELS,
    AutoencoderConfig,
    LatentUse,
    SpectrogramConfig,
    VAEConfig,
    VQVAE2Config,
    VQVAEConfig,
    load_model,
    save_model,
)
from causalcnn.speech import RATE_HZ, Batch, LogMel, griffin_lim
from causalcnn.training import train
from causalcnn_book.autoencoders.coders import CodeCoder, Coder, ComponentCoder, NumberCoder, Point, VAECoder
from causalcnn_book.autoencoders.pricing import SENT, PrincipalComponents, lower_hull, reverse_water_filling
from causalcnn_book.autoencoders.task import Task
from causalcnn_book.experiment import Experiment, Results, option, summary

__all__ = ["RateDistortion", "networks"]

BETAS, NUM_CODES = (0.25, 1.0, 4.0, 16.0, 64.0), (16, 64, 512)
ROWS = (
    "autoencoder", *(f"vae {beta:g}" for beta in BETAS), *(f"vq {codes}" for codes in NUM_CODES), "vq 2 levels",
    "pca", "gaussian", "codec",
)  # fmt: skip
SHARES, WIDTHS, STEPS_DB = (0.25, 0.5, 1.0, 2.0, 4.0), (1.0, 2.0), (2.0, 4.0, 8.0, 16.0, 32.0)
"""Steps of the autoencoder in standard deviations, of a VAE's means in widths of the posterior, of components in dB."""
LEVELS_DB = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Errors for which the yardstick is computed."""
ROWS_OF_A_STEP, FRAMES_OF_A_ROW, LEARNING_RATE = 4, 128, 2e-3


def networks() -> dict[str, SpectrogramConfig]:
    """List the rows that are trained.

    Returns:
        Row → its config, all of the same sizes but for the bottleneck.
    """
    return {
        "autoencoder": AutoencoderConfig.tiny(),
        **{f"vae {beta:g}": VAEConfig.tiny().with_(beta=beta) for beta in BETAS},
        **{f"vq {codes}": VQVAEConfig.tiny().with_(num_codes=codes) for codes in NUM_CODES},
        "vq 2 levels": VQVAE2Config.tiny(),
    }


MODEL_OF = {AutoencoderConfig: "autoencoder", VAEConfig: "vae", VQVAEConfig: "vqvae", VQVAE2Config: "vqvae2"}


def coder_of(model: Any, seed: int) -> Coder:
    """Make the coder of a trained network."""
    if isinstance(model.config, VAEConfig):
        return VAECoder(model, WIDTHS, seed)
    return NumberCoder(model, SHARES) if isinstance(model.config, AutoencoderConfig) else CodeCoder(model)


@dataclass
class RateDistortion(Experiment):
    """What error does each bottleneck leave on unheard voices, at how many bits a second?

    Rows are networks that differ in their bottleneck alone: an autoencoder whose numbers are rounded after training, a
    VAE at five weights of its divergence, codes of three sizes of codebook, two levels of codes; principal components
    of single frames, with what Gaussians of these variances would need; and the codec that the book ships, which was
    trained for longer, with its prior. A network is trained with three seeds, for four minutes of one core without a
    codebook, seven with one, eleven with two; with the scores all are three hours, half of it for two processes that
    share the rows. Trained networks are kept beside the finished rows.

    Attributes:
        name: the command's name.
        spread: that over the seeds.
        rows: the coders.
        seeds: each draws weights and batches anew.
        budget: how long each network is trained.
        coder: the model of the codec.
        prior: the prior of its codes.

    Example:
        >>> from causalcnn_book.autoencoders.rate_distortion import RateDistortion
        >>> RateDistortion.rows[:3], RateDistortion().seeds_of("pca", (0, 1, 2))
        (('autoencoder', 'vae 0.25', 'vae 1'), (0,))
    """

    name = "rate-distortion"
    spread = "networks: one value for each seed, of the weights and of the batches, and half of the 95 % interval"
    rows = ROWS
    seeds = (0, 1, 2)

    budget: str = option("2500 steps", "of every network's training")
    coder: Path = option(Path("book/checkpoints/vqvae2-tiny"), "the model of the codec")
    prior: Path = option(Path("book/checkpoints/code-prior-tiny"), "the prior of its codes")

    @cached_property
    def task(self) -> Task:
        """What every row is trained, fitted and scored on."""
        return Task.usual()

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        if row == "codec":
            return {name: load_model(getattr(self, name))[1]["sha256"] for name in ("coder", "prior")}
        return {"budget": self.budget}

    @override
    def seeds_of(self, row: str, seeds: Sequence[int]) -> Sequence[int]:
        """Measure the rows without a network once: nothing in them is random.

        Args:
            row: one of :attr:`rows`.
            seeds: those that were asked for.

        Returns:
            All seeds for a network, the first for the others.
        """
        return seeds if row in networks() else seeds[:1]

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Train or fit one row, and score it at all of its settings.

        Args:
            row: one of :attr:`rows`.
            seed: draws the weights and the batches.

        Returns:
            ``points``: label → set → ``rmse_db``, ``bits_per_second`` by the name of the rate, and ``stoi`` where the
            clips were made sound of; for a network also ``parameters``, ``steps``, ``seconds`` of its training, the
            ``config`` and the ``loss`` (means of a twentieth of the training); for a VAE also ``kl_nats`` a frame and
            ``active`` for each number of the latent, on unheard embedded voices, ``(code_dim, cells)``.
        """
        if row == "gaussian":
            return {"points": self._gaussian()}
        if row == "pca":
            coder: Coder = ComponentCoder(
                PrincipalComponents(torch.cat([x[0].T[speaks] for x, speaks in self.task.fitted])), STEPS_DB
            )
            return {"points": self._points(coder)}
        if row == "codec":
            codec, prior = (load_model(path)[0] for path in (self.coder, self.prior))
            return {"points": self._points(CodeCoder(codec, prior))}
        return self._train_and_score(row, seed)

    @torch.no_grad()
    def _points(self, coder: Coder) -> dict[str, Any]:
        return {point.label: self._scores(point) for point in coder.points(self.task.fitted)}

    def _scores(self, point: Point) -> dict[str, Any]:
        found = {}
        for name, clips in self.task.sets.items():
            squared, frames, bits = 0.0, 0, dict[str, float]()
            for x, speaks in clips:
                squared += float((point.decoded(x) - x)[0, :, speaks].double().square().mean(0).sum())
                frames += int(speaks.sum())
                for rate, each in point.rates(x).items():
                    bits[rate] = bits.get(rate, 0.0) + float(each[speaks].sum())
            found[name] = {
                "rmse_db": round(math.sqrt(squared / frames), 4),
                "bits_per_second": {rate: round(100 * total / frames, 1) for rate, total in bits.items()},
                "stoi": self._stoi(point, self.task.sounds.get(name, ())),
            }
        return found

    @staticmethod
    def _stoi(point: Point, sounds: Sequence[Tensor]) -> float | None:
        """How much is understood of what is decoded, with phases by Griffin and Lim; the mean over the clips."""
        if not sounds:
            return None
        stoi = require("pystoi", extra="dev").stoi
        values = []
        for samples in sounds:
            x = LogMel()(samples[None]).clamp(min=SpectrogramConfig.floor_db)
            values.append(float(stoi(samples.double().numpy(), griffin_lim(point.decoded(x)), RATE_HZ)))
        return round(sum(values) / len(values), 4)

    def _gaussian(self) -> dict[str, Any]:
        variances = {
            name: PrincipalComponents(torch.cat([x[0].T[speaks] for x, speaks in clips])).variances
            for name, clips in self.task.sets.items()
        }
        return {
            f"{level:g} dB": {
                name: {
                    "rmse_db": level,
                    "bits_per_second": {"gaussian": round(100 * reverse_water_filling(each, level**2), 1)},
                    "stoi": None,
                }
                for name, each in variances.items()
            }
            for level in LEVELS_DB
        }

    def _train_and_score(self, row: str, seed: int) -> dict[str, Any]:
        config, task = networks()[row], self.task
        kept, checkpoint = (self.folder / f"{row.replace(' ', '-')}-{seed}{end}" for end in ("", ".resume.safetensors"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = MODELS[MODEL_OF[type(config)]](config)
        history = train(
            model,
            lambda step, rank, world_size: task.corpus.batch(
                step, rows=ROWS_OF_A_STEP, frames=FRAMES_OF_A_ROW, seed=seed
            ),
            self.budget,
            learning_rate=LEARNING_RATE,
            seed=seed,
            device="cpu",
            checkpoint=checkpoint,
            checkpoint_every="3 min",
            resume=True,
            settings={"task": task.about},
        )
        twentieth = max(1, history.steps // 20)
        losses = [history.loss[i : i + twentieth] for i in range(0, history.steps, twentieth)]
        save_model(kept, model, {"row": row, "seed": seed, "budget": self.budget, "task": task.about})
        model = load_model(kept)[0]
        found = {
            "points": self._points(coder_of(model, seed)),
            "parameters": sum(p.numel() for p in model.parameters()),
            "steps": history.steps,
            "seconds": round(history.seconds, 1),
            "config": asdict(config),
            "loss": [round(sum(part) / len(part), 5) for part in losses],
        }
        if isinstance(config, VAEConfig):
            found |= self._use(model)
        checkpoint.unlink()
        return found

    def _use(self, model: Any) -> dict[str, Any]:
        pieces = [Batch(x, speaks[None], torch.zeros(1, dtype=torch.int64)) for x, speaks in self.task.sets["embedded"]]
        use = LatentUse.of(model, pieces)
        return {
            "kl_nats": [[round(one, 4) for one in row] for row in use.kl.tolist()],
            "active": use.active.int().tolist(),
        }

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write for each row its points, and for each set the points on the hull.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            What the ``rates`` are, what was ``trained_on``, the ``sets``, the ``rows``, and ``hull``: set → the points
            on the lower hull of the rates that a coder with tables reaches, and with the divergence of the VAEs' draws.
        """
        task = self.task
        rows = {row: _row(list(found.values())) for row, found in results.items()}
        return {
            "rates": "bits a second of speaking frames; 'kl' takes relative entropy coding, no code reaches 'gaussian'",
            "trained_on": {"task": task.about, "rows": ROWS_OF_A_STEP, "frames": FRAMES_OF_A_ROW,
                           "learning_rate": LEARNING_RATE},
            "sets": {name: {"clips": len(clips), "speaking_frames": sum(int(speaks.sum()) for _, speaks in clips)}
                     for name, clips in task.sets.items()},
            "rows": rows,
            "hull": {name: {"sent": lower_hull(_curve(rows, name, SENT)),
                            "with draws": lower_hull(_curve(rows, name, (*SENT, "kl")))} for name in task.sets},
        }  # fmt: skip


def _row(found: list[dict[str, Any]]) -> dict[str, Any]:
    first = found[0]
    points = {
        label: {
            name: {
                "rmse_db": summary([one["points"][label][name]["rmse_db"] for one in found]),
                "bits_per_second": {
                    rate: summary([one["points"][label][name]["bits_per_second"][rate] for one in found], 1)
                    for rate in of_set["bits_per_second"]
                },
                "stoi": None if of_set["stoi"] is None
                else summary([one["points"][label][name]["stoi"] for one in found]),
            }
            for name, of_set in of_point.items()
        }
        for label, of_point in first["points"].items()
    }  # fmt: skip
    if "config" not in first:
        return {"points": points}
    row: dict[str, Any] = {"points": points, "parameters": first["parameters"], "config": first["config"]}
    for key in ("steps", "seconds", "loss", "kl_nats", "active"):
        if key in first:
            row[key] = [one[key] for one in found]
    return row


def _curve(rows: Mapping[str, Any], name: str, rates: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Each point of a set at the lowest of these rates that it has: ``row, label`` → rate and error."""
    curve = {}
    for row, of_row in rows.items():
        for label, of_point in of_row["points"].items():
            prices = [of_point[name]["bits_per_second"][rate]["mean"] for rate in rates
                      if rate in of_point[name]["bits_per_second"]]  # fmt: skip
            if prices:
                curve[f"{row}, {label}"] = min(prices), of_point[name]["rmse_db"]["mean"]
    return curve
