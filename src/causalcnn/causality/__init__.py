"""What a network really sees: probes, measured fields, and the contract that every layer here keeps."""

from causalcnn.causality.contract import ContractError, ContractReport, check_contract
from causalcnn.causality.fitting import CannotFit, receptive_field
from causalcnn.causality.probes import gradient_probe, impulse_probe, measure_field, positive_copy, prefix_probe
from causalcnn.causality.tracing import CannotTrace, Trace, trace

__all__ = [
    "CannotFit",
    "CannotTrace",
    "ContractError",
    "ContractReport",
    "Trace",
    "check_contract",
    "gradient_probe",
    "impulse_probe",
    "measure_field",
    "positive_copy",
    "prefix_probe",
    "receptive_field",
    "trace",
]
