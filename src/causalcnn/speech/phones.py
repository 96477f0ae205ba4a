"""espeak-ng's American English phonemes as the 39 phones of ARPABET, plus ``SIL``."""

from __future__ import annotations

PHONES = (
    "SIL",
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH"),
    *("K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
"""``SIL`` and the 39 phones; a phone's index in this tuple is its class in the chapters' probes."""

_ARPABET = {
    "p": "P", "b": "B", "t": "T", "t#": "T", "t2": "T", "t[": "T", "d": "D", "k": "K", "x": "K", "g": "G",
    "f": "F", "v": "V", "T": "TH", "D": "DH", "s": "S", "z": "Z", "S": "SH", "Z": "ZH", "h": "HH",
    "tS": "CH", "dZ": "JH", "m": "M", "n": "N", "n-": "N", "N": "NG",
    "l": "L", "l#": "L", "@L": "L", "r": "R", "r-": "R", "w": "W", "j": "Y", ";": "Y", "?": "SIL",
    "I": "IH", "I2": "IH", "I#": "IH", "i": "IY", "i:": "IY", "E": "EH", "a": "AE", "aa": "AE",
    "a#": "AH", "@": "AH", "@2": "AH", "@-": "AH", "V": "AH", "0": "AA", "A:": "AA", "A@": "AA", "O2": "AA",
    "O:": "AO", "O@": "AO", "o@": "AO", "u:": "UW", "U": "UH", "U@": "UH", "3": "ER", "3:": "ER",
    "eI": "EY", "e@": "EH", "i@": "IH", "i@3": "IH", "aI": "AY", "aI@": "AY", "aI3": "AY", "OI": "OY",
    "oU": "OW", "aU": "AW", "_:": "SIL", "_": "SIL", "_!": "SIL", "_|": "SIL",
}  # fmt: skip


def arpabet(mnemonic: str) -> str:
    """Give the ARPABET phone of one of espeak-ng's mnemonics; stress marks do not matter.

    A vowel coloured by r (``"A@"`` in "car") is one sound in espeak-ng and gets the vowel's phone, ``"AA"``;
    a syllabic l (``"@L"`` in "people") gets ``"L"``.

    Args:
        mnemonic: as espeak-ng reports it, for example ``"'eI"``.

    Returns:
        One of :data:`~causalcnn.speech.PHONES`.

    Raises:
        ValueError: the mnemonic is not in the table; no label is ever guessed.

    Example:
        >>> from causalcnn.speech import arpabet
        >>> arpabet("'eI"), arpabet("A@"), arpabet("_:")
        ('EY', 'AA', 'SIL')
    """
    plain = mnemonic.strip("',%=") or "_"
    try:
        return _ARPABET[plain]
    except KeyError:
        raise ValueError(
            f"espeak-ng's phoneme {mnemonic!r} has no ARPABET phone in causalcnn.speech.phones; add it to the table"
        ) from None
