"""What importing costs: process time from the start of Python to its end, against ``import torch`` alone.

Every row is a fresh Python. The rows take turns in a random order; a ratio is the median of the ratios within a round,
so a drift of the machine meets both.

    python benchmarks/import_time.py [--rounds 15] [--out book/measurements/import-time.json]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from causalcnn._files import check_writable, write_json

ROWS = {
    "python alone": "pass",
    "torch": "import torch",
    "causalcnn, all its names": "import torch; from causalcnn import *",
    "causalcnn and its packages": "import torch, causalcnn.nn, causalcnn.causality, causalcnn.models, "
    "causalcnn.training, causalcnn.speech",
    "causalcnn --version": "from causalcnn.cli import main; main(['--version'])",
    "causalcnn --help": "from causalcnn.cli import main; main(['--help'])",
}
BASE = "torch"


def seconds(code: str) -> float:
    """Process time, of user and system, of a fresh Python that runs ``code``."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.out:
        check_writable(arguments.out)
    random.seed(0)
    names = list(ROWS)
    for code in ROWS.values():  # files come from the disk once
        seconds(code)
    rounds = []
    for _ in range(arguments.rounds):
        random.shuffle(names)
        rounds.append({name: seconds(ROWS[name]) for name in names})
    table = {
        name: {
            "milliseconds": round(1000 * statistics.median(one[name] for one in rounds)),
            "times torch": round(statistics.median(one[name] / one[BASE] for one in rounds), 3),
        }
        for name in ROWS
    }
    for name, row in table.items():
        print(f"  {name:28} {row['milliseconds']:6} ms   {row['times torch']:6.2f} × import torch")
    if arguments.out:
        result = {
            "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}",
            "versions": {"torch": version("torch"), "python": platform.python_version()},
            "seeds": [0],
            "spread": f"median of {arguments.rounds} fresh processes each, in turn",
            "command": "python benchmarks/import_time.py",
            "table": table,
        }
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
