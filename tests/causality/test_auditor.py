"""The auditor on networks that are not ours, on what it cannot know, on rounding, and from the command line."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalcnn import CausalConv1d, CausalConv2d, Field, audit, measure_field, receptive_field
from causalcnn.causality import Verdict, linearized_copy
from causalcnn.causality.leak_case_layers import Apply
from causalcnn.causality.leak_cases import cpc_encoder
from causalcnn.causality.numerics import removing_switch
from causalcnn.speech import LogMel


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class ReflectConv(nn.Module):
    """As EnCodec's causal convolution by default: reflect padding on the left, of kernel − stride."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.before = kernel - stride
        self.conv = nn.Conv1d(ins, outs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.before, 0), mode="reflect"))


def test_pytorch_tcn_is_causal_when_it_says_so_and_not_when_it_does_not():
    tcn = pytest.importorskip("pytorch_tcn")
    report = audit(tcn.TCN(2, [3, 3], kernel_size=3, causal=True, dropout=0.0), (1, 2, 48))
    assert report.passed, str(report)
    report = audit(tcn.TCN(2, [3, 3], kernel_size=3, causal=False, dropout=0.0).eval(), (1, 2, 48))
    assert (report.verdict, report.lookahead) == (Verdict.LOOKS_AHEAD, 6)
    assert report.culprit == "network.0.conv1"


def test_the_first_convolution_of_an_encodec_like_encoder_reads_6_4_2_ahead():
    report = audit(ReflectConv(1, 4, 7), (1, 1, 60))
    assert dict(report.frames) == {0: 6, 1: 4, 2: 2}
    assert "reflect" in report.kind
    encoder = nn.Sequential(ReflectConv(1, 4, 7), nn.ELU(), ReflectConv(4, 4, 4, 2), nn.ELU(), ReflectConv(4, 4, 4, 2))
    report = audit(encoder, (1, 1, 96), convention="block")
    assert (report.verdict, report.culprit) == (Verdict.LOOKS_AHEAD, "0")


def test_cpc_reads_152_samples_past_its_hop():
    report = audit(cpc_encoder(), (1, 1, 800), convention="block")
    assert (report.lookahead, report.stride, report.culprit) == (152, 160, "0")
    assert report.observed == 152


def test_two_dimensions_and_our_own_layers():
    report = audit(CausalConv2d(1, 2, 3, dilation=(2, 1)), (1, 1, 32, 9))
    assert report.passed
    assert any(item.probe == "uneven pieces" and item.good for item in report.evidence)
    leaking = nn.Sequential(CausalConv2d(1, 2, 3), nn.Conv2d(2, 1, 3, padding=1))
    report = audit(leaking, (1, 1, 32, 9))
    assert (report.lookahead, report.culprit) == (1, "1")
    block = CausalConv1d(1, 1, 4, stride=4, convention="block")
    assert audit(block, (1, 1, 64)).passed
    assert audit(block, (1, 1, 64), convention="strict").lookahead == 3


def test_a_network_for_one_length_only_is_judged_at_that_length():
    report = audit(nn.Sequential(CausalConv1d(2, 2, 3), nn.LayerNorm(40)), (1, 2, 40))
    assert (report.verdict, report.culprit) == (Verdict.LOOKS_AHEAD, "1")
    assert "normalises over time" in report.kind


def decides_on_the_data(x: Tensor) -> Tensor:
    return x if float(x[:, :, 0].sum()) > 0 else -x


def jumps_when_the_end_is_loud(x: Tensor) -> Tensor:
    return x if float(x[:, :, -1].abs().max()) < 50 else -x


def test_what_cannot_be_followed_is_unknown_or_refuted_but_never_called_causal():
    report = audit(Apply(decides_on_the_data), (1, 2, 40))
    assert report.verdict is Verdict.UNKNOWN
    assert not report.passed
    assert "cannot follow" in str(report)
    assert audit(Apply(jumps_when_the_end_is_loud), (1, 2, 40)).verdict is Verdict.LOOKS_AHEAD


def test_the_module_is_left_as_it_was():
    net = nn.Sequential(CausalConv1d(1, 2, 3), nn.BatchNorm1d(2))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    report = audit(net, torch.randn(2, 1, 40, generator=torch.Generator().manual_seed(0)))
    assert report.rows_mix
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert audit(net.eval(), (2, 1, 40)).passed


