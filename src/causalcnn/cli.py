"""The command ``causalcnn``: one word for each thing that is done from a shell."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from causalcnn import __version__
from causalcnn.cli_audit import UsageError, load_network, parse_shape, run_audit, run_receptive_field

__all__ = ["main"]

USAGE = 2
"""The exit code where a command could not be carried out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: what follows ``causalcnn`` in the shell; by default the arguments of this process.

    Returns:
        The exit code, 0 where all went well, 2 where it could not be carried out; each subcommand says its others.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a sign shows another in its place
        if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
            stream.reconfigure(errors="replace")
    options = make_parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return options.run(options)
    except UsageError as problem:
        print(f"causalcnn {options.command}: {problem}", file=sys.stderr)
        return USAGE


def make_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands. What it parses has a function ``run``, which carries the subcommand out."""
    parser = argparse.ArgumentParser(prog="causalcnn", description="Networks over time that can prove what they see.")
    parser.add_argument("--version", action="version", version=f"causalcnn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_audit(commands)
    _add_receptive_field(commands)
    _add_train(commands)
    _add_export(commands)
    _add_encode(commands)
    _add_decode(commands)
    _add_download(commands)
    _add_experiment(commands)
    return parser


# ---------------------------------------------------- audit and receptive-field
def _add_audit(commands: Any) -> None:
    parser = _network_parser(
        commands,
        "audit",
        "does a network read the future?",
        "Audit a network: what it could read of the future, what its weights do, and where it leaks first.",
        "Exit code 0: causal. 1: looks ahead, mixes rows or keeps state. 2: unknown, or it cannot be carried out; "
        "then one line says why.",
        required=True,
    )
    parser.add_argument("--mode", choices=("exact", "numerical"), default="exact")
    parser.add_argument("--convention", choices=("strict", "block"), help="default: what the network declares")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds after which the answer is 'unknown'")
    parser.set_defaults(run=run_audit)


def _add_receptive_field(commands: Any) -> None:
    parser = _network_parser(
        commands,
        "receptive-field",
        "what does a network read?",
        "Give the receptive field of a network: the inputs that each output reads, for any weights.",
        "Exit code 0: here it is. 2: it cannot be known, or not be carried out; then one line says why.",
        required=False,
    )
    parser.add_argument("--axis", choices=("time", "frequency"), help="of a field over both: along one of them")
    parser.set_defaults(run=run_receptive_field)


def _network_parser(commands: Any, name: str, help: str, description: str, epilog: str, *, required: bool) -> Any:
    parser = commands.add_parser(name, help=help, description=description, epilog=epilog)
    parser.add_argument("network", help="package.module:name, where name is a module, or makes one when called")
    parser.add_argument(
        "--example",
        required=required,
        metavar="1,8,64",
        help="shape: batch,channels,time[,frequency], or batch,time"
        + ("" if required else " (default: as the first convolution needs it)"),
    )
    parser.add_argument("--tokens", type=int, metavar="N", help="the example holds whole numbers from 0 to N - 1")
    parser.add_argument("--time-axis", type=int, metavar="AXIS", help="of the input (default: 2, or 1 of batch,time)")
    parser.add_argument("--output-time-axis", type=int, metavar="AXIS", help="default: the one that grows")
    parser.add_argument("--eval", action="store_true", help="put the network into eval mode first")
    return parser


# ---------------------------------------------------------------------- train
TRAIN_EXAMPLE = """\
example, a few minutes on a laptop:
  causalcnn train vqvae2 --budget "5 min" --seconds-of-speech 600 --out my-first
  then in Python:
  from causalcnn.models import load_model
  model, card = load_model("my-first")

