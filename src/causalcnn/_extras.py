"""Optional dependencies: imported when they are needed, and asked for by the extra that brings them."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``, or say which extra of causalcnn brings it.

    Args:
        module: dotted name of the module, such as ``"librosa"``.
        extra: the extra of causalcnn that installs it, such as ``"speech"``.

    Returns:
        The imported module; for ``"a.b"`` the submodule ``b``, not ``a``.

    Raises:
        ImportError: the module is not installed; the message holds the pip line that installs it.
        ModuleNotFoundError: the module is installed, but something that it imports is not. Its own error says more
            than ours could.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if missing != module and not module.startswith(missing + "."):
            raise  # the module is there, one of *its* imports is not: that is another problem
        raise ImportError(
            f"{module!r} is not installed; it comes with the extra {extra!r}: "
            f"python -m pip install 'causalcnn[{extra}]'",
            name=module,
        ) from error