def test_numerical_mode_tells_rounding_from_structure():
    net = nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(8, 8, 3))
    with torch.backends.mkldnn.flags(enabled=False):
        report = audit(net, (16, 8, 64), mode="numerical")
    assert report.verdict is Verdict.CAUSAL
    if report.rounding is None:
        pytest.skip("this build has no NNPACK kernel for such a convolution: there is nothing to see")
    assert 0 < report.rounding < 1e-2
    assert "nnpack" in str(report.remedy)


def test_numerical_mode_still_finds_a_structural_leak():
    report = audit(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 40), mode="numerical")
    assert (report.verdict, report.rounding) == (Verdict.LOOKS_AHEAD, None)


def test_bad_questions_get_clear_errors():
    net = nn.Conv1d(1, 1, 1)
    with pytest.raises(ValueError, match="mode"):
        audit(net, (1, 1, 40), mode="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="convention"):
        audit(net, (1, 1, 40), convention="loose")
    with pytest.raises(ValueError, match="at least 4"):
        audit(net, (1, 1, 3))
    with pytest.raises(ValueError, match="timeout_s"):
        audit(net, (1, 1, 40), timeout_s=0)
    with pytest.raises(ValueError, match="no tensor"):
        audit(net, torch.ones(40))
    with pytest.raises(ValueError, match="complex64"):
        audit(net, torch.ones(1, 1, 40, dtype=torch.complex64))


def test_a_report_is_readable_as_text_and_html():
    report = audit(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 40))
    text = str(report)
    assert text.startswith("Conv1d looks 1 frame ahead (strict)")
    assert "cannot see" in text
    html = report._repr_html_()
    assert "looks 1 frame ahead" in html
    assert html.count("<tr>") == 1 + len(report.evidence)


class AfterConv(nn.Module):
    """A causal convolution, and behind it whatever is asked for, frame by frame."""

    def __init__(self, function) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv1d(2, 2, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(F.pad(x, (2, 0))), self.training)


@pytest.mark.parametrize(
    "function",
    [lambda y, training: F.dropout(y, 0.2, training), lambda y, _: y + torch.randn_like(y)],
    ids=["functional dropout", "noise"],
)
def test_random_numbers_that_depend_on_the_length_are_no_future(function):
    report = audit(AfterConv(function).train(), (1, 2, 40))
    assert (report.verdict, report.observed) == (Verdict.CAUSAL, 0)
    assert "draws random numbers" in str(report)
    assert "draws random numbers" not in str(audit(AfterConv(lambda y, _: y), (1, 2, 40)))


def test_a_random_network_that_leaks_is_still_found():
    report = audit(AfterConv(lambda y, _: y.roll(-1, 2) + torch.randn_like(y)), (1, 2, 40))
    assert report.verdict is Verdict.LOOKS_AHEAD
    assert report.observed > 0


def test_what_is_infinite_or_no_number_in_both_runs_did_not_move():
    example = torch.randn(2, 2, 40, generator=torch.Generator().manual_seed(0))
    assert audit(AfterConv(lambda y, _: torch.log(torch.relu(y))), example).verdict is Verdict.CAUSAL
    example[0, 0, 20] = torch.nan
    assert audit(AfterConv(lambda y, _: y), example).verdict is Verdict.CAUSAL


def weight_normed(ins: int, outs: int, kernel: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in every TCN there is
        return torch.nn.utils.weight_norm(nn.Conv1d(ins, outs, kernel))


class KeepsAnActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 1)
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.conv(x)
        self.kept = [self.last]
        return self.last


def test_networks_that_deepcopy_refuses_are_audited_and_left_as_they_were():
    net = nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), weight_normed(2, 2, 3))
    assert audit(net, (1, 2, 40)).passed
    assert receptive_field(net, (1, 2, 40)) == Field.conv(3)
    assert measure_field(net, torch.zeros(1, 2, 8))[(5,)] == {3, 4, 5}
    assert audit(nn.Sequential(nn.ConstantPad1d((1, 1), 0.0), weight_normed(2, 2, 3)), (1, 2, 40)).lookahead == 1
    keeps = KeepsAnActivation()
    last = keeps(torch.ones(1, 2, 8))
    assert audit(keeps, (1, 2, 40)).passed
    assert keeps.last is last
    assert last.requires_grad


def test_the_linearized_copy_makes_a_normed_weight_from_its_own_parts():
    net = weight_normed(2, 2, 3)
    nn.init.zeros_(net.weight_g)
    linear = linearized_copy(net)
    y = linear(torch.ones(1, 2, 3, dtype=torch.float64))
    assert linear.weight.dtype == torch.float64
    assert (y > 0).all()


