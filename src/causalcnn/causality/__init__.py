"""What a network really sees: probes, measured fields, and the contract that every layer here keeps."""

from causalcnn.causality.contract import ContractError, ContractReport, check_contract
from causalcnn.causality.probes import gradient_probe, impulse_probe, measure_field, positive_copy, prefix_probe

__all__ = [
    "ContractError",
    "ContractReport",
    "check_contract",
    "gradient_probe",
    "impulse_probe",
    "measure_field",
    "positive_copy",
    "prefix_probe",
]
