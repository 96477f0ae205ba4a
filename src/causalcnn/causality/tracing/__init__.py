"""Follow a running network, operation by operation: which input cells does each output depend on?

:func:`causalcnn.causality.trace` runs a module once. PyTorch shows every operation (``aten.convolution``,
``aten.softmax``, …) to a dispatch mode, which has a *rule* for it: the rule says which elements of the arguments each
element of the result reads. What is known of every tensor is kept in a table. An operation without a rule is refused
by name; nothing is guessed. The files:

* ``network``: ``trace`` itself, its result, and the submodules that run.
* ``dispatch``: intercepts the operations, calls their rules, refuses what cannot be followed.
* ``table``: the dependencies of all tensors, in the form that rules read and write.
* ``lengths``: what the network does with the length of its input, and so which lengths should be tried.
* ``origins``: the tensors that were there before it ran.
* ``rules``: the registry of rules, and ``Call``, what a rule is given.
* ``rules_pointwise``, ``rules_linear``, ``rules_shape``, ``rules_index``, ``rules_fft``: the rules.

**To add a rule**, start from the name in the error: for ``aten.linalg_inv_ex`` it is ``"linalg_inv_ex"``.

1. Read the names of its arguments: ``torch.ops.aten.linalg_inv_ex.default._schema``.
2. Decide what each element of each result reads, *for any numbers*: an ``argmin`` reads everything that it
   compares. A set that is too small would call a leak causal; one that is too large would accuse an innocent
   network. Where the numbers decide what is read, take everything that they may choose; where that makes no sense,
   raise :class:`causalcnn.causality.tracing.rules.Untraceable` with the reason.
3. Write the rule in the ``rules_…`` file that fits. :class:`causalcnn.causality.tracing.rules.Call` says what it is
   given and what it must write; :class:`causalcnn.causality.tracing.table.DependencyTable` says what dependencies
   look like. An operation that puts padding around time uses ``DependencyTable.pad``, which leaves marks. One that
   only moves elements about uses ``moved`` of ``rules``, which finds out by running it on zeros and ones.
4. If masks or constants are made with the operation, add its name to ``CONSTANT_RULES`` in ``dispatch``: then the rule
   also runs where nothing depends on the input, and every ``dep`` is None.
5. Add a function that uses it to ``EXACT`` in ``tests/causality/tracing/test_rules.py``: the test changes every input
   frame and compares what moves with what the rule says.

No rule is needed for views (``transpose``, slices, ``view``: the table looks through them), for operations that torch
tags as pointwise, nor for the form in place of an operation that has one (``relu_``, ``mul_``).

Example:
    A module that inverts each block of two frames by two channels cannot be followed:

    >>> import torch
    >>> from causalcnn.causality import trace
    >>> from causalcnn.causality.leak_case_layers import Apply
    >>> def invert(x):
    ...     matrices = x.transpose(1, 2).unflatten(1, (-1, 2))
    ...     return torch.linalg.inv_ex(matrices).inverse.flatten(1, 2).transpose(1, 2)
    >>> trace(Apply(invert), torch.ones(1, 2, 6))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    causalcnn.causality.tracing.dispatch.CannotTrace: cannot follow aten.linalg_inv_ex in ...

    With a rule it can. Each element of an inverse reads its whole matrix, and so does the status beside it:

    >>> from causalcnn.causality.tracing.rules import RULES, rule
    >>> from causalcnn.causality.tracing.table import any_over
    >>> @rule("linalg_inv_ex")
    ... def inverse(call):
    ...     matrix = call.operand("A")  # .dep is (width, *batch, n, n)
    ...     whole = any_over(matrix.dep, [-2, -1], keepdim=True)
    ...     call.put(whole.expand_as(matrix.dep))
    ...     call.put(whole[..., 0, 0], out=1)
    >>> [sorted(read) for read in trace(Apply(invert), torch.ones(1, 2, 6)).sets()]
    [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]
    >>> del RULES["linalg_inv_ex"]  # it was for this example only
"""

from causalcnn.causality.tracing.dispatch import CannotTrace
from causalcnn.causality.tracing.network import Trace, Visit, trace

__all__ = ["CannotTrace", "Trace", "Visit", "trace"]
