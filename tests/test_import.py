"""Importing is light: the compiler stays away until something is compiled, and a help text waits for no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import causalcnn


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh Python has loaded after some code."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.rpartition("LOADED")[2].split())


PACKAGES = "import " + ", ".join(
    f"causalcnn.{name}" for name in ("nn", "engine", "causality", "speech", "models", "training")
)


@pytest.mark.parametrize("code", ["from causalcnn import *", PACKAGES])
def test_no_import_brings_the_compiler(code: str) -> None:
    loaded = loaded_after(code)
    assert "causalcnn.nn.quantize" in loaded
    assert {"torch._dynamo", "torch._inductor", "sympy", "numba"}.isdisjoint(loaded)


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "train --help",
        "audit --help",
        "export --help",
        "encode --help",
        "decode --help",
        "experiment --help",
    ],
)
def test_help_and_version_need_no_torch(words: str) -> None:
    loaded = loaded_after(f"from causalcnn.cli import main; main({words.split()})")
    assert {"torch", "numpy"}.isdisjoint(loaded)


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    from causalcnn.cli import main

    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"causalcnn {causalcnn.__version__}\n"


def test_every_name_of_the_package_comes_when_it_is_asked_for() -> None:
    code = "import causalcnn; assert causalcnn.nn.CausalConv1d is causalcnn.CausalConv1d; causalcnn.speech.LogMel"
    assert "causalcnn.speech" in loaded_after(code)
    for name in causalcnn.__all__:
        assert getattr(causalcnn, name).__name__ == name
        assert name in dir(causalcnn)
    with pytest.raises(AttributeError, match="'causalcnn' has no attribute 'Conv'"):
        _ = causalcnn.Conv  # type: ignore[attr-defined]
