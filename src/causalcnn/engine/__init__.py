"""Streams without torch: a module is lowered into a plan, which is data, and one compiled loop runs any plan.

>>> import torch
>>> from causalcnn.nn import CausalConv1d, CausalSequential
>>> network = CausalSequential(CausalConv1d(1, 8, 3), torch.nn.ReLU(), CausalConv1d(8, 8, 3, dilation=3))
>>> stream = network.stream(engine="compiled")
>>> stream(torch.zeros(1, 1, 1)).shape
torch.Size([1, 8, 1])

:class:`Plan` says what a plan is, :class:`ReferenceRunner` runs one in plain numpy. A layer that is made of others is
lowered by itself; :func:`lowers` says how any other is.
"""

from causalcnn.engine import layers, symbols
from causalcnn.engine.lowering import Builder, CannotCompile, Symbol, lower, lowers
from causalcnn.engine.plan import Op, Operand, Plan, Register
from causalcnn.engine.reference import ReferenceRunner
from causalcnn.engine.stream import CompiledStream, compiled_or_none, open_stream

__all__ = [
    "Builder",
    "CannotCompile",
    "CompiledStream",
    "Op",
    "Operand",
    "Plan",
    "ReferenceRunner",
    "Register",
    "Symbol",
    "compiled_or_none",
    "layers",
    "lower",
    "lowers",
    "open_stream",
    "symbols",
]
