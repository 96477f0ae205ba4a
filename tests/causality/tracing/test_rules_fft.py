"""Long convolutions by the spectrum, as state-space models compute them: what is traced is what perturbation finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from causalcnn import Field, audit, receptive_field
from causalcnn.causality import NoPeriodicField, Verdict, trace
from causalcnn.causality.leak_case_layers import Apply
from tests.fuzz import examples

FRAMES = 9


def taps() -> Tensor:
    """A filter of four, made where it is used: the trace refuses what comes from outside."""
    return torch.linspace(0.5, 1.5, 4, dtype=torch.float64)


def there(x: Tensor, n: int) -> Tensor:
    return torch.fft.rfft(x, n)


def again(spectrum: Tensor, n: int) -> Tensor:
    return torch.fft.irfft(spectrum, n)[..., :FRAMES]


def late(x: Tensor) -> Tensor:
    """Two frames later."""
    return nn.functional.pad(x, (2, 0))[..., :-2]


def perturbed(function: Callable[[Tensor], Tensor], channels: int) -> list[set[int]]:
    """For each output frame the input frames that move it by more than rounding."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, channels, FRAMES, generator=generator, dtype=torch.float64) + 0.5
    y = function(x)
    found: list[set[int]] = [set() for _ in range(y.shape[2])]
    for t in range(FRAMES):
        other = x.clone()
        other[:, :, t] += 1 + torch.rand(1, channels, generator=generator, dtype=torch.float64)
        moved = ((function(other) - y).abs() > 1e-9).transpose(0, 2).flatten(1).any(1)
        for u in moved.nonzero().flatten().tolist():
            found[u].add(t)
    return found


def traced(function: Callable[[Tensor], Tensor], channels: int) -> list[set[int]]:
    seen = trace(Apply(function), torch.ones(1, channels, FRAMES, dtype=torch.float64))
    return [set(seen.inputs_of(u)) for u in range(seen.frames[1])]


def mixed(x: Tensor, n: int = 12) -> Tensor:
    """From each channel to each, by a filter of its own; the second hears the first one late only."""
    filters = taps() * torch.ones(2, 2, 1, dtype=x.dtype)
    later = torch.tensor([[[1.0], [1.0]], [[0.0], [1.0]]], dtype=x.dtype)
    filters = torch.cat([filters[..., :2] * later, filters[..., 2:]], -1)
    return again(torch.einsum("bif,oif->bof", there(x, n), there(filters, n)), n)


def written_in_place(x: Tensor, n: int = 12) -> Tensor:
    spectrum = there(x, n)
    spectrum *= there(taps(), n)
    return again(spectrum, n)


def by_frames_first(x: Tensor, n: int = 12) -> Tensor:
    """Time on axis 1, as sequence models have it."""
    spectrum = torch.fft.rfft(x.mT, n, dim=1) * torch.fft.rfft(taps()[:, None], n, dim=0)
    return torch.fft.irfft(spectrum, n, dim=1)[:, :FRAMES].mT


def by_complex(x: Tensor, n: int = 12) -> Tensor:
    return torch.fft.ifft(torch.fft.fft(x, n) * torch.fft.fft(taps(), n)).real[..., :FRAMES]


def heads(x: Tensor, n: int = 12) -> Tensor:
    """Each channel by three filters."""
    filters = there(taps() * torch.ones(3, 2, 1, dtype=x.dtype), n)
    return again(torch.einsum("bhl,chl->bchl", there(x, n), filters), n).flatten(1, 2)


def into_a_view(x: Tensor) -> Tensor:
    """A view that overlaps itself, and has as many numbers as the spectrum has."""
    spectrum = there(x, 12)
    spectrum[0, :3].unfold(0, 2, 1).mul_(2.0)
    return again(spectrum, 12)[:, 3:]


def real_view(x: Tensor) -> Tensor:
    """Numbers of a spectrum, no longer complex, times a spectrum."""
    ones = torch.fft.rfft(torch.ones(1, dtype=x.dtype), 3)
    return (torch.view_as_real(torch.fft.rfft(x[..., :3], 3)) * ones[:, None]).real.flatten(2)


