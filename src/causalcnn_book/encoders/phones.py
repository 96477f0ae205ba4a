"""Which phone is it? What stacks of causal convolutions buy on a real task, at equal parameters.

Every network reads causal log-mel frames of embedded speech and names the phone at the centre of each frame's
window, for speakers whom it has never heard. The rows differ in one thing: how about the same number of
parameters is spread over the past. Nothing is chosen on the test speakers.

    causalcnn experiment phones --out book/measurements/phones.json
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.nn import CausalConv1d, CausalConv2d, CausalModule, CausalSequential, MultiStackEncoder, ResidualBlock2d
from causalcnn.speech import MELS, PHONES, EmbeddedSpeech, LogMel, Utterance
from causalcnn.training import minimize
from causalcnn_book.experiment import OVER_SEEDS, Experiment, Results, by_seed, option, refuse_shared, summary

__all__ = ["ROWS", "OverPicture", "PhoneData", "Phones", "Row", "build", "fit", "num_parameters", "score", "widths"]

LEARNING_RATE = 1e-2
"""On the validation speakers, and with two rows, it was better than 4e-3; nothing else was tried."""
CROPS, CROP_FRAMES = 12, 160
IGNORED = -100
"""The label of a frame that is only padding; torch's losses leave it out."""


@dataclass(frozen=True)
class Row:
    """One line of the table: the wiring of a network. Its widths follow from the number of parameters.

    Attributes:
        label: what the line is called in the table.
        kernel_sizes: of the stacks, which are all pairs with ``dilations``, see
            :class:`~causalcnn.nn.MultiStackEncoder`.
        dilations: frames between the taps, each with every kernel size.
        combine: ``"add"``, ``"concat"`` or ``"every_layer"``.
        two_dimensional: whether to convolve over (time, frequency) instead of over time.

    Example:
        >>> from causalcnn_book.encoders.phones import Row, build
        >>> int(build(Row("two stacks", dilations=(1, 3)), channels=4, out_channels=4).field.size)
        25
    """

    label: str
    kernel_sizes: tuple[int, ...] = (3,)
    dilations: tuple[int, ...] = (1,)
    combine: Literal["add", "concat", "every_layer"] = "add"
    two_dimensional: bool = False


ROWS: dict[str, Row] = {
    "one_frame": Row("no past: kernel 1", kernel_sizes=(1,)),
    "dilation_1": Row("one stack, dilation 1"),
    "dilation_3": Row("one stack, dilation 3", dilations=(3,)),
    "add": Row("two stacks, added", dilations=(1, 3)),
    "concat": Row("two stacks, concat", dilations=(1, 3), combine="concat"),
    "every_layer": Row("two stacks, added at every layer", dilations=(1, 3), combine="every_layer"),
    "four_stacks": Row("four stacks, added", kernel_sizes=(3, 5), dilations=(1, 3)),
    "two_dimensional": Row("one stack, dilation 1, in 2D", two_dimensional=True),
}
"""What is compared, by name."""


# ------------------------------------------------------------------------------------------------ networks
class OverPicture(CausalModule):
    """A 2D network among 1D layers: features become a picture, and its cells become features again.

    Args:
        inner: a causal network over ``(batch, 1, time, frequency)``.
        features: the cells of one frame.

    Shape:
        ``(batch, features, time)`` → ``(batch, channels · cells, time)``

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConv2d
        >>> from causalcnn_book.encoders.phones import OverPicture
        >>> layer = OverPicture(CausalConv2d(1, 4, (3, 8), stride=(1, 4)), features=80)
        >>> layer(torch.zeros(2, 80, 10)).shape, int(layer.field.size)
        (torch.Size([2, 80, 10]), 3)
    """

    def __init__(self, inner: CausalModule, features: int) -> None:
        super().__init__()
        self.inner, self.in_channels = inner, features

    @property
    @override
    def field(self) -> Field:
        return self.inner.field.axis("time")

    @override
    def initial_state(self, x: Tensor) -> Any:
        return self.inner.initial_state(x.transpose(1, 2)[:, None])

    @override
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = self.inner.step(x.transpose(1, 2)[:, None], state)
        return y.transpose(2, 3).flatten(1, 2), state


