"""causalcnn: networks over time that use the past and the present, never the future, and can prove it."""

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
