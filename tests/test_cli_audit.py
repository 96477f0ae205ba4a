"""``causalcnn audit`` and ``receptive-field``: exit code 1 for a leak alone; what goes wrong is one line and 2."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from causalcnn.cli import main

NETWORKS = """
import sys
import torch
from torch import nn

def causal(): return nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(1, 1, 3))
def leaking(): return nn.Conv1d(1, 1, 3, padding=1)
def wants(channels): return nn.Conv1d(channels, 1, 3)
def gives_up(): sys.exit(1)
def fails(): return {}["key"]
number = 3

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)
    def forward(self, words): return self.embed(words).cumsum(1)

class Leaves(nn.Module):
    def forward(self, x): return torch.from_numpy(x.detach().numpy().copy())

class Raises(nn.Module):
    def __init__(self, error=ValueError):
        super().__init__()
        self.error = error
    def forward(self, x): raise self.error("no\\nand no again")

class Exits(nn.Module):
    def forward(self, x): sys.exit(1)

class Counts(nn.Module):
    calls = 0
    def forward(self, x):
        Counts.calls += 1
        return x * Counts.calls

"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    (tmp_path / "some_networks.py").write_text(NETWORKS, "utf8")
    (tmp_path / "wrong_syntax.py").write_text("def (:\n", "utf8")
    (tmp_path / "stops_at_once.py").write_text("raise SystemExit(1)\n", "utf8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("some_networks", "wrong_syntax", "stops_at_once"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "code"), [("causal", 0), ("leaking", 1), ("Leaves", 2), ("Counts", 2), ("Words --tokens 10", 0)]
)
def test_an_audit_exits_with_the_verdict(capsys, name, code):
    name, *rest = name.split()
    example = "1,40" if rest else "1,1,40"
    assert main(["audit", f"some_networks:{name}", "--example", example, *rest]) == code
    assert "evidence" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("audit some_networks:missing --example 1,1,40", "has no 'missing'"),
        ("audit no_such_module:net --example 1,1,40", "ModuleNotFoundError"),
        ("audit some_networks:number --example 1,1,40", "is a int"),
        ("audit some_networks:causal --example 1", "batch,time or"),
        ("audit some_networks:causal --example one,1,40", "must be numbers"),
        ("audit some_networks:causal --example 1,1,40 --time-axis 7", "time_axis is 7"),
        ("audit some_networks:causal --example 1,1,40 --timeout -1", "timeout_s"),
        ("audit some_networks:causal --example 1,5,40", "to have 1 channels"),
        ("audit some_networks --example 1,1,40", "package.module:name"),
        ("audit ./some_networks.py:causal --example 1,1,40", "some_networks:causal"),
        ("audit some_networks:wants --example 1,1,40", "TypeError: wants() missing"),
        ("audit some_networks:fails --example 1,1,40", "KeyError: 'key'"),
        ("audit some_networks:gives_up --example 1,1,40", "SystemExit"),
        ("audit some_networks:Raises --example 1,1,40", "ValueError: no"),
        ("audit some_networks:Exits --example 1,1,40", "SystemExit"),
        ("audit wrong_syntax:net --example 1,1,40", "SyntaxError"),
        ("audit stops_at_once:net --example 1,1,40", "SystemExit"),
        ("receptive-field some_networks:Leaves --example 1,1,40", "numbers leave torch"),
        ("receptive-field some_networks:Words", "pass an example"),
        ("receptive-field some_networks:wants", "TypeError"),
    ],
)
def test_what_cannot_be_carried_out_is_one_line_and_exit_code_2(capsys, words, says):
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"causalcnn {words.split()[0]}: ")
    assert says in err


def test_the_field_of_a_network_is_given(capsys):
    assert main(["receptive-field", "some_networks:causal"]) == 0
    assert capsys.readouterr().out == "Sequential reads 3 frames: 2 frames of past; never looks ahead\n"
    assert main(["receptive-field", "some_networks:Words", "--example", "1,40", "--tokens", "10"]) == 0
    assert "all the past" in capsys.readouterr().out


def command(*words: str, **how) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "causalcnn", *words], stderr=subprocess.PIPE, **how)


@pytest.mark.parametrize(("name", "code"), [("causal", 0), ("leaking", 1)])
def test_a_reader_that_leaves_and_a_terminal_of_letters_alone_change_no_verdict(name, code):
    words = ["audit", f"some_networks:{name}", "--example", "1,1,40"]
    ours, theirs = os.pipe()
    os.close(ours)  # nobody reads
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    left, letters = command(*words, stdout=theirs), command(*words, stdout=subprocess.PIPE, env=environment)
    os.close(theirs)
    assert (left.wait(300), left.stderr.read()) == (code, b"")
    out, err = letters.communicate(timeout=300)
    assert (letters.returncode, err) == (code, b"")
    assert b"evidence" in out
