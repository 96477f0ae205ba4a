"""causalcnn: networks over time that use the past and the present, never the future, and can prove it.

>>> from causalcnn import CausalConv1d, audit
>>> layer = CausalConv1d(1, 8, kernel_size=3, dilation=2)
>>> print(layer.field)
reads 5 frames: 4 frames of past; never looks ahead; touches 3, skips 2
>>> audit(layer, (1, 1, 64)).passed
True

Here are the field, the most used layers and what inspects them; all layers are in :mod:`causalcnn.nn`. Names are
imported when they are first used, so that ``causalcnn --help`` need not wait for torch.
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
    from causalcnn.export import CannotExport, export_onnx
    from causalcnn.field import Field
    from causalcnn.nn import (
        CausalConv1d,
        CausalConv2d,
        CausalModule,
        Composite,
        Convention,
        Quantized,
        ResidualQuantized,
        ResidualVectorQuantizer,
        Stateless,
        Stream,
        VectorQuantizer,
    )

__version__ = "0.1.0"

__all__ = [
    "AuditReport",
    "CannotExport",
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
    "ResidualQuantized",
    "ResidualVectorQuantizer",
    "Stateless",
    "Stream",
    "VectorQuantizer",
    "assert_causal",
    "audit",
    "check_contract",
    "export_onnx",
    "gradient_probe",
    "impulse_probe",
    "measure_field",
    "prefix_probe",
    "receptive_field",
]

_HOMES = ("causality", "field", "nn", "export")
_PACKAGES = ("causality", "codec", "field", "nn", "models", "speech", "training")


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