Stopped by Ctrl-C, a power cut or a cluster? Give the same line again, with --resume: what is finished stays as it is.
A model that is there is never overwritten: name another --out, or remove it.
Several GPUs or processes: torchrun --nproc_per_node 2 -m causalcnn train vqvae2 …
Exit code 0: trained. 2: not possible, the message says why. 130: interrupted; resume it.
"""


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model of the book",
        description="Train a model of the book on speech, and keep it with a card that says how it was made.",
        epilog=TRAIN_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="its name, such as vqvae2 (any other word lists what there is)")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="writes PATH.safetensors and PATH.json")
    parser.add_argument(
        "--budget", default="20 min", help='how long: "500 steps", "90 s", "20 min", "1.5 h" (default: 20 min)'
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--corpus",
        default="embedded",
        help="embedded: speech made on this machine, nothing is downloaded (default); fsdd: spoken digits; "
        "or a folder of recordings",
    )
    data.add_argument(
        "--seconds-of-speech", type=float, metavar="S", help="how much embedded speech (default: 3600, an hour)"
    )
    data.add_argument("--speakers", type=int, metavar="N", help="how many embedded speakers (default: 40)")
    data.add_argument(
        "--codes-of", type=Path, metavar="PATH", help="for models of codes: the trained vqvae2 whose codes are learned"
    )
    data.add_argument("--vary", action="store_true", help="vary gain, colour and noise of the speech at random")
    data.add_argument(
        "--rows", type=int, default=16, help="pieces of speech in a step, over all processes (default: 16)"
    )
    data.add_argument("--frames", type=int, default=128, help="frames of 10 ms in a piece (default: 128)")
    how = parser.add_argument_group("model and training")
    how.add_argument("--preset", default="tiny", help="the size of the model: tiny for a CPU (default), base for a GPU")
    how.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="NAME=VALUE",
        help="change one value of the preset; may be repeated",
    )
    how.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="the highest (default: 0.001)")
    how.add_argument("--seed", type=int, default=0, help="draws weights and pieces (default: 0)")
    how.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="auto takes a GPU if any")
    how.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto: bf16 on a GPU that has it, else fp32",
    )
    again = parser.add_argument_group("going on")
    again.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped, if one did")
    again.add_argument(
        "--checkpoint-every", default="1 min", metavar="TIME", help="how much an interruption may cost (default: 1 min)"
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from causalcnn.cli_train import run_train

    return run_train(options, make_parser().parse_args)


# --------------------------------------------------------------------- export
EXPORT_EXAMPLE = """\
example: a trained model, from log-mel frames to log-mel frames
  causalcnn export my-model --example 1,1,1,80 --rate-hz 100 --out my-model.onnx

The example is filled with random numbers; for input of another kind call causalcnn.export_onnx in Python.
Exit code 0: exported. 2: not possible, the message says why, and nothing is left half-written.
"""


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write a causal network as a streaming ONNX file",
        description="Write a causal network as an ONNX file that runs piece by piece, checked in onnxruntime.",
        epilog=EXPORT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", help="package.module:name, as for audit, or the PATH of a trained model")
    parser.add_argument("--example", required=True, metavar="1,80,64", help="shape: batch,channels,time[,frequency]")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write, such as model.onnx")
    parser.add_argument("--rate-hz", type=float, metavar="R", help="frames or samples a second (default: the field's)")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    import torch

    from causalcnn.export import CannotExport, export_onnx

    shape = parse_shape(options.example)
    try:
        if ":" in options.network:
            network = load_network(options.network)
        else:
            from causalcnn.models import load_model

            network, _ = load_model(options.network)
        example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        metadata = export_onnx(network, options.out, example=example, rate_hz=options.rate_hz)
    except (TypeError, ValueError, OSError, ImportError, CannotExport) as problem:
        raise UsageError(str(problem)) from problem
    for name in ("module", "field", "rows", "frames", "latency_ms", "largest_difference"):
        if name in metadata:
            print(f"{name:20}{metadata[name]}")
    print(f"{'states':20}{len(json.loads(metadata['states']))}")
    print(f"{'written':20}{options.out}")
    return 0


# ------------------------------------------------------------ encode and decode
CODEC_EXAMPLE = """\
example, in a clone of causalcnn's repository, which has the models:
  causalcnn encode speech.wav speech.ccn
  causalcnn decode speech.ccn back.wav

