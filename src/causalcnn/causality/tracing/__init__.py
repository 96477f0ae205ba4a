"""Follow a running network, operation by operation: which input cells does each output depend on?"""

from causalcnn.causality.tracing.dispatch import CannotTrace
from causalcnn.causality.tracing.network import Trace, Visit, trace

__all__ = ["CannotTrace", "Trace", "Visit", "trace"]
