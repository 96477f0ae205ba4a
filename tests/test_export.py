"""What is written as ONNX computes what torch computes, in any pieces, and nothing else is ever written."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import causalcnn.export as export
from causalcnn import CannotExport, CausalConv1d, CausalConv2d, CausalModule, Composite, Field, Stateless, export_onnx
from causalcnn.cli import main
from causalcnn.models import (
    CausalVQVAE2,
    CodeDecoder,
    CodeEncoder,
    FrameGenerator,
    MelNet,
    PixelCNN,
    VQVAE2Config,
    WaveNet,
    WaveNetConfig,
    load_model,
)
from causalcnn.nn import (
    CausalAvgPool1d,
    CausalConvTranspose1d,
    CausalConvTranspose2d,
    CausalMaxPool1d,
    CausalSequential,
    Encoder,
    FrameNorm,
    MultiStackEncoder,
    Parallel,
    Residual,
    ResidualBlock2d,
    VectorQuantizer,
)
from causalcnn.speech import LogMel
from tests.engine.networks import random_network
from tests.fuzz import examples

onnx = pytest.importorskip("onnx", reason="needs the extra export")
runtime = pytest.importorskip("onnxruntime", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")

SHIPPED = Path(__file__).parents[1] / "book" / "checkpoints" / "vqvae2-tiny"


class Running:
    """A file in onnxruntime, as a consumer runs it who knows its metadata alone."""

    def __init__(self, path: Path) -> None:
        self.session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        self.states = json.loads(self.metadata["states"])
        self.feed: dict[str, Any] = {}

    def __call__(self, piece: Tensor) -> Tensor:
        if not self.feed:
            for one in self.states:
                shape = [len(piece) if size == "batch" else size for size in one["shape"]]
                value = torch.tensor(one["initial"], dtype=getattr(torch, one["dtype"]))
                self.feed[one["input"]] = value.expand(shape).numpy()
        fed = {"input": piece.numpy(), **self.feed}
        names = ["output", *(one["output"] for one in self.states)]
        y, *new = self.session.run(names, fed)
        self.feed = {one["input"]: value for one, value in zip(self.states, new, strict=True)}
        return torch.from_numpy(y)


def check(module: CausalModule, example: Tensor, folder: Path, *, rows: int = 2, **options: Any) -> dict[str, str]:
    """Export, and compare random uneven pieces with the whole in torch; a consumer's way, not the exporter's own."""
    path = folder / "module.onnx"
    metadata = export_onnx(module, path, example=example, **options)
    block = module.field.advance[0]
    multiple = 1 if metadata["frames"] == "at least 1" else int(metadata["frames"].split()[-1])
    sizes = [multiple * int(n) for n in torch.randint(1, block + 4, (9,))] + [multiple] * 4
    x = export._noise(example, rows, sum(sizes), seed=7)
    running = Running(path)
    got = torch.cat([running(piece) for piece in x.split(sizes, dim=2)], dim=2)
    with torch.no_grad():
        wanted = module.eval()(x)
    if wanted.is_floating_point():
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * max(1.0, float(wanted.abs().max())))
    else:
        assert (got != wanted).float().mean() < 1e-3  # rounding may tip a code
    return metadata


def weight_norm(module: Any) -> Any:
    return torch.nn.utils.weight_norm(module)


def parametrized(module: Any) -> Any:
    return torch.nn.utils.parametrizations.weight_norm(module)


def twice(activation: nn.Module) -> CausalModule:
    conv = CausalConv1d(4, 4, 2)
    return CausalSequential(parametrized(CausalConv1d(4, 4, 3)), activation, conv, activation, CausalSequential(conv))


QUICK = {
    "strided": lambda: CausalConv1d(4, 6, 3, stride=2, dilation=2),
    "deep": lambda: CausalSequential(
        CausalConv1d(4, 6, 3, stride=2), nn.ReLU(), FrameNorm(6), Residual(CausalConv1d(6, 6, 3)),
        CausalConv1d(6, 8, 2, stride=2, convention="block", groups=2), CausalConvTranspose1d(8, 4, 4, stride=2),
        VectorQuantizer(16, 4),
    ),
    "one activation at two places": lambda: twice(nn.ReLU()),
    "weight norm": lambda: weight_norm(CausalConv1d(4, 6, 3)),
    "pool": lambda: CausalSequential(CausalMaxPool1d(3, 2), CausalConvTranspose1d(4, 3, 2, stride=3)),
}  # fmt: skip
SLOW = {
    **{
        f"conv k{k} d{d} s{s} {convention} g{groups}": lambda k=k, d=d, s=s, c=convention, g=groups: CausalConv1d(
            4, 6, k, dilation=d, stride=s, groups=g, convention=c
        )
        for k, d, s, groups in [(1, 1, 1, 1), (3, 1, 1, 2), (2, 4, 1, 1), (1, 1, 5, 1), (5, 2, 3, 2), (2, 1, 7, 1)]
        for convention in ("strict", "block")
    },
    "parametrized": lambda: parametrized(CausalConv1d(4, 6, 3)),
    "transpose": lambda: CausalConvTranspose1d(4, 6, 5, stride=2, dilation=2),
    "transpose without history": lambda: CausalConvTranspose1d(4, 6, 2, stride=4),
    "average": lambda: CausalAvgPool1d(4, 3, convention="block"),
    "window inside its stride": lambda: CausalMaxPool1d(2, 5),
    "branches": lambda: Parallel(
        CausalConv1d(4, 6, 5, stride=4),
        CausalSequential(CausalConv1d(4, 6, 3, stride=2), CausalConv1d(6, 6, 3, stride=2)),
        combine="concat",
    ),
    "encoder": lambda: Encoder(4, 8, 6, dilation=3),
    "stacks": lambda: MultiStackEncoder(4, 8, 6, combine="every_layer"),
}
SLOW_2D = {
    "conv": lambda: CausalConv2d(2, 4, (3, 3), stride=(2, 2)),
    "block": lambda: CausalConv2d(2, 4, (2, 5), stride=(3, 1), convention="block", frequency_padding=(2, 0)),
    "transpose": lambda: CausalConvTranspose2d(2, 4, (4, 4), stride=(2, 2), frequency_padding=1),
    "residual": lambda: ResidualBlock2d(2, dilation=(2, 1)),
    "quantizer": lambda: VectorQuantizer(16, 2),
}


@pytest.mark.parametrize("name", QUICK)
def test_a_layer_in_onnx_is_the_layer_in_torch(name: str, tmp_path: Path) -> None:
    metadata = check(QUICK[name](), torch.randn(1, 4, 1), tmp_path)
    assert (metadata["rows"], metadata["frames"]) == ("any", "at least 1")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_so_is_every_kind_of_layer_over_time(name: str, tmp_path: Path) -> None:
    metadata = check(SLOW[name](), torch.randn(1, 4, 3), tmp_path, rows=3)
    assert (metadata["rows"], metadata["frames"]) == ("any", "at least 1")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_2D)
def test_so_is_every_kind_of_layer_over_time_and_frequency(name: str, tmp_path: Path) -> None:
    metadata = check(SLOW_2D[name](), torch.randn(2, 2, 4, 8), tmp_path, rows=3)
    assert (metadata["rows"], metadata["frames"]) == ("any", "at least 1")


def test_the_front_end_takes_any_number_of_samples(tmp_path: Path) -> None:
    metadata = check(LogMel(), 0.1 * torch.randn(1, 1, 100), tmp_path)
    assert metadata["frames"] == "at least 1"
    assert (metadata["rate_hz"], metadata["latency_ms"], metadata["convention"]) == ("16000.0", "9.9375", "block")
    assert (metadata["stride"], metadata["lookahead_frames"], metadata["past_frames"]) == ("160", "159", "480")


@pytest.mark.slow
def test_sound_goes_in_and_codes_come_out_of_one_file(tmp_path: Path) -> None:
    model = CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16))
    metadata = check(CausalSequential(LogMel(), CodeEncoder(model)), 0.1 * torch.randn(1, 1, 800), tmp_path)
    assert (metadata["stride"], metadata["frames"], metadata["latency_ms"]) == ("160", "at least 1", "9.9375")
    assert not any("decoder" in state["input"] for state in json.loads(metadata["states"]))


@pytest.mark.release
def test_the_shipped_model_in_all_its_forms(tmp_path: Path) -> None:
    model, _ = load_model(SHIPPED)
    frames, codes = torch.randn(1, 80, 4) * 15 - 40, torch.arange(60).reshape(1, 30, 2) * 8
    check(CodeEncoder(model), frames, tmp_path, rows=1)
    check(CodeDecoder(model), codes, tmp_path, rate_hz=100)
    check(CausalSequential(LogMel(), CodeEncoder(model)), 0.1 * torch.randn(1, 1, 800), tmp_path, rows=1)
    # A code that rounding tips changes the frames after it; the exporter's own check has three tries.
    metadata = export_onnx(model, tmp_path / "m.onnx", example=frames.transpose(1, 2)[:, None], rate_hz=100)
    assert (metadata["rows"], metadata["frames"], metadata["latency_ms"]) == ("any", "at least 1", "0.0")


def test_the_file_says_what_a_consumer_must_know_to_onnx_alone(tmp_path: Path) -> None:
    layer = CausalSequential(CausalConv1d(4, 6, 3, dilation=2), Residual(CausalConv1d(6, 6, 1)), CausalConv1d(6, 4, 2))
    returned = export_onnx(layer, tmp_path / "m.onnx", example=torch.randn(1, 4, 5), rate_hz=50)
    model = onnx.load(tmp_path / "m.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == returned
    assert metadata["field"] == str(layer.field.with_rate(50))
    assert metadata["module"] == "CausalSequential"
    assert float(metadata["largest_difference"]) <= float(metadata["tolerance"])
    states = json.loads(metadata["states"])  # the layer with one tap remembers nothing, and is not there
    assert [(s["input"], s["output"], s["shape"], s["initial"]) for s in states] == [
        ("state.0", "next.0", ["batch", 4, 4], 0.0),
        ("state.2", "next.2", ["batch", 6, 1], 0.0),
    ]
    shapes = {
        one.name: [axis.dim_param or axis.dim_value for axis in one.type.tensor_type.shape.dim]
        for one in (*model.graph.input, *model.graph.output)
    }
    assert shapes["input"] == ["batch", 4, "frames"]
    assert shapes["state.0"] == ["batch", 4, 4]
    assert list(shapes) == ["input", "state.0", "state.2", "output", "next.0", "next.2"]
    onnx.checker.check_model(model)


class Later(CausalModule):
    """Adds the number of the frame, counted from another one in each channel."""

    @property
    def field(self) -> Field:
        return Field.identity()

    def initial_state(self, x: Tensor) -> Tensor:
        return torch.arange(x.shape[1], dtype=x.dtype).view(1, -1, 1).expand(x.shape[0], -1, 1).clone()

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return x + state + torch.arange(x.shape[2]), state + x.shape[2]


class Branching(CausalModule):
    """The sum of two frames, written with a branch, which a tracer decides once."""

    @property
    def field(self) -> Field:
        return Field.conv(2, stride=2, padding=0)

    def initial_state(self, x: Tensor) -> Tensor:
        return x[:, :, :0].clone()

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.cat([state, x], dim=2)
        used = frames.shape[2] // 2 * 2
        if used == 0:
            return x[:, :, :0], frames
        ones = torch.ones(frames.shape[1], 1, 2)
        y = torch.nn.functional.conv1d(frames, ones, stride=2, groups=frames.shape[1])
        return y, frames[:, :, used:].clone()


def test_initial_values_that_are_not_zero_are_in_the_file(tmp_path: Path) -> None:
    metadata = export_onnx(Later(), tmp_path / "m.onnx", example=torch.randn(1, 3, 5))
    assert json.loads(metadata["states"])[0]["initial"] == [[0.0], [1.0], [2.0]]
    y = Running(tmp_path / "m.onnx")(torch.zeros(2, 3, 1))
    torch.testing.assert_close(y[1], torch.tensor([[0.0], [1.0], [2.0]]))


def test_training_mode_and_codebooks_stay_as_they_were(tmp_path: Path) -> None:
    layer = CausalSequential(CausalConv1d(2, 4, 1), nn.Dropout(0.5), VectorQuantizer(8, 4))
    layer[1].eval()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    export_onnx(layer, tmp_path / "m.onnx", example=torch.randn(1, 2, 3))
    assert (layer.training, layer[1].training, layer[2].training) == (True, False, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())


# ------------------------------------------------------------------------------------------------------------- errors
class Bessel(Stateless):
    """An operation that ONNX does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Asking(Stateless):
    """A branch on the values, which a tracer cannot follow."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.isfinite().all():
            raise ValueError("not finite")
        return x


class Frozen(Stateless):
    """What it computed of its first piece, for ever: a tracer sees a constant."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (2.0 if torch.compiler.is_exporting() else 1.0)


