"""An autoregressive model as a network along the frequencies of one frame, to audit their order like time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.models.autoregressive import AutoregressiveModel

__all__ = ["WithinFrame"]


class WithinFrame(nn.Module):
    """One frame, its values from low to high frequency; the frames before it are given and stay as they are.

    Output ``n`` holds the parameters of value ``n + 1``, given this frame's values up to ``n``. So this
    network is causal just where the model reads nothing of the present frame but lower frequencies: a look-ahead of
    one here is a model that reads the very value that it predicts. Over (time, frequency) an audit judges frames,
    and a model that reads the present frame from above passes it. The two together leave a value nothing but
    earlier frames and lower frequencies.

    Args:
        model: it is held, not copied.
        frames: how many came before.
        seed: of the noise that they hold.

    Shape:
        ``(batch, 1, length)`` → ``(batch, distribution.size, length)``, for a length of at most ``mels``.

    Raises:
        ValueError: an input of another shape.

    Example:
        >>> from causalcnn import audit
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig
        >>> model = PixelCNN(PixelCNNConfig(mels=8, channels=4))
        >>> audit(WithinFrame(model), (1, 1, 8)).passed
        True
    """

    before: Tensor

    def __init__(self, model: AutoregressiveModel, *, frames: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        noise = torch.rand(1, 1, frames, model.config.mels, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        self.register_buffer("before", noise.to(next(model.parameters())))

    def forward(self, x: Tensor) -> Tensor:
        """The parameters of the values that follow in this frame."""
        mels = self.model.config.mels
        if x.dim() != 3 or x.shape[1] != 1 or x.shape[2] > mels:
            raise ValueError(f"the input has shape {tuple(x.shape)}; one frame is (batch, 1, at most {mels} values)")
        frame = F.pad(x, (0, mels - x.shape[2])).unsqueeze(2)
        values = torch.cat([self.before.expand(x.shape[0], -1, -1, -1), frame], dim=2)
        parameters = self.model(values)[:, :, -1]
        # None follows the last value: there stand those of the first of a frame, which reads none of it.
        return parameters.roll(-1, 2)[:, :, : x.shape[2]]