A file has 100 frames a second, 30 codes each, in blocks of one second; a damaged block costs its second.
Exit code 0: written. 2: not possible, the message says why, and nothing is left half-written.
"""


def _add_encode(commands: Any) -> None:
    parser = _codec_parser(commands, "encode", "write speech as a file of codes", "Write speech as a file of codes.")
    parser.add_argument("sound", type=Path, metavar="SOUND", help="a recording: WAV, FLAC, Ogg or MP3")
    parser.add_argument("out", type=Path, metavar="FILE.ccn", help="the file to write")
    parser.set_defaults(run=_encode)


def _add_decode(commands: Any) -> None:
    parser = _codec_parser(commands, "decode", "make sound of a file of codes", "Make sound of a file of codes.")
    parser.add_argument("codes", type=Path, metavar="FILE.ccn", help="a file that encode wrote")
    parser.add_argument("out", type=Path, metavar="SOUND.wav", help="the sound to write, 16,000 samples a second")
    parser.add_argument("--recover", action="store_true", help="write what is whole of a damaged file, else silence")
    parser.set_defaults(run=_decode)


def _codec_parser(commands: Any, name: str, help: str, description: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=CODEC_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, what in (("--codec", "model that makes codes"), ("--prior", "prior over its codes")):
        parser.add_argument(option, type=Path, metavar="PATH", help=f"the {what} (default: that of the repository)")
    return parser


def _encode(options: argparse.Namespace) -> int:
    from causalcnn.cli_codec import run_encode

    return run_encode(options)


def _decode(options: argparse.Namespace) -> int:
    from causalcnn.cli_codec import run_decode

    return run_decode(options)


# ------------------------------------------------------------------- download
def _add_download(commands: Any) -> None:
    parser = commands.add_parser(
        "download",
        help="get a recording or a corpus by name",
        description="Get a recording or a corpus by name, checked and unpacked; without a name, list what there is.",
        epilog="Exit code 0: it is on this machine now; its path is printed. 2: not possible, the message says why.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the list (default: show the list)")
    parser.set_defaults(run=_download)


def _download(options: argparse.Namespace) -> int:
    from causalcnn.speech import SOURCES, download

    if options.name is None:
        for source in SOURCES.values():
            print(f"{source.name:32}{source.size / 1e6:>9,.1f} MB  {source.credit}")
        return 0
    try:
        print(download(options.name))
    except KeyError as problem:
        raise UsageError(problem.args[0]) from problem
    except (ValueError, OSError, ImportError) as problem:
        raise UsageError(str(problem)) from problem
    return 0


# ---------------------------------------------------------------- experiment
EXPERIMENTS = "causalcnn.experiments"
"""The group of entry points under which packages register experiments, as the book does."""
BOOK_EXTRA = "the experiments and what they need come with the extra 'book': python -m pip install 'causalcnn[book]'"


def _add_experiment(commands: Any) -> None:
    names = sorted(entry_points(group=EXPERIMENTS).names)
    parser = commands.add_parser(
        "experiment",
        help="make a table of the book anew",
        description="Make a table of the book anew. What follows the name goes to the experiment itself: add --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="experiments:\n  " + "\n  ".join(names) if names else f"none is installed; {BOOK_EXTRA}",
    )
    parser.add_argument("name", choices=names or None, metavar="NAME", help="see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help="arguments of the experiment")
    parser.set_defaults(run=_experiment)


def _experiment(options: argparse.Namespace) -> int:
    registered = list(entry_points(group=EXPERIMENTS, name=options.name))
    if not registered:
        raise UsageError(f"no experiment is installed; {BOOK_EXTRA}")
    try:
        return registered[0].load()(options.rest) or 0
    except ImportError as problem:
        raise UsageError(f"{options.name!r} cannot run: {problem}; {BOOK_EXTRA}") from problem
