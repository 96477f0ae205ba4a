"""Models of several parts, written by a user: once how the parts work together, and everything else follows."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from causalcnn import CausalConv1d, CausalConv2d, Composite, Field, Stateless, VectorQuantizer, audit, check_contract
from causalcnn.nn import CausalSequential, Parallel, Residual


class Gated(Composite):
    """As in the README; on single frames too, unless a test says no."""

    def __init__(self, channels: int, *, takes_frames: bool = True) -> None:
        super().__init__()
        self.takes_frames = takes_frames  # type: ignore[misc]
        self.value = CausalConv1d(channels, channels, 3)
        self.gate = CausalConv1d(channels, channels, 3, dilation=2)

    @property
    def field(self) -> Field:
        return self.value.field | self.gate.field

    def compose(self, x, run):
        return torch.tanh(run(self.value, x)) * torch.sigmoid(run(self.gate, x))


class Nested(Composite):
    """Parts in a list, parts that are composites, layers of torch between them, an input that is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = CausalConv1d(2, 4, 4, 2, convention="block")
        self.blocks = nn.ModuleList(Gated(4) for _ in range(2))
        self.act = nn.ReLU()
        self.last = CausalSequential(VectorQuantizer(16, 8), CausalConv1d(8, 3, 2))

    @property
    def field(self) -> Field:
        through = self.first.field.then(self.blocks[0].field).then(self.blocks[1].field)
        return (self.first.field | through).then(self.last.field)

    def compose(self, x, run):
        first = run(self.first, x)
        y = first
        for block in self.blocks:
            y = self.act(run(block, y))
        return run(self.last, torch.cat([first, y], 1))


class Loudness(Stateless):
    """The energy of each frame: a layer without a memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().mean(1, keepdim=True)


class MixesBands(Stateless):
    """A matrix over the bands of a frame, which says what it reads."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands
        self.mix = nn.Linear(bands, bands)

    @property
    def field(self) -> Field:
        return Field.product(Field.identity(), Field.dense(self.bands))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)


def example(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("frames", [True, False])
def test_a_users_model_keeps_the_contract(frames):
    model = Gated(3, takes_frames=frames).double()
    check_contract(model, example(2, 3, 20))
    x = example(2, 3, 20)
    stream = model.stream(model.initial_state(x))
    assert stream.takes_frames == frames
    assert audit(model, (1, 3, 30)).passed


def test_parts_in_lists_and_in_parts_keep_it_too():
    model = Nested().double()
    check_contract(model, example(2, 2, 24), gradients=False, measure=False)
    state = model.initial_state(example(2, 2, 0))
    assert list(state) == ["first", "blocks.0", "blocks.1", "last"]
    assert list(state["blocks.1"]) == ["value", "gate"]
    assert model.convention.value == "block"


@pytest.mark.parametrize("layer", [Loudness(), MixesBands(5)], ids=["over channels", "over bands"])
def test_a_layer_without_memory_keeps_it(layer):
    shape = (2, 3, 9, 5) if isinstance(layer, MixesBands) else (2, 3, 9)
    check_contract(layer.double(), example(*shape))
    assert layer.initial_state(example(*shape)) == ()


def test_one_layer_at_two_places_has_two_states_and_one_weight():
    layer = CausalConv1d(2, 2, 3)
    for model in (CausalSequential(layer, nn.ReLU(), layer), Parallel(layer, layer, combine="concat")):
        check_contract(model.double(), example(2, 2, 16))
        assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in layer.parameters())


def test_a_state_is_saved_and_goes_on_also_in_a_copy():
    model, x = Nested().double().eval(), example(2, 2, 24)
    stream = model.stream()
    assert stream.state is None
    first = stream(x[:, :, :11])
    file = io.BytesIO()
    torch.save(stream.state, file)
    file.seek(0)
    with torch.no_grad():
        whole = model(x)
    for resumed in (model.stream(torch.load(file, weights_only=True)), copy.deepcopy(stream)):
        torch.testing.assert_close(torch.cat([first, resumed(x[:, :, 11:])], 2), whole, rtol=1e-12, atol=1e-12)


def test_a_row_starts_afresh_in_a_stream():
    model, x = Gated(3).double().eval(), example(2, 3, 20)
    stream = model.stream()
    stream.reset_rows([0])  # nothing has been read: nothing to forget
    stream(x)
    stream.reset_rows([1])
    y, fresh = stream(x), model.stream()(x)
    torch.testing.assert_close(y[1], fresh[1], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(y[0], fresh[0])
    with pytest.raises(RuntimeError, match=r"reset_rows\(state, rows, x\)"):
        model.stream(stream.state).reset_rows([0])
    with pytest.raises(ValueError, match="2 rows, the input has 1"):
        stream(x[:1])


def test_the_state_has_the_dtype_and_the_place_of_the_piece():
    model = CausalSequential(CausalConv2d(1, 2, 3, stride=(1, 2)), nn.ReLU(), Residual(CausalConv2d(2, 2, 2))).double()
    state = model.initial_state(torch.zeros(3, 1, 0, 9, dtype=torch.float64))
    assert state["0"].shape == (3, 1, 2, 9)
    assert state["2"]["body"].shape == (3, 2, 1, 5)
    assert state["0"].dtype == torch.float64
    half = CausalConv1d(1, 1, 3).bfloat16()
    assert half.initial_state(torch.zeros(1, 1, 0, dtype=torch.bfloat16)).dtype == torch.bfloat16
    meta = CausalConv1d(1, 1, 3, device="meta")
    assert meta.initial_state(torch.zeros(1, 1, 0, device="meta")).is_meta


def test_a_state_is_asked_for_without_teaching_a_codebook():
    model = Nested().double().train()
    before = copy.deepcopy(model.state_dict())
    model.initial_state(example(2, 2, 5))
    model.stream()(example(2, 2, 6))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


class Forgets(Gated):
    def compose(self, x, run):
        return run(CausalConv1d(3, 3, 1).double(), x)


class Twice(Gated):
    def compose(self, x, run):
        return run(self.value, run(self.value, x))


@pytest.mark.parametrize(
    ("fault", "words"), [(Forgets, "is no part of Forgets"), (Twice, "value of Twice is run twice")]
)
def test_what_a_composite_cannot_run_is_named(fault, words):
    with pytest.raises(ValueError, match=words):
        fault(3).double().initial_state(example(1, 3, 4))


def test_a_state_of_another_network_is_refused_and_no_layer_stepped_over():
    model, x = CausalSequential(CausalConv1d(4, 4, 3), nn.ReLU(), CausalConv1d(4, 4, 3)), torch.randn(2, 4, 1)
    state = model.initial_state(x)
    for wrong in ({}, {key: state[key] for key in ("0", "1")}, {**state, "3": ()}, tuple(state.values())):
        with pytest.raises(ValueError, match="part"):
            model.stream(wrong)
        with pytest.raises(ValueError, match="part"):
            model.step(x, wrong)


def test_a_hook_of_a_function_sees_no_empty_piece():
    model, seen = CausalSequential(CausalConv1d(1, 1, 3), nn.ReLU()), []
    model[1].function.register_forward_hook(lambda module, given, out: seen.append(float(out.detach().max())))
    model.stream()(torch.randn(1, 1, 1))
    model.step(torch.randn(1, 1, 2), model.initial_state(torch.randn(1, 1, 2)))
    assert len(seen) == 2