def test_a_module_whose_convention_is_neither_is_judged_by_the_strict_one():
    report = audit(LogMel("centered"), (1, 1, 1600))
    assert (report.verdict, report.convention) == (Verdict.LOOKS_AHEAD, "strict")


class StartsFromZeros(nn.Module):
    """A recurrent network whose first state is made in its forward, in torch's default dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.transpose(1, 2), torch.zeros(1, x.shape[0], 3))[0].transpose(1, 2)


@pytest.mark.parametrize("mode", ["exact", "numerical"])
def test_a_forward_that_makes_its_own_tensors_is_audited_in_float64(mode):
    assert audit(StartsFromZeros(), (1, 2, 40), mode=mode).passed
    assert torch.get_default_dtype() == torch.float32


def fails(x: Tensor) -> Tensor:
    raise OSError("no such disc")


def test_an_error_of_the_network_is_an_answer_and_leaves_torch_as_it_was():
    report = audit(Apply(fails), (1, 2, 40))
    assert (report.verdict, report.passed) == (Verdict.UNKNOWN, False)
    assert report.problem == "the network fails on the example: OSError: no such disc"
    assert "OSError: no such disc" in report.evidence[0].result
    assert torch.get_default_dtype() == torch.float32


def test_a_network_that_returns_nothing_over_time_is_unknown_with_what_it_returns():
    assert "but no tensor" in audit(Apply(lambda x: None), (1, 2, 40)).problem
    report = audit(Apply(lambda x: (x.square().mean(), x[:, 0].mean(1))), (1, 2, 40))
    assert "output[0] of shape (), output[1] of shape (1,)" in report.problem


@pytest.mark.parametrize(
    ("net", "example"), [(nn.Conv1d(2, 2, 3, padding=1), (1, 2, 40)), (nn.Conv2d(1, 1, 3, padding=1), (1, 1, 4, 40))]
)
def test_time_may_be_counted_from_the_last_axis(net, example):
    counted, named = (audit(net, example, time_axis=axis) for axis in (-1, len(example) - 1))
    assert (counted.verdict, counted.lookahead, str(counted)) == (Verdict.LOOKS_AHEAD, 1, str(named))
    assert receptive_field(net, example, time_axis=-1) == receptive_field(net, example, time_axis=len(example) - 1)


@pytest.mark.parametrize("axis", [0, 3, -3])
def test_an_axis_that_is_not_there_is_named(axis):
    for ask in (audit, receptive_field):
        with pytest.raises(ValueError, match=f"time_axis is {axis}; .* axes 1 to 2"):
            ask(nn.Conv1d(2, 2, 3), (1, 2, 40), time_axis=axis)


def test_numerical_mode_brings_the_example_to_the_module():
    example = torch.randn(2, 2, 40, generator=torch.Generator().manual_seed(0))
    report = audit(nn.Conv1d(2, 2, 1).bfloat16(), example, mode="numerical")
    assert report.passed
    assert "changed future on cpu, bfloat16" in str(report)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has the older names alone")
def test_switches_go_by_their_newer_names_where_those_are_in_use():
    def known() -> list[str]:
        return [name for name in removing_switch("cuda", lambda: 1.0)[1] if "tf32" in name or "fp32" in name]

    conv, matmul = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = conv.fp32_precision, matmul.fp32_precision
    assert known() == ["torch.backends.cudnn.allow_tf32 = False", "torch.backends.cuda.matmul.allow_tf32 = False"]
    try:
        conv.fp32_precision, matmul.fp32_precision = "ieee", "tf32"
        assert known() == [
            "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
            "torch.backends.cudnn.rnn.fp32_precision = 'ieee'",
            "torch.backends.cuda.matmul.fp32_precision = 'ieee'",
        ]
        assert (conv.fp32_precision, matmul.fp32_precision) == ("ieee", "tf32")
    finally:
        conv.fp32_precision, matmul.fp32_precision = before


@pytest.mark.parametrize(
    ("factor", "causal"), [(1.5, True), (2 / 3, True), (0.7, True), (147 / 320, True), (-0.7, False)]
)
def test_resampling_by_a_fraction_is_judged_by_its_own_rate(factor, causal):
    mode = {} if causal else {"mode": "linear"}
    report = audit(Apply(lambda x: F.interpolate(x, scale_factor=abs(factor), **mode)), (1, 1, 40))
    assert (report.verdict is Verdict.CAUSAL) == causal
    assert report.lookahead <= 2
