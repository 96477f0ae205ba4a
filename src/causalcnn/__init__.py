"""causalcnn: networks over time that use the past and the present, never the future, and can prove it.

Names are imported when they are first used, so that ``causalcnn --help`` waits for no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from causalcnn.causality import (
        AuditReport,
        CannotTrace,
        ContractError,
        LeakError,
        NoPeriodicField,
        assert_causal,
        audit,
        check_contract,
        gradient_probe,
        impulse_probe,
        measure_field,
        prefix_probe,
        receptive_field,
    )
    from causalcnn.field import Field
    from causalcnn.nn import (
        CausalConv1d,
        CausalConv2d,
        CausalModule,
        Composite,
        Convention,
        Quantized,
        Stateless,
        Stream,
        VectorQuantizer,
    )

__version__ = "0.1.0"

__all__ = [
    "AuditReport",
    "CannotTrace",
    "CausalConv1d",
    "CausalConv2d",
    "CausalModule",
    "Composite",
    "ContractError",
    "Convention",
    "Field",
    "LeakError",
    "NoPeriodicField",
    "Quantized",
    "Stateless",
    "Stream",
    "VectorQuantizer",
    "assert_causal",
    "audit",
    "check_contract",
    "gradient_probe",
    "impulse_probe",
    "measure_field",
    "prefix_probe",
    "receptive_field",
]

_HOMES = ("causality", "field", "nn")
_PACKAGES = (*_HOMES, "models", "speech", "training")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"causalcnn.{name}")
    if name in __all__:
        homes = (import_module(f"causalcnn.{home}") for home in _HOMES)
        globals()[name] = found = next(getattr(home, name) for home in homes if hasattr(home, name))
        return found
    raise AttributeError(f"module 'causalcnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
