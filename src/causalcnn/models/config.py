"""What the settings of all models have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from causalcnn._checks import at_least

__all__ = ["ModelConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """Base class of the settings of a model, a frozen dataclass.

    A subclass is a frozen dataclass, too. It checks its settings in ``__post_init__``, so that a changed copy is
    checked as a new config is.

    Example:
        >>> from dataclasses import dataclass
        >>> from causalcnn.models import ModelConfig
        >>> @dataclass(frozen=True)
        ... class Config(ModelConfig):
        ...     channels: int = 64
        ...     layers: int = 2
        >>> Config().with_(channels=8)
        Config(channels=8, layers=2)
    """

    def with_(self, **changes: Any) -> Self:
        """Make a copy with other settings.

        Args:
            **changes: the settings to change, by their names.

        Returns:
            The new config, of the same class.

        Raises:
            TypeError: a setting that this config does not have.
            ValueError: a setting out of its range.
        """
        return replace(self, **changes)

    def _check_integers(self, *names: str, least: int = 1) -> None:
        """Check that settings are integers of at least so much; those of numpy become Python's, as a file has them."""
        for name in names:
            object.__setattr__(self, name, at_least(name, getattr(self, name), least))
