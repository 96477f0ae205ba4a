"""Output distributions: of one value's bin, all on the same grid of 256 bins, so that their bits compare.

``get_distribution("logistic-mixture-4")`` finds one by the name that stands in a config and in a checkpoint's card.
"""

from __future__ import annotations

import re

from causalcnn.models.distributions.base import NUM_BINS, OutputDistribution, bits_per_dimension
from causalcnn.models.distributions.categorical import Categorical
from causalcnn.models.distributions.mixtures import Gaussian, GaussianMixture, LogisticMixture

__all__ = [
    "NUM_BINS",
    "Categorical",
    "Gaussian",
    "GaussianMixture",
    "LogisticMixture",
    "OutputDistribution",
    "bits_per_dimension",
    "get_distribution",
]


def get_distribution(name: str) -> OutputDistribution:
    """The distribution of a name.

    Args:
        name: ``"categorical-8"`` (bits, 1 to 8), ``"logistic-mixture-4"`` or ``"gaussian-mixture-4"`` (components), or
            ``"gaussian"``.

    Raises:
        ValueError: a name that is none of these.

    Example:
        >>> get_distribution("logistic-mixture-4").size
        12
    """
    if name == "gaussian":
        return Gaussian()
    kind, _, number = name.rpartition("-")
    kinds: dict[str, type[Categorical] | type[LogisticMixture] | type[GaussianMixture]] = {
        "categorical": Categorical,
        "logistic-mixture": LogisticMixture,
        "gaussian-mixture": GaussianMixture,
    }
    if kind not in kinds or not re.fullmatch(r"[1-9][0-9]?", number):
        raise ValueError(
            f"no distribution is called {name!r}; there are 'categorical-8' (or fewer bits), 'logistic-mixture-4', "
            "'gaussian-mixture-4' (or another number of components) and 'gaussian'"
        )
    return kinds[kind](int(number))
