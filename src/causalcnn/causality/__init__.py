"""What a network really sees: probes, measured fields, and the contract that every layer here keeps."""

from causalcnn.causality.auditor import assert_causal, audit
from causalcnn.causality.contract import ContractError, ContractReport, check_contract
from causalcnn.causality.fitting import CannotFit, receptive_field
from causalcnn.causality.probes import (
    LINEAR_COPIES,
    gradient_probe,
    impulse_probe,
    measure_field,
    positive_copy,
    prefix_probe,
)
from causalcnn.causality.report import AuditReport, Evidence, LeakError, Verdict
from causalcnn.causality.tracing import CannotTrace, Trace, trace
from causalcnn.causality.zoo import CLEAN, FAULTS, Specimen, deep

__all__ = [
    "CLEAN",
    "FAULTS",
    "LINEAR_COPIES",
    "AuditReport",
    "CannotFit",
    "CannotTrace",
    "ContractError",
    "ContractReport",
    "Evidence",
    "LeakError",
    "Specimen",
    "Trace",
    "Verdict",
    "assert_causal",
    "audit",
    "check_contract",
    "deep",
    "gradient_probe",
    "impulse_probe",
    "measure_field",
    "positive_copy",
    "prefix_probe",
    "receptive_field",
    "trace",
]
