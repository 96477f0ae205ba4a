"""The command ``causalcnn experiment``: the tables of the book, each by its name."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

__all__ = ["EXPERIMENTS", "add_experiment"]

EXPERIMENTS = {
    "collapse": "a codebook that collapses, and what repairs it",
    "dilation": "is dilation worth it at 100 frames a second?",
    "discrete": "bits per value of a spectrogram, model by model",
    "effective": "how much of its receptive field a trained network uses",
    "exposure": "how far a frame generator drifts when it reads what it wrote",
    "levels": "what each level of the VQ-VAE-2 carries",
    "memory": "how far back the codes of a frame remember",
    "phones": "what stacks of causal convolutions buy, on phones",
    "reconstruction": "how well the causal VQ-VAE-2 says what it heard",
}
"""Name (of a module beside this one) to the question that it answers."""


def add_experiment(commands: Any) -> None:
    """Hook the subcommand into the parser."""
    listed = "\n".join(f"  {name:<16}{what}" for name, what in EXPERIMENTS.items())
    parser = commands.add_parser(
        "experiment",
        help="make a table of the book anew",
        description="Make a table of the book anew. What follows the name goes to the experiment itself: add --help.",
        epilog=f"experiments:\n{listed}\n\nexample: causalcnn experiment discrete discrete.json --seeds 0 --steps 50",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=sorted(EXPERIMENTS), metavar="NAME", help="see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help="arguments of the experiment")
    parser.set_defaults(run=_experiment)


def _experiment(options: argparse.Namespace) -> int:
    module = importlib.import_module(f"causalcnn.experiments.{options.name}")
    return module.main(options.rest) or 0
