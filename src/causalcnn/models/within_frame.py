"""An autoregressive model as a network along the frequencies of one frame, so that their order is audited like time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from causalcnn.models.autoregressive import AutoregressiveModel

__all__ = ["WithinFrame"]


class WithinFrame(nn.Module):
    """An autoregressive model along the values of one frame, from low to high frequency.

    The frames before it are noise and stay as they are. The axis of frequency takes the place of time, so that
    :func:`causalcnn.audit` can judge the order within a frame.

    Output ``n`` holds the parameters of value ``n + 1``, given this frame's values up to ``n``. So this network is
    causal exactly if the model reads nothing of the present frame but lower frequencies. If it looks ahead by one
    value, the model reads the very value that it predicts. An audit of the model itself judges whole frames: it does
    not see that a value reads a higher frequency of its own frame. A model that passes both audits reads nothing but
    earlier frames and lower frequencies.

    Args:
        model: the model; it is held, not copied.
        frames: how many frames come before this one.
        seed: the seed of the noise in them.

    Attributes:
        before: the frames before this one, noise from −1 to 1, ``(1, input_channels, frames, cells)``.

    Shape:
        ``(batch, input_channels, length)`` → ``(batch, distribution.size, length)``, for a length of at most
        ``cells``.

    Example:
        >>> import torch
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig, WithinFrame
        >>> _ = torch.manual_seed(0)
        >>> network, frame = WithinFrame(PixelCNN(PixelCNNConfig(mels=8))), torch.zeros(1, 1, 8, requires_grad=True)
        >>> network(frame)[0, :, 4].sum().backward()  # the parameters of value 5 depend on the values 0 to 4
        >>> frame.grad[0, 0].ne(0).tolist()
        [True, True, True, True, True, False, False, False]
    """

    before: Tensor

    def __init__(self, model: AutoregressiveModel, *, frames: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        shape = (1, model.input_channels, frames, model.cells)
        noise = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        self.register_buffer("before", noise.to(next(model.parameters())))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the parameters of the value that follows each value of the frame.

        Args:
            x: what the network reads of the values of the frame, from the lowest on,
                ``(batch, input_channels, length)``.

        Returns:
            The parameters, ``(batch, distribution.size, length)``. No value follows the last of a whole frame; there
            stand the parameters of the first value, which reads nothing of the frame.

        Raises:
            ValueError: an input of another shape.
        """
        channels, cells = self.model.input_channels, self.model.cells
        if x.dim() != 3 or x.shape[1] != channels or x.shape[2] > cells:
            raise ValueError(
                f"the input has shape {tuple(x.shape)}; one frame is (batch, {channels}, at most {cells} values)"
            )
        frame = F.pad(x, (0, cells - x.shape[2])).unsqueeze(2)
        values = torch.cat([self.before.expand(x.shape[0], -1, -1, -1), frame], dim=2)
        parameters = self.model(values)[:, :, -1]
        # No value follows the last one: those of the first value stand there, which reads nothing of the frame.
        return parameters.roll(-1, 2)[:, :, : x.shape[2]]