class Worded(Stateless):
    def initial_state(self, x: Tensor) -> Any:
        return {"language": "en"}

    def forward(self, x: Tensor) -> Tensor:
        return x

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return x, state


@pytest.mark.parametrize(
    ("module", "example", "error", "words"),
    [
        (nn.Linear(3, 3), torch.randn(1, 3, 4), TypeError, "Linear is no CausalModule"),
        (CausalConv1d(4, 4, 3), torch.randn(1, 3, 5), ValueError, r"\(1, 3, 5\); this layer takes"),
        (CausalConv1d(4, 4, 3), torch.randn(1, 4, 0), ValueError, r"example is \(1, 4, 0\); it must be"),
        (CausalConv1d(4, 4, 3), [1, 2], ValueError, "example is list; it must be"),
        (CausalConv1d(4, 4, 3).double(), torch.randn(1, 4, 5), ValueError, r"weight is torch.float64.*module.float"),
        (LogMel("centered"), torch.randn(1, 1, 500), ValueError, "cannot be streamed"),
        (Bessel(), torch.randn(1, 2, 3), CannotExport, "Bessel cannot be exported: "),
        (Frozen(), torch.randn(1, 2, 3), CannotExport, "output differs by .* between onnxruntime and torch"),
        (Worded(), torch.randn(1, 2, 3), CannotExport, "the state of Worded holds 'en' at .*language"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_exported_is_said_and_leaves_nothing(
    module: Any, example: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_text("the file of before")
    with pytest.raises(error, match=words):
        export_onnx(module, tmp_path / "m.onnx", example=example)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_text() == "the file of before"


@pytest.mark.slow
def test_a_module_that_needs_whole_blocks_gets_them_and_the_file_says_so(tmp_path: Path) -> None:
    metadata = check(Branching(), torch.randn(1, 2, 4), tmp_path)
    assert (metadata["rows"], metadata["frames"]) == ("any", "a multiple of 2")
    with pytest.raises(Exception, match="shape"):
        Running(tmp_path / "module.onnx")(torch.randn(1, 2, 1))


class LonelyRows(Stateless):
    """Does something else for a single row."""

    def forward(self, x):
        return x * (2 if x.shape[0] > 1 else 1)


def test_a_single_row_is_verified_too(tmp_path: Path) -> None:
    metadata = export_onnx(LonelyRows(), tmp_path / "model.onnx", example=torch.zeros(1, 2, 4))
    assert metadata["rows"] == "1"


def test_a_path_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"cannot write .*; choose a folder that can be written"):
        export_onnx(CausalConv1d(2, 2, 2), tmp_path / "file" / "m.onnx", example=torch.randn(1, 2, 3))
    with pytest.raises(IsADirectoryError, match="it is a folder; name a file in it"):
        export_onnx(CausalConv1d(2, 2, 2), tmp_path, example=torch.randn(1, 2, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("wrong", [{"rate_hz": 0}, {"rate_hz": float("nan")}, {"tolerance": -1}])
def test_a_number_that_cannot_be_is_refused(wrong: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .* above 0"):
        export_onnx(CausalConv1d(2, 2, 2), tmp_path / "m.onnx", example=torch.randn(1, 2, 3), **wrong)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device; free some space"):
        export_onnx(CausalConv1d(2, 2, 2), tmp_path / "m.onnx", example=torch.randn(1, 2, 3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'causalcnn\[export\]'"):
        export_onnx(CausalConv1d(2, 2, 2), tmp_path / "m.onnx", example=torch.randn(1, 2, 3))


# ------------------------------------------------------------------------------------------------------- the command
def make_layer() -> CausalModule:
    return CausalConv1d(4, 8, 3)


def test_the_command_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "layer.onnx"
    words = ["export", "tests.test_export:make_layer", "--example", "1,4,5", "--rate-hz", "100", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "2 frames (20 ms) of past" in printed
    assert "at least 1" in printed
    assert Running(out)(torch.randn(1, 4, 2)).shape == (1, 8, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["torch.nn:Identity", "--example", "1,4,5"], "Identity is no CausalModule"),
        (["tests.test_export:make_layer", "--example", "1,3,5"], "this layer takes"),
        (["tests.test_export:make_layer", "--example", "1,x"], "must be numbers such as 1,8,64"),
        (["no-such-model", "--example", "1,3,5"], "there are no weights"),
    ],
)
def test_the_command_says_what_is_wrong(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words, "--out", str(tmp_path / "m.onnx")]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FrameGenerator, PixelCNN])
def test_the_autoregressive_models(kind: Any, tmp_path: Path) -> None:
    metadata = export_onnx(kind(kind.Config.tiny()), tmp_path / "m.onnx", example=torch.randn(1, 1, 3, 80))
    assert metadata["frames"] == "at least 1"


class Recurrent(CausalModule):
    """A recurrent layer, which torch unrolls while it traces."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.GRU(3, 3, batch_first=True)

    @property
    def field(self) -> Field:
        return Field.window(range(-40, 1))  # for ever; so far back is enough to see whether the state is fed back

    def initial_state(self, x: Tensor) -> Tensor:
        return x.new_zeros(1, x.shape[0], 3)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.cells(x.transpose(1, 2), state)
        return y.transpose(1, 2), state


@pytest.mark.slow
def test_a_recurrent_network_takes_one_frame_after_the_other(tmp_path: Path) -> None:
    metadata = export_onnx(Recurrent(), tmp_path / "m.onnx", example=torch.randn(1, 3, 6))
    assert metadata["frames"] == "exactly 1"
    metadata = export_onnx(
        MelNet(MelNet.Config.tiny().with_(mels=8)), tmp_path / "m.onnx", example=torch.randn(1, 1, 3, 8)
    )
    assert (metadata["frames"], metadata["rows"]) == ("exactly 1", "any")


@pytest.mark.slow
@pytest.mark.parametrize("condition", [0, 3])
def test_wavenet(condition: int, tmp_path: Path) -> None:
    config = WaveNetConfig(
        output="logistic-mixture-2", one_hot=False, layers=3, cycles=2, skip_channels=8, condition_channels=condition
    )
    metadata = check(WaveNet(config), torch.rand(1, 1 + condition, 20) * 2 - 1, tmp_path, rate_hz=16_000)
    assert (metadata["rows"], metadata["frames"], metadata["past_frames"]) == ("any", "at least 1", "15")
    assert metadata["lookahead_frames"] == ("0" if condition else "-1")
    assert "state.delay" in [state["input"] for state in json.loads(metadata["states"])]


def test_what_the_exporter_prints_is_kept_from_the_user(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CannotExport, match=r"Asking cannot be exported: .*data-dependent"):
        export_onnx(Asking(), tmp_path / "m.onnx", example=torch.randn(1, 2, 3))
    assert capfd.readouterr() == ("", "")


class Gated(Composite):
    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate = CausalConv1d(4, 4, 3), CausalConv1d(4, 4, 3, dilation=2)

    @property
    def field(self) -> Field:
        return self.value.field | self.gate.field

    def compose(self, x: Tensor, run: Any) -> Tensor:
        return torch.tanh(run(self.value, x)) * torch.sigmoid(run(self.gate, x))


def test_a_model_of_your_own_has_states_with_the_names_of_its_parts(tmp_path: Path) -> None:
    metadata = check(Gated(), torch.randn(1, 4, 6), tmp_path)
    assert [state["input"] for state in json.loads(metadata["states"])] == ["state.value", "state.gate"]


@pytest.mark.slow
@settings(max_examples=examples(3), deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
@example(seed=1016)  # one activation at two places
@example(seed=2044)  # the tracer rules out a size of 1
def test_random_networks_in_onnx_are_the_networks_in_torch(seed: int) -> None:
    network, empty = random_network(seed, quantized=False)
    with tempfile.TemporaryDirectory() as folder:
        metadata = check(network, torch.randn(1, empty.shape[1], 3, *empty.shape[3:]), Path(folder))
    assert (metadata["rows"], metadata["frames"]) == ("any", "at least 1")
