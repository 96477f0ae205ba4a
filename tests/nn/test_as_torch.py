"""The convolutions take the place of torch's: its names, its order, its initialisation, its norms and its pruning."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from causalcnn import CausalConv1d, CausalConv2d, CausalModule, audit, check_contract, receptive_field
from causalcnn.nn import CausalConvTranspose1d, CausalConvTranspose2d, CausalSequential, ResidualBlock1d

LAYERS = {
    "1d": (lambda: CausalConv1d(2, 4, 3, dilation=2), nn.Conv1d, (2, 2, 14)),
    "strided": (lambda: CausalConv1d(2, 4, 3, 2, convention="block"), nn.Conv1d, (2, 2, 14)),
    "2d": (lambda: CausalConv2d(2, 4, (2, 3), stride=(1, 2)), nn.Conv2d, (2, 2, 9, 5)),
    "transposed 1d": (lambda: CausalConvTranspose1d(2, 4, 4, 2), nn.ConvTranspose1d, (2, 2, 9)),
    "transposed 2d": (lambda: CausalConvTranspose2d(2, 4, (3, 4), (1, 2)), nn.ConvTranspose2d, (2, 2, 7, 3)),
}


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


NORMS = {
    "old weight norm": nn.utils.weight_norm,
    "new weight norm": parametrizations.weight_norm,
    "old spectral norm": nn.utils.spectral_norm,
    "new spectral norm": parametrizations.spectral_norm,
    "pruning": pruned,
}


def assert_one_function(layer: CausalModule, x: Tensor) -> None:
    """Forward, steps and stream say the same, the streamed ones first: no forward has gone before them."""
    stream, state, steps, streamed = layer.stream(), layer.initial_state(x), [], []
    with torch.no_grad():
        for piece in x.split([1, 0, 3, 1, x.shape[2] - 5], dim=2):
            streamed.append(stream(piece))
            y, state = layer.step(piece, state)
            steps.append(y)
        whole = layer(x)
    torch.testing.assert_close(torch.cat(steps, 2), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat(streamed, 2), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_one_of_torch_and_has_its_attributes(name):
    make, kind, shape = LAYERS[name]
    layer, plain = make(), kind(2, 4, 3)
    assert isinstance(layer, kind)
    assert isinstance(layer, CausalModule)
    for attribute in ("kernel_size", "stride", "dilation", "padding"):
        assert isinstance(getattr(layer, attribute), tuple)
        assert len(getattr(layer, attribute)) == len(shape) - 2
    assert (layer.in_channels, layer.out_channels, layer.groups) == (2, 4, 1)
    assert layer.padding[0] == 0
    assert layer.padding_mode == "zeros"
    assert layer.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_whole_steps_and_stream_agree_under_a_norm_and_after_its_weights_have_moved(name, norm):
    make, _, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, x = NORMS[norm](make().double()).eval(), torch.randn(shape, dtype=torch.float64)
    assert_one_function(layer, x)
    with torch.no_grad():  # as an optimizer does, between two forwards
        for parameter in layer.parameters():
            parameter.mul_(1.5).add_(0.1)
    assert_one_function(layer, x)
    check_contract(layer, x)
    assert_one_function(layer, x)  # the layer itself is as it was


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_does_the_same_and_stands_alone(name, copied):
    make, _, shape = LAYERS[name]
    layer, x = make().double(), torch.randn(shape, dtype=torch.float64)
    other = copied(layer)
    assert torch.equal(other(x), layer(x))
    assert_one_function(other, x)
    with torch.no_grad():
        layer.weight.zero_()
    assert other.weight.abs().min() > 0


def test_a_loop_over_torchs_convolutions_finds_them_all():
    network = CausalSequential(CausalConv1d(2, 4, 3), ResidualBlock1d(4, dilations=(3, 1)), CausalConv1d(4, 2, 1))
    found = [module for module in network.modules() if isinstance(module, nn.Conv1d)]
    assert len(found) == 4
    for module in found:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
    check_contract(network.double(), torch.randn(2, 2, 20, dtype=torch.float64))


def test_nobody_runs_torchs_own_forward():
    """What audits and declares is the causal layer: it reads no frame of the future, whatever its class is."""
    layer = CausalConv1d(1, 1, 3, dilation=2)
    assert receptive_field(layer, (1, 1, 20)) == layer.field
    assert audit(layer, (1, 1, 20)).passed
    assert layer(torch.zeros(1, 1, 7)).shape == (1, 1, 7)  # torch's would give 3


def test_the_arguments_come_in_torchs_order():
    assert CausalConv1d(2, 4, 3, 2, 0, 5, 2, False).stride == (2,)
    ours, plain = CausalConv1d(2, 4, 3, 1, 0, 5, 2, False), nn.Conv1d(2, 4, 3, 1, 0, 5, 2, False)
    assert (ours.dilation, ours.groups, ours.bias) == (plain.dilation, plain.groups, plain.bias)
    up = CausalConvTranspose1d(2, 4, 3, 2, 0, 0, 2, False, 5, "zeros", "cpu", torch.float64)
    assert (up.stride, up.groups, up.bias, up.dilation, up.weight.dtype) == ((2,), 2, None, (5,), torch.float64)


def test_what_is_padded_is_said():
    x = torch.randn(1, 2, 20)
    for layer in (
        CausalConv1d(2, 3, 4, 3),
        CausalConv1d(2, 3, 2, 4, convention="block"),
        CausalConv1d(2, 3, 3, 1, 0, 4),
    ):
        plain = nn.functional.conv1d(
            nn.functional.pad(x, (layer.left_padding, 0)), layer.weight, layer.bias, layer.stride, 0, layer.dilation
        )
        torch.testing.assert_close(layer(x), plain[:, :, : layer(x).shape[2]])
    assert CausalConv1d(1, 1, 3, dilation=4).left_padding == 8
    assert CausalConv1d(1, 1, 1, 4, convention="block").left_padding == -3  # three frames that nobody reads


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CausalConv1d(1, 1, 3, padding=1), "padding is 1.*left_padding"),
        (lambda: CausalConv1d(1, 1, 3, padding="same"), "padding is 'same'"),
        (lambda: CausalConv2d(1, 1, 3, padding=(0, 1)), r"padding is \(0, 1\).*frequency_padding"),
        (lambda: CausalConvTranspose1d(1, 1, 4, 2, 1), "padding is 1"),
        (lambda: CausalConvTranspose1d(1, 1, 4, 2, 0, 1), "output_padding is 1"),
        (lambda: CausalConvTranspose1d(3, 4, 4, groups=2), "groups is 2"),
        (lambda: CausalConvTranspose2d(1, 1, 3, dilation=0), "dilation is 0"),
    ],
)
def test_what_torch_takes_and_time_does_not_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 3), (2, 1), (3, 2), (4, 2), (3, 5)])
def test_transposes_with_dilation_and_groups_keep_the_contract(kernel, stride, dilation, groups):
    layer = CausalConvTranspose1d(2, 4, kernel, stride, dilation=dilation, groups=groups, dtype=torch.float64)
    x = torch.randn(2, 2, 9, dtype=torch.float64)
    check_contract(layer, x)
    plain = nn.functional.conv_transpose1d(x, layer.weight, layer.bias, stride, 0, 0, groups, dilation)
    shared = min(plain.shape[2], layer(x).shape[2])
    torch.testing.assert_close(layer(x)[:, :, :shared], plain[:, :, :shared], rtol=1e-12, atol=1e-12)
    flat = CausalConvTranspose2d(
        2, 4, (kernel, 4), (stride, 2), dilation=(dilation, 1), groups=groups, frequency_padding=1
    )
    check_contract(flat.double(), torch.randn(2, 2, 5, 3, dtype=torch.float64))


def test_a_pruned_tap_belongs_to_the_field_all_the_same():
    layer = prune.l1_unstructured(CausalConv1d(1, 1, 5), "weight", 0.6)
    check_contract(layer, torch.randn(2, 1, 9))


def test_sizes_in_torchs_form_are_taken():
    layer = CausalConv1d(2, 2, (3,), stride=(2,), padding="valid", dilation=(2,))
    assert (layer.kernel_size, layer.stride, layer.dilation) == ((3,), (2,), (2,))


def test_along_frequency_a_layer_without_axes_reads_what_it_reads_along_time():
    network = CausalSequential(nn.ReLU())
    assert receptive_field(network, (1, 4, 10, 8), axis="frequency").inputs_of(0) == {0}