EXACT: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "zeros enough": (2, lambda x: again(there(x, 12) * there(taps(), 12), 12)),
    "one zero too few": (2, lambda x: again(there(x, 11) * there(taps(), 11), 11)),
    "around the circle": (2, lambda x: again(there(x, 9) * there(taps(), 9), 9)),
    "the filter first": (2, lambda x: again(there(taps(), 13) * there(x, 13), 13)),
    "a filter with a hole": (1, lambda x: again(there(x, 12) * there(nn.functional.pad(taps()[:2], (2, 0)), 12), 12)),
    "a centred filter": (1, lambda x: torch.fft.irfft(there(x, 12) * there(taps(), 12), 12)[..., 2 : 2 + FRAMES]),
    "twice": (1, lambda x: again(there(x, 16) * there(taps(), 16) * there(taps(), 16), 16)),
    "squared": (1, lambda x: again(there(x[..., :5], 12) * there(x[..., :5], 12), 12)),
    "a filter made of the input": (2, lambda x: again(there(x, 12) * there(late(x)[:, :1, :4], 12), 12)),
    "two branches": (1, lambda x: again(there(x, 12) * there(taps(), 12) + there(late(x), 12), 12)),
    "less a branch": (1, lambda x: again(there(late(x), 12) - there(late(x), 12) * there(taps(), 12), 12)),
    "halved and turned": (1, lambda x: again(-(there(x, 12) * there(taps(), 12)) / 2, 12)),
    "gains of lines": (2, lambda x: again(there(x, 12) * torch.tensor([[1.0], [2.0]]), 12)),
    "gains made of the input": (2, lambda x: again(there(x, 12) * x[:, :, :1], 12)),
    "a number first": (1, lambda x: again(2 * there(x, 12), 12)),
    "channels joined": (3, lambda x: again((there(x, 12) * there(taps(), 12)).sum(1, keepdim=True), 12)),
    "channels dropped": (3, lambda x: again((there(x, 12)[:, :, None] * there(taps(), 12)).sum(2), 12)),
    "one channel": (2, lambda x: again(there(torch.stack([x[:, 0], late(x)[:, 1]], 1), 12)[:, 1:], 12)),
    "a copy": (2, lambda x: again(there(x, 12).transpose(1, 2).contiguous().transpose(1, 2) * there(taps(), 12), 12)),
    "time on axis 1": (2, by_frames_first),
    "complex numbers": (2, by_complex),
    "heads": (2, heads),
    "channels mixed": (2, mixed),
    "in place": (2, written_in_place),
    "no axis": (2, lambda x: torch.fft.ifftn(x.to(torch.complex128), dim=()).real),
}

NOT_FOLLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "a filter of its own at each frequency": lambda x: again(there(x, 12) * torch.linspace(0, 1, 7), 12),
    "a correlation": lambda x: again(there(x, 12) * there(taps(), 12).conj(), 12),
    "frequencies in another order": lambda x: again(there(x, 12).flip(-1), 12),
    "written over": lambda x: again(there(x, 12).index_fill_(2, torch.tensor([3]), 0), 12),
    "another length back": lambda x: again(there(x, 12) * there(taps(), 12), 10),
    "the spectrum itself": lambda x: there(x, 16).abs(),
    "spectra of other lengths": lambda x: again(there(x, 12) * there(taps(), 13), 12),
    "turned by a quarter": lambda x: again(1j * there(x, 12), 12),
    "turned, line by line": lambda x: again(there(x, 12) * torch.tensor([[1j]]), 12),
    "added with a turn": lambda x: again(torch.add(there(x, 12), there(x, 12), alpha=1j), 12),
    "without its imaginary part": lambda x: again(there(x, 12).to(torch.float64).to(torch.complex128), 12),
    "a sum of real parts": lambda x: again(there(x, 12).sum(1, keepdim=True, dtype=x.dtype) * there(taps(), 12), 12),
    "a view that overlaps itself": lambda x: into_a_view(x.expand(1, 4, FRAMES)),
    "there and there": lambda x: torch.fft.fft(torch.fft.fft(x, 12)).real,
}


@pytest.mark.parametrize("name", EXACT)
def test_a_product_of_spectra_reads_what_its_circular_convolution_reads(name):
    channels, function = EXACT[name]
    assert traced(function, channels) == perturbed(function, channels)


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_whatever_else_is_done_to_a_spectrum_reads_everything(name):
    if name == "spectra of other lengths":  # 12 and 13 places have as many frequencies
        assert there(taps(), 12).shape == there(taps(), 13).shape
    function = NOT_FOLLOWED[name]
    found = traced(function, 1)
    assert all(moved <= read for moved, read in zip(perturbed(function, 1), found, strict=True))
    assert found[0] == set(range(FRAMES))


def test_a_view_of_a_spectrum_as_real_numbers_is_no_spectrum():
    assert all(read >= {0, 1, 2} for read in traced(real_view, 1))


