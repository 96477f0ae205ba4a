"""What the table on effective receptive fields is made of."""

from __future__ import annotations

import pytest
import torch

from causalcnn_book.dilation.phones_and_speakers import Recordings
from causalcnn_book.receptive_fields.effective_field import DILATIONS, effective_size, gradient_by_lag, network


@pytest.fixture(scope="module")
def noise() -> Recordings:
    generator = torch.Generator().manual_seed(0)
    features = tuple(torch.randn(80, 300, generator=generator) for _ in range(2))
    labels = (torch.zeros(300, dtype=torch.long),) * 2
    return Recordings(features, labels, labels, 100)


def test_nothing_outside_the_declared_field_has_influence(noise: Recordings) -> None:
    module = network("speaker", noise)
    shares = gradient_by_lag(module, noise, rows=8)
    size = int(module.field.size)  # type: ignore[union-attr,arg-type]
    assert size == 1 + 2 * sum(DILATIONS)
    assert shares[:size].min() > 0
    assert shares[size:].abs().max() == 0
    assert shares.sum().item() == pytest.approx(1)


def test_the_effective_size_counts_the_latest_frames() -> None:
    shares = torch.tensor([0.5, 0.25, 0.25])
    assert [effective_size(shares, held) for held in (0.5, 0.6, 0.75, 0.9, 1)] == [1, 2, 2, 3, 3]
    with pytest.raises(ValueError, match="held is 0"):
        effective_size(shares, 0)
