"""Output laws: distributions over one value's level, all on the same grid of 256, so that their bits compare.

``law_of("logistics-4")`` finds one by the name that stands in a config and in a checkpoint's card.
"""

from __future__ import annotations

import re

from causalcnn.models.laws.base import LEVELS, Law, bits_per_dimension
from causalcnn.models.laws.categorical import Categorical
from causalcnn.models.laws.mixtures import Gaussian, Gaussians, Logistics

__all__ = ["LEVELS", "Categorical", "Gaussian", "Gaussians", "Law", "Logistics", "bits_per_dimension", "law_of"]


def law_of(name: str) -> Law:
    """The law of a name: ``"categorical-8"`` (bits), ``"logistics-4"``, ``"gaussians-4"`` (components), ``"gaussian"``.

    Raises:
        ValueError: a name that is none of these.

    Example:
        >>> law_of("logistics-4").size
        12
    """
    if name == "gaussian":
        return Gaussian()
    kind, _, number = name.partition("-")
    kinds: dict[str, type[Categorical] | type[Logistics] | type[Gaussians]] = {
        "categorical": Categorical,
        "logistics": Logistics,
        "gaussians": Gaussians,
    }
    if kind not in kinds or not re.fullmatch(r"[1-9][0-9]?", number):
        raise ValueError(
            f"no law is called {name!r}; there are 'categorical-8' (or fewer bits), 'logistics-4', 'gaussians-4' "
            "(or another number of components) and 'gaussian'"
        )
    return kinds[kind](int(number))