def build(row: Row, channels: int, out_channels: int) -> CausalModule:
    """Build the network of one row: its encoder, then a linear layer on every frame.

    Args:
        row: the wiring.
        channels: features inside.
        out_channels: features of a frame that the linear layer reads.

    Returns:
        The network, with random weights, from log-mel frames ``(batch, 80, time)`` to scores ``(batch, 40, time)``,
        one for each of ``PHONES``.
    """
    if not row.two_dimensional:
        encoder: CausalModule = MultiStackEncoder(
            MELS,
            channels,
            out_channels,
            kernel_sizes=row.kernel_sizes,
            dilations=row.dilations,
            combine=row.combine,
        )
        return CausalSequential(encoder, nn.ReLU(), CausalConv1d(out_channels, len(PHONES), 1))
    # Two blocks, because the second convolution of a 2D block is 1 × 1: as many frames as one stack in 1D.
    kernel = (row.kernel_sizes[0], 3)
    inner = CausalSequential(
        CausalConv2d(1, channels, (kernel[0], 8), stride=(1, 4), dilation=(row.dilations[0], 1)),
        ResidualBlock2d(channels, kernel, dilation=(row.dilations[0], 1)),
        ResidualBlock2d(channels, kernel, dilation=(row.dilations[0], 1)),
        CausalConv2d(channels, out_channels, kernel, stride=(1, 2), dilation=(row.dilations[0], 1)),
    )
    cells = inner(torch.zeros(1, 1, 1, MELS)).shape[3]
    head = CausalConv1d(out_channels * cells, len(PHONES), 1)
    return CausalSequential(OverPicture(inner, MELS), nn.ReLU(), head)


def num_parameters(network: nn.Module) -> int:
    """Count the numbers that training sets.

    Args:
        network: any module.

    Returns:
        How many there are.
    """
    return sum(parameter.numel() for parameter in network.parameters())