class LongConvolution(nn.Module):
    """By the spectrum; ``missing`` of the zeros that it needs are not there."""

    def __init__(self, taps: int, missing: int = 0) -> None:
        super().__init__()
        self.weight, self.missing = nn.Parameter(torch.ones(2, taps)), missing

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[2] + self.weight.shape[1] - 1 - self.missing
        return torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(self.weight, n), n)[..., : x.shape[2]]


@settings(max_examples=examples(25), deadline=None)
@given(taps=st.integers(1, 20), before=st.integers(1, 3))
def test_its_field_is_that_of_the_same_convolution_written_out(taps, before):
    network = nn.Sequential(
        nn.ConstantPad1d((before - 1, 0), 0.0), nn.Conv1d(2, 2, before), nn.Tanh(), LongConvolution(taps)
    )
    assert receptive_field(network, (1, 2, 40)) == Field.conv(before).then(Field.conv(taps))


@settings(max_examples=examples(10), deadline=None)
@given(taps=st.integers(2, 12), missing=st.integers(1, 5))
def test_zeros_that_are_missing_are_a_leak(taps, missing):
    report = audit(LongConvolution(taps, min(missing, taps - 1)), (2, 2, 40))
    assert report.verdict is Verdict.LOOKS_AHEAD
    assert report.observed == 39
    assert "spectrum" in report.kind


class Cropped(nn.Module):
    """A filter of a hundred taps with as many zeros as the recording has frames: enough for a long recording only."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gate = nn.Parameter(torch.ones(1, 100)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        n = 2 * x.shape[2]
        y = torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(self.weight, n), n)
        return x + self.gate * y[..., : x.shape[2]]


def test_a_leak_on_short_recordings_only_is_a_leak_though_its_gate_is_closed():
    report = audit(Cropped(), (2, 1, 40))
    assert report.verdict is Verdict.LOOKS_AHEAD
    assert report.observed == 0
    assert "others may show it" in str(report)
    with pytest.raises(
        NoPeriodicField, match=r"what it reads depends on how long the input is\. On 32 frames output 0"
    ):
        receptive_field(Cropped(), (2, 1, 40))


class InSinglePrecision(LongConvolution):
    """As it is written under autocast, where there is no spectrum of half precision."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[2] + self.weight.shape[1] - 1
        y = torch.fft.irfft(torch.fft.rfft(x.float(), n) * torch.fft.rfft(self.weight.float(), n), n)
        return y[..., : x.shape[2]].type_as(x)


def test_a_network_that_computes_in_float32_may_round_as_float32_does():
    report = audit(InSinglePrecision(8), (2, 2, 40))
    assert report.passed
    assert report.receptive_field == Field.conv(8)
    assert report.rounding is not None
    assert 1e-9 < report.rounding < 1e-4


class StateSpace(nn.Module):
    """A diagonal state-space layer: its filter is as long as the recording."""

    def __init__(self, short: bool = False) -> None:
        super().__init__()
        self.rate, self.read = nn.Parameter(torch.rand(2, 4) + 0.1), nn.Parameter(torch.ones(2, 4))
        self.into = nn.Conv1d(2, 2, 3, padding=2) if short else None

    def times(self, frames: int) -> Tensor:
        return torch.arange(frames)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[2]
        x = x if self.into is None else self.into(x)[..., :frames]
        kernel = (self.read[..., None] * torch.exp(-self.rate[..., None] * self.times(frames))).sum(1)
        spectrum = torch.fft.rfft(x, 2 * frames) * torch.fft.rfft(kernel, 2 * frames)
        return torch.fft.irfft(spectrum, 2 * frames)[..., :frames]


@pytest.mark.parametrize("short", [False, True])
def test_a_state_space_model_is_causal_and_reads_all_the_past(short):
    report = audit(StateSpace(short), (2, 2, 40))
    assert report.passed
    assert str(report.receptive_field) == "reads all the past; never looks ahead"
    assert report.rounding is not None  # its numbers, unlike its structure, do see a little of the future
    assert report.rounding < 1e-10


class Stretched(StateSpace):
    """Its filter is stretched over the recording, however long that is."""

    def times(self, frames: int) -> Tensor:
        return torch.linspace(0, 1, frames, dtype=torch.float64)


def test_a_filter_that_is_stretched_over_the_recording_knows_its_length():
    report = audit(Stretched(), (2, 2, 40))
    assert report.verdict is Verdict.LOOKS_AHEAD
    assert report.culprit is None
    assert "computed from the length of the recording" in str(report)
    assert "these weights hide" not in str(report)
