"""What a network really sees: probes, measured fields, and the contract that every layer here keeps."""

from causalcnn.causality.auditor import assert_causal, audit
from causalcnn.causality.contract import ContractError, ContractReport, check_contract
from causalcnn.causality.copies import LINEAR_COPIES, linearized_copy
from causalcnn.causality.field_fitting import NoPeriodicField
from causalcnn.causality.field_inference import receptive_field
from causalcnn.causality.leak_cases import CAUSAL_CASES, LEAK_CASES, LeakCase, embed_in_network
from causalcnn.causality.probes import gradient_probe, impulse_probe, measure_field, prefix_probe
from causalcnn.causality.report import AuditReport, Evidence, LeakError, Verdict
from causalcnn.causality.tracing import CannotTrace, Trace, trace

__all__ = [
    "CAUSAL_CASES",
    "LEAK_CASES",
    "LINEAR_COPIES",
    "AuditReport",
    "CannotTrace",
    "ContractError",
    "ContractReport",
    "Evidence",
    "LeakCase",
    "LeakError",
    "NoPeriodicField",
    "Trace",
    "Verdict",
    "assert_causal",
    "audit",
    "check_contract",
    "embed_in_network",
    "gradient_probe",
    "impulse_probe",
    "linearized_copy",
    "measure_field",
    "prefix_probe",
    "receptive_field",
    "trace",
]