@functools.cache
def widths(row: Row, parameters: int) -> tuple[int, int]:
    """Find the widths with which a row has as nearly as possible so many parameters.

    Args:
        row: the wiring.
        parameters: how many there should be.

    Returns:
        ``channels`` and ``out_channels`` of :func:`build`.
    """

    def off(channels: int, out_channels: int) -> int:
        return num_parameters(build(row, channels, out_channels)) - parameters

    with torch.random.fork_rng(devices=[]):
        channels = 2
        while off(channels + 1, channels + 1) <= 0:
            channels += 1
        near = ((c, o) for c in (channels, channels + 1) for o in range(max(2, c * 3 // 4), c * 5 // 4 + 2))
        return min(near, key=lambda pair: (abs(off(*pair)), abs(pair[0] - pair[1])))


# ---------------------------------------------------------------------------------------------------- data
@dataclass(frozen=True, eq=False)
class PhoneData:
    """Utterances as normalised log-mel frames with a phone for each.

    Attributes:
        features: one ``(80, time)`` an utterance.
        labels: one ``(time,)`` an utterance, places in ``PHONES``.
        mean: ``(80, 1)`` of the training frames, in dB; it normalises other utterances, too.
        deviation: ``(80, 1)`` of the training frames, in dB.

    Example:
        >>> from causalcnn.speech import EmbeddedSpeech
        >>> from causalcnn_book.encoders.phones import PhoneData
        >>> data = PhoneData.of(EmbeddedSpeech("test", speakers=1, seconds=2))
        >>> data.features[0].shape[0], data.features[0].shape[1] == len(data.labels[0])
        (80, True)
    """

    features: list[Tensor]
    labels: list[Tensor]
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, utterances: Iterable[Utterance], like: PhoneData | None = None) -> PhoneData:
        """Make the frames of utterances, normalised.

        Args:
            utterances: sentences with their samples and phones.
            like: the data whose statistics normalise them; default: their own.

        Returns:
            Their frames and phones.

        Raises:
            ImportError: the extra ``speech`` is not installed.
        """
        front_end, place = LogMel(), {phone: i for i, phone in enumerate(PHONES)}
        raw, labels = [], []
        for utterance in utterances:
            raw.append(front_end(utterance.tensor())[0])
            labels.append(torch.tensor([place[phone] for phone in utterance.phone_labels()]))
        if like is None:
            frames = torch.cat(raw, 1)
            mean, deviation = frames.mean(1, keepdim=True), frames.std(1, keepdim=True)
        else:
            mean, deviation = like.mean, like.deviation
        return cls([(x - mean) / deviation for x in raw], labels, mean, deviation)

    def __len__(self) -> int:
        return sum(len(labels) for labels in self.labels)

    def crops(self, number: int, frames: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw random pieces; a shorter utterance is filled with ignored frames.

        Args:
            number: how many pieces.
            frames: frames of each piece.
            draw: draws them.

        Returns:
            Features ``(number, 80, frames)`` and labels ``(number, frames)``, −100 where a frame is ignored.
        """
        x, y = torch.zeros(number, MELS, frames), torch.full((number, frames), IGNORED)
        for i, which in enumerate(torch.randint(len(self.features), (number,), generator=draw).tolist()):
            features, labels = self.features[which], self.labels[which]
            start = int(torch.randint(max(1, len(labels) - frames + 1), (), generator=draw))
            piece = features[:, start : start + frames]
            x[i, :, : piece.shape[1]], y[i, : piece.shape[1]] = piece, labels[start : start + frames]
        return x, y


# ---------------------------------------------------------------------------------------- training, scoring
def fit(
    network: nn.Module,
    data: PhoneData,
    *,
    steps: int,
    seed: int = 0,
    crops: int = CROPS,
    frames: int = CROP_FRAMES,
    learning_rate: float = LEARNING_RATE,
    progress: bool = False,
) -> list[float]:
    """Train a network to name phones: Adam, a rate that rises and falls once, random pieces of speech.

    Args:
        network: ``(batch, 80, time)`` → ``(batch, 40, time)``; it is changed.
        data: the speech that pieces are drawn from.
        steps: training steps.
        seed: draws the pieces.
        crops: pieces in a step.
        frames: frames of a piece.
        learning_rate: the highest learning rate.
        progress: whether to show a progress bar (the extra ``train``).

    Returns:
        The loss of every step, in bits a frame.

    Raises:
        ImportError: ``progress`` is on, and the extra ``train`` is not installed.
    """
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)

    def loss(step: int) -> Tensor:
        x, y = data.crops(crops, frames, draw)
        return functional.cross_entropy(network(x), y, ignore_index=IGNORED)

    network.train()
    losses = minimize(loss, optimizer, steps, scheduler=scheduler, progress=progress)
    network.eval()
    return [nats / math.log(2) for nats in losses]


@torch.no_grad()
def score(network: nn.Module, data: PhoneData) -> tuple[float, float]:
    """Score a network on every frame.

    Args:
        network: ``(batch, 80, time)`` → ``(batch, 40, time)``, in eval mode.
        data: the speech that it is scored on.

    Returns:
        The share of frames whose phone is named rightly, and the cross-entropy in bits a frame.
    """
    right, bits = 0.0, 0.0
    for x, y in zip(data.features, data.labels, strict=True):
        scores = network(x[None])[0]
        right += float((scores.argmax(0) == y).sum())
        bits += float(functional.cross_entropy(scores.T, y, reduction="sum")) / math.log(2)
    return right / len(data), bits / len(data)


# -------------------------------------------------------------------------------------------------- table
@dataclass
class Phones(Experiment):
    """Phone classification: what stacks of causal convolutions buy.

    Rows are eight wirings of the same number of parameters; each is trained on 40 speakers and scored on 20 others whom
    it has never heard, with five seeds, and the spread is that over the seeds. In the recorded table the training of
    these 40 networks took 509 seconds of one processor core.

    Attributes:
        name: the command's name.
        spread: half of the 95 % interval of the mean over seeds.
        rows: the wirings, by name.
        seeds: each draws weights and pieces anew.
        parameters: how many every network has.
        steps: training steps of each network.

    Example:
        >>> from causalcnn_book.encoders.phones import Phones
        >>> Phones.rows[:4]
        ('one_frame', 'dilation_1', 'dilation_3', 'add')
        >>> experiment = Phones(parameters=2000)
        >>> [int(experiment.build(row).field.size) for row in Phones.rows[:4]]
        [1, 9, 25, 25]
    """

    name = "phones"
    spread = OVER_SEEDS
    rows = tuple(ROWS)
    seeds = (0, 1, 2, 3, 4)

    parameters: int = option(20_000, "of every network")
    steps: int = option(400, "updates of every network")

    @cached_property
    def corpora(self) -> tuple[EmbeddedSpeech, EmbeddedSpeech]:
        """Speech to train on, and speech of other speakers to test on."""
        return EmbeddedSpeech("train", speakers=40, seconds=480), EmbeddedSpeech("test", speakers=20, seconds=120)

    @cached_property
    def data(self) -> tuple[PhoneData, PhoneData]:
        """The frames of both corpora."""
        refuse_shared(*self.corpora)
        train = PhoneData.of(self.corpora[0])
        return train, PhoneData.of(self.corpora[1], like=train)

    def build(self, row: str) -> CausalModule:
        """Build the untrained network of a row, with the experiment's number of parameters.

        Args:
            row: one of :attr:`rows`.

        Returns:
            The network.
        """
        return build(ROWS[row], *widths(ROWS[row], self.parameters))

    @override
    def measure(self, row: str, seed: int) -> dict[str, float]:
        """Train one network and score it on the test speakers.

        Args:
            row: one of :attr:`rows`.
            seed: draws the weights and the pieces.

        Returns:
            ``accuracy`` (a share of the frames) and ``bits`` (cross-entropy a frame) on the test speakers,
            ``train_bits`` (mean loss of the last 20 steps, bits a frame), and the processor's ``seconds`` of training.
        """
        train, test = self.data
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build(row)
        start = time.process_time()
        losses = fit(network, train, steps=self.steps, seed=seed)
        seconds = time.process_time() - start
        accuracy, bits = score(network, test)
        return {"accuracy": accuracy, "bits": bits, "train_bits": statistics.mean(losses[-20:]), "seconds": seconds}

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write the settings, and for each row its widths, parameters, field and scores.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            ``what``, ``settings``, ``train`` and ``test`` (corpus and frames), ``most_frequent_phone`` (its share of
            the test frames), and ``rows`` with everything by seed.
        """
        (train, test), corpora = self.data, self.corpora
        labels = torch.cat(test.labels)
        return {
            "what": "frame-wise phone classification of embedded speech, unheard speakers, no label delay",
            "settings": {
                "parameters": self.parameters,
                "steps": self.steps,
                "crops": CROPS,
                "crop_frames": CROP_FRAMES,
                "learning_rate": LEARNING_RATE,
                "learning_rate_chosen": "on validation speakers, of 0.004 and 0.01, with two rows",
            },
            "train": {"corpus": repr(corpora[0]), "frames": len(train)},
            "test": {"corpus": repr(corpora[1]), "frames": len(test)},
            "most_frequent_phone": round(float(torch.bincount(labels).max()) / len(test), 4),
            "rows": {row: self._row(row, results[row]) for row in results},
        }

    def _row(self, row: str, results: Mapping[int, Any]) -> dict[str, Any]:
        network, (channels, out_channels) = self.build(row), widths(ROWS[row], self.parameters)
        reads = network.field
        return {
            "label": ROWS[row].label,
            "channels": channels,
            "out_channels": out_channels,
            "parameters": num_parameters(network),
            "field": {"size": int(reads.size), "taps": int(reads.num_inputs), "holes": int(reads.holes)},
            **{key: summary(by_seed(results, key)) for key in ("accuracy", "bits", "train_bits")},
            "seconds": summary(by_seed(results, "seconds"), 1),
        }
