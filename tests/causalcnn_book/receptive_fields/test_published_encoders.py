"""The table of known encoders is computed; the numbers that their papers state come out."""

from __future__ import annotations

import pytest

from causalcnn_book.receptive_fields import reference_encoders

ENCODERS = {encoder.name: encoder for encoder in reference_encoders()}


@pytest.mark.parametrize(
    ("name", "size", "stride", "beyond"),
    [
        ("WaveNet, four stacks of ten", 1 + 4 * (2**10 - 1), 1, 0),
        ("TCN, eight levels, kernel 3", 1 + 2 * 2 * (2**8 - 1), 1, 0),
        ("wav2vec", 465, 160, 465 - 160),
        ("wav2vec 2.0", 400, 320, 80),
        ("CPC", 465, 160, 152),
        (
            "EnCodec, 24 kHz, convolutions only",
            1 + 6 + 2 + 3 + 2 * (2 + 7) + 8 * (2 + 9) + 40 * (2 + 15) + 320 * 6,
            320,
            0,
        ),
        ("causalcnn, five residual blocks (kernel 3, dilations 3 and 2)", 1 + 5 * 2 * (3 + 2), 1, 0),
        ("causal mel + five residual blocks", 640 + 50 * 160, 160, 0),
        ("centred mel + five residual blocks", 640 + 50 * 160, 160, 160),
    ],
)
def test_an_encoder_reads_what_its_sizes_say(name, size, stride, beyond):
    encoder = ENCODERS[name]
    assert (encoder.field.size, encoder.field.stride, encoder.beyond_its_hop) == (size, stride, beyond)


def test_rows_speak_in_inputs_and_milliseconds():
    row = ENCODERS["wav2vec 2.0"].row()
    assert (row["field (ms)"], row["hop (ms)"], row["ahead of its hop (ms)"]) == (25, 20, 5)
    assert len(ENCODERS) >= 6
