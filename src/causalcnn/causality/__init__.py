"""What a network really reads: audits, receptive fields, and the contract that every layer of this library keeps.

All of it works on any ``torch.nn.Module`` over time, except :func:`check_contract`, which is for causal layers of this
library and for your own that are to work with them. Which one to use:

* :func:`audit` says whether a network reads the future, how far, and which submodule is the first to do so.
  :func:`assert_causal` does the same in a test suite. :class:`Verdict` says what each answer proves.
* :func:`receptive_field` says which inputs each output reads, as a set, for any weights.
* :func:`check_contract` verifies that a layer gives the same on a whole sequence and on pieces of it, reads the past
  only, declares its field, and keeps rows apart.
* :func:`impulse_probe`, :func:`gradient_probe`, :func:`prefix_probe` and :func:`measure_field` are single
  measurements, which show what they do and can each miss something.
* :func:`trace` follows the operations of one run; audits and receptive fields are made of such traces.
* ``LEAK_CASES`` and ``CAUSAL_CASES`` are networks whose verdicts are known, to test an audit with.

Inside, ``adapter`` brings networks with any inputs and outputs into one form, ``auditor`` combines ``static`` (the
structure) and ``dynamic`` (the behaviour), whose probes are in ``case``; ``field_inference`` makes
fields of traces; the rules by which operations are followed are in ``tracing``, whose docstring says how to add one.
"""

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
