"""Fewer, larger operations: a plan that computes the same and takes less time.

For the loop a small operation costs about as much as a small matrix product. So what stands before a product becomes a
part of how its input is kept, what stands behind it a part of its sum, and products of the same frame one operation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from causalcnn.engine.plan import Op, Operand, Plan, Register

__all__ = ["fuse"]


def fuse(plan: Plan) -> Plan:
    """Make the plan of the same stream with fewer operations.

    Args:
        plan: the plan; it is left as it is.

    Returns:
        The plan after each of these rules:

        - ``tanh(x)·σ(y)`` is one ``gate``.
        - What is added to the output of a ``linear`` operation is a part of its sums, ``plus``.
        - Those ``linear`` operations that read the same frame, and no other one, are one operation.
        - What is done number by number to the input of a ``linear`` operation alone is done when it enters.

    Example:
        >>> import torch
        >>> from causalcnn.engine import Builder, Register
        >>> from causalcnn.engine.fusion import fuse
        >>> builder = Builder()
        >>> x = builder.input(Register(channels=4))
        >>> y = x + builder.matrix(torch.relu(x), torch.eye(4).numpy())
        >>> plan = builder.plan([y], {})
        >>> [op.kind for op in plan.ops], [op.kind for op in fuse(plan).ops]
        (['pointwise', 'linear', 'add'], ['linear'])
    """
    draft = _Draft(plan)
    for rule in _RULES:
        rule(draft)
    return draft.plan()


class _Draft:
    """A plan while it changes: registers keep their numbers, and operations their places, until the end."""

    def __init__(self, plan: Plan) -> None:
        self.source = plan
        self.registers = list(plan.registers)
        self.ops: list[Op | None] = list(plan.ops)
        self.place = {op.output: place for place, op in enumerate(plan.ops)}  # of the operation that writes a register
        self.moved: dict[int, Operand] = {}  # registers that have become a part of another one
        self.part_of = list(range(len(plan.ops)))  # operations that have become a part of another one
        self.fed_back = {op.settings["register"] for op in plan.ops if op.kind == "feedback"}
        self.uses = Counter(operand.register for op in plan.ops for operand in op.inputs)
        self.uses.update(operand.register for operand in plan.outputs)
        self.uses.update(self.fed_back)

    def now(self, operand: Operand) -> Operand:
        """Where an operand stands now."""
        register, first, channels = operand
        while register in self.moved:
            register, start, _ = self.moved[register]
            first += start
        return Operand(register, first, channels)

    def writer(self, operand: Operand, *kinds: str) -> Op | None:
        """The operation that writes a register, if it is of one of the kinds, and nothing else reads it."""
        place = self.place.get(operand.register)
        if place is None or self.uses[operand.register] != 1:
            return None
        op = self.ops[place]
        return op if op is not None and op.kind in kinds else None

    def is_there(self, operand: Operand, place: int) -> bool:
        """Whether a register is written before a place."""
        return self.place.get(operand.register, -1) < place

    def put(self, place: int, op: Op, *gone: Op) -> None:
        """Let an operation stand at a place, for those that are gone."""
        for old in gone:
            at = self.place.pop(old.output)
            self.ops[at], self.part_of[at] = None, place
        self.ops[place], self.part_of[place] = op, place
        self.place[op.output] = place

    def plan(self) -> Plan:
        """The plan, with its registers numbered anew."""
        source, inputs = self.source, self.source.inputs
        left = [(place, op) for place, op in enumerate(self.ops) if op is not None]
        number = {register: register for register in range(inputs)}
        number |= {op.output: inputs + i for i, (_, op) in enumerate(left)}
        place = {old: new for new, (old, _) in enumerate(left)}

        def named(operand: Operand) -> Operand:
            register, first, channels = self.now(operand)
            return Operand(number[register], first, channels)

        ops = []
        for _, op in left:
            again = {"register": number[op.settings["register"]]} if op.kind == "feedback" else {}
            ops.append(
                Op(op.kind, tuple(map(named, op.inputs)), number[op.output], {**op.settings, **again}, op.arrays)
            )

        def kept(state: Any) -> Any:
            if isinstance(state, dict):
                return {name: kept(part) for name, part in state.items()}
            if not isinstance(state, int):
                return state
            while self.part_of[state] != state:
                state = self.part_of[state]
            return place[state]

        registers = [*self.registers[:inputs], *(self.registers[op.output] for _, op in left)]
        return Plan(registers, inputs, ops, [named(one) for one in source.outputs], source.dtype, kept(source.state))


def _gates(draft: _Draft) -> None:
    """``tanh(x)·σ(y)`` is one operation."""
    for place, op in enumerate(draft.ops):
        if op is None or op.kind != "multiply":
            continue
        first, second = (draft.writer(operand, "pointwise") for operand in op.inputs)
        if first is None or second is None:
            continue
        halves = zip((first, second), op.inputs, strict=True)
        reads = {half.settings["function"]: _through(half, operand) for half, operand in halves}
        if reads.keys() == {"tanh", "sigmoid"}:
            draft.put(place, Op("gate", (*reads["tanh"], *reads["sigmoid"]), op.output), first, second)


def _sums(draft: _Draft) -> None:
    """What is added to the output of a product is added while it is computed."""
    for place, op in enumerate(draft.ops):
        if op is None or op.kind != "add":
            continue
        choices = []
        for operand, other in (op.inputs, op.inputs[::-1]):
            linear = draft.writer(operand, "linear")
            if linear is not None and _is_plain(linear, draft.registers[linear.output], operand):
                choices.append((draft.place[linear.output], linear, other))
        if choices:
            at, linear, other = max(choices, key=lambda choice: choice[0])
            inputs = list(linear.inputs)
            products = []
            for number, product in enumerate(linear.settings["products"]):
                columns = linear.arrays[f"bias{number}"].size
                added = Operand(other.register, other.first + product["out_channel"], columns)
                if added not in inputs[linear.entering :]:
                    inputs.append(added)
                products.append(product | {"plus": inputs.index(added, linear.entering)})
            settings = linear.settings | {"products": products}
            fused = Op("linear", tuple(inputs), op.output, settings, linear.arrays)
            draft.put(at if draft.is_there(other, at) else place, fused, linear, op)


def _is_plain(linear: Op, out: Register, operand: Operand) -> bool:
    """Whether an operand is all that a product gives, and nothing is added to it yet."""
    products = linear.settings["products"]
    numbers = sum(p["cells"] * linear.arrays[f"bias{i}"].size for i, p in enumerate(products))
    whole = numbers == linear.settings["phases"] * out.cells * out.channels
    return whole and operand.channels == out.channels and len(linear.inputs) == linear.entering


def _joins(draft: _Draft) -> None:
    """Products of the same frame are one operation, unless a frame has cells, of which each would be read in parts."""
    first: dict[tuple[Operand, ...], int] = {}
    for place, op in enumerate(draft.ops):
        if op is None or op.kind != "linear" or op.output in draft.fed_back or "enter" in op.settings:
            continue
        s, out = op.settings, draft.registers[op.output]
        if out.cells > 1 or (s.get("window", 1), s["phases"], s["below"], s["above"]) != (1, 1, 0, 0):
            continue
        source, *added = (draft.now(operand) for operand in op.inputs)
        at = first.setdefault((source,), place)
        if at == place or not all(draft.is_there(operand, at) for operand in added):
            continue
        before = draft.ops[at]
        assert before is not None
        width, shift = draft.registers[before.output].channels, len(before.inputs) - 1
        products, arrays = list(before.settings["products"]), dict(before.arrays)
        for number, product in enumerate(s["products"]):
            plus = {"plus": product["plus"] + shift} if "plus" in product else {}
            arrays |= {f"{name}{len(products)}": op.arrays[f"{name}{number}"] for name in ("weight", "bias")}
            products.append(product | plus | {"out_channel": product["out_channel"] + width})
        joined = len(draft.registers)
        draft.registers.append(out._replace(channels=width + out.channels))
        for old, start in ((before, 0), (op, width)):
            draft.moved[old.output] = Operand(joined, start, 0)
            draft.uses[joined] += draft.uses[old.output]
        draft.uses[source.register] -= 1
        settings = before.settings | s | {"products": products}
        draft.put(at, Op("linear", (*before.inputs, *added), joined, settings, arrays), before, op)


def _entries(draft: _Draft) -> None:
    """What is done number by number to what a product alone reads is done on its way into the window."""
    for place, op in enumerate(draft.ops):
        if op is None or op.kind != "linear" or "enter" in op.settings:
            continue
        source, *added = (draft.now(operand) for operand in op.inputs)
        each = draft.writer(source, "pointwise", "add", "subtract", "multiply", "divide", "gate")
        if each is not None:
            entering = [draft.now(operand) for operand in _through(each, source)]
            shift = len(entering) - 1
            products = [p | ({"plus": p["plus"] + shift} if "plus" in p else {}) for p in op.settings["products"]]
            settings = op.settings | {"products": products, "enter": {"kind": each.kind, **each.settings}}
            draft.put(place, Op("linear", (*entering, *added), op.output, settings, op.arrays), each)


def _through(op: Op, operand: Operand) -> tuple[Operand, ...]:
    """What an operation that works number by number reads for a part of its output."""
    return tuple(Operand(register, first + operand.first, operand.channels) for register, first, _ in op.inputs)


_RULES: tuple[Callable[[_Draft], None], ...] = (_gates, _sums, _joins, _entries)
