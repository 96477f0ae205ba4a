"""How many examples a property gets: the number that a test names, many times as many in the release's long fuzz."""

import os

FACTOR = int(os.environ.get("CAUSALCNN_FUZZ", "1"))


def examples(number: int) -> int:
    """Return how many examples hypothesis makes where a test asks for ``number``."""
    return number * FACTOR
