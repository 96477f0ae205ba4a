"""What the tests of the autoregressive models share."""

import torch

from causalcnn.speech import Batch


def lively(model, seed=0):
    """A model that says something else of every value, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)
    return model


def batch_of(rows=2, frames=12, mels=9):
    """Noise of the level of speech."""
    features = torch.randn(rows, mels, frames, generator=torch.Generator().manual_seed(0)) * 15 - 30
    return Batch(features, torch.ones(rows, frames, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64))
