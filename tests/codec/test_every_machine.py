"""The same bytes give the same codes on every machine: whatever kernels, threads and instructions a processor has.

``speech.ccn`` was written once, on another machine than most that run this. To make it anew for another shipped prior:
``python -m tests.codec.test_every_machine``.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("safetensors")

from causalcnn.codec import CodeReader, SpeechCodec
from causalcnn.codec.speech_codec import MODEL, PRIOR

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE.parents[1] / "book" / "checkpoints"
FILE, DIGEST = HERE / "speech.ccn", HERE / "speech.json"

MACHINES = {
    "as it is": {},
    "two threads": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    "the kernels of 2008, without fused additions": {"OPENBLAS_CORETYPE": "Nehalem"},
    "the kernels of 2013": {"OPENBLAS_CORETYPE": "Haswell"},
    "numpy without vector instructions": {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
    "torch without vector instructions": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
"""Variables that make the libraries behave as on other processors."""


def shipped():
    return SpeechCodec.load(CHECKPOINTS / MODEL, CHECKPOINTS / PRIOR)


def digest(frames):
    return hashlib.sha256(b"".join(frame.astype("<i2").tobytes() for frame in frames)).hexdigest()


def read_and_write_again():
    """The digest of the codes that are read, and of the file that is written of them."""
    from causalcnn.codec import pack_codes

    codec = shipped()
    found = codec.read(FILE)
    again = pack_codes(found.codes, codec.prior, model=codec.fingerprint, samples=found.samples)
    return {"codes": digest(found.pieces[0][1]), "file": hashlib.sha256(again.data).hexdigest()}


def test_a_file_of_another_machine_gives_its_codes_here():
    expected = json.loads(DIGEST.read_text())
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == expected["file"]
    codec = shipped()
    assert digest(codec.read(FILE).pieces[0][1]) == expected["codes"]
    live = CodeReader(codec.prior, model=codec.fingerprint)
    assert digest([frame.codes for frame in live.feed(FILE.read_bytes())]) == expected["codes"]


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_no_kernel_no_thread_and_no_instruction_changes_a_code_or_a_byte(machine):
    pytest.importorskip("constriction")
    code = "from tests.codec.test_every_machine import *; print(json.dumps(read_and_write_again()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=HERE.parents[1],
        env=os.environ | MACHINES[machine],
    )
    assert json.loads(done.stdout) == json.loads(DIGEST.read_text())


if __name__ == "__main__":
    from causalcnn.speech import synthesize

    shipped().write(FILE, synthesize("The same bytes give the same codes on every machine.", speaker=9003).samples)
    DIGEST.write_text(json.dumps(read_and_write_again(), indent=1) + "\n")
