"""Output distributions of the bin of one value, all on the same grid of 256 bins, so that their bits can be compared.

``get_distribution("logistic-mixture-4")`` finds one by the name that stands in a config and in a checkpoint's card.
"""

from __future__ import annotations

import re

from causalcnn.models.distributions.base import NUM_BINS, OutputDistribution, bits_per_dimension
from causalcnn.models.distributions.categorical import Categorical, CodeCategorical
from causalcnn.models.distributions.mixtures import Gaussian, GaussianMixture, LogisticMixture

__all__ = [
    "NUM_BINS",
    "Categorical",
    "CodeCategorical",
    "Gaussian",
    "GaussianMixture",
    "LogisticMixture",
    "OutputDistribution",
    "bits_per_dimension",
    "get_distribution",
]


def get_distribution(name: str) -> OutputDistribution:
    """Build the output distribution that has this name.

    Args:
        name: ``"categorical-8"`` (the number counts bits, 1 to 8), ``"logistic-mixture-4"`` or
            ``"gaussian-mixture-4"`` (the number counts components, 1 to 99), or ``"gaussian"``.

    Returns:
        A new distribution. It is a module; that of ``"gaussian"`` has one parameter to learn, the others have none.

    Raises:
        ValueError: a name that is none of these.

    Example:
        >>> from causalcnn.models import get_distribution
        >>> [get_distribution(name).size for name in ("categorical-8", "logistic-mixture-4", "gaussian")]
        [256, 12, 1]
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
