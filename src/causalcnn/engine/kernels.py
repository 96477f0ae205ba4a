"""The loop that runs any plan, compiled once per machine by numba. Everything compiled is in this file.

Numba's own vectorizer gives up where many rows of a matrix may overlap in memory, so the matrix product, which takes
nearly all of the time, is written in instructions of LLVM, for whatever vectors the machine has. The rest is plain
numba. A plan reaches the loop as tables of whole numbers: the columns have names, and :mod:`causalcnn.engine.machine`
fills them.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["FUNCTION_CODES", "KIND_CODES", "compiled_for", "run"]

KINDS = ("linear", "pool", "power", "pointwise", "pair", "concat", "norm", "argmax", "lookup", "feedback", "choice")
KIND_CODES = {name: code for code, name in enumerate(KINDS)} | {"reshape": KINDS.index("concat")}
LINEAR, POOL, POWER, POINTWISE, PAIR, CONCAT, NORM, ARGMAX, LOOKUP, FEEDBACK, CHOICE = range(len(KINDS))

FUNCTIONS = (
    "affine", "relu", "leaky_relu", "clamp", "tanh", "sigmoid", "silu", "square", "exp", "elu", "gelu", "mish",
    "softplus", "log", "sqrt", "abs", "reciprocal", "divide",
)  # fmt: skip
FUNCTION_CODES = {name: code for code, name in enumerate(FUNCTIONS)}
(
    AFFINE, RELU, LEAKY_RELU, CLAMP, TANH, SIGMOID, SILU, SQUARE, EXP, ELU, GELU, MISH, SOFTPLUS, LOG, SQRT, ABS,
    RECIPROCAL, DIVIDE,
) = range(len(FUNCTIONS))  # fmt: skip

# Columns of the table of operations. Places are in the memory of numbers (``arena``) or of weights; a *frame* is how
# many numbers one frame has, a *step* how many from one cell to the next.
(
    KIND, CODE, OUT, OUT_BASE, OUT_FRAME, IN, IN_BASE, IN_FRAME, IN_STEP, ROWS, CELLS, WIDTH, WEIGHTS, RING, WINDOW,
    STRIDE, RING_FRAME, RING_ROW, INSET, PHASES, FIRST, END, POINTS, SCRATCH, ENTER, OTHER,
) = range(26)  # fmt: skip
# Columns of the table of operands, and of the plan's outputs.
REGISTER, BASE, FRAME, STEP, CHANNELS, PLACE = range(6)
# Columns of the table of products.
(
    PHASE, BLOCKS, BLOCK_IN, BLOCK_OUT, HEIGHT, ROW_IN, ROW_OUT, TO, MATRIX, COLUMNS, PITCH, BIAS, DEPTH, TAP, LAST_TAP,
    PLUS, BLOCK_PLUS, ROW_PLUS, PLUS_FROM,
) = range(19)  # fmt: skip
# Columns of the table of taps.
DELAY, OFFSET = range(2)
# Columns of the cursors, which are the only whole numbers that change: the next slot of a ring, and how many it holds.
SLOT, HELD = range(2)


# ------------------------------------------------------------------------------------------- instructions of LLVM
def _tile(height: int, vectors: int, unroll: int) -> Callable[..., None]:
    """Make a matrix product of ``height`` rows with 64 · ``vectors`` bytes of columns, summed over taps.

    Its sums stay in registers until they are written. With ``unroll``, that many parts of a sum run side by side, so
    that none waits for the one before.
    """

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        context,
        arena,
        weights,
        places,
        taps,
        shift,
        row_in,
        depth,
        matrix,
        pitch,
        bias,
        plus,
        row_plus,
        to,
        row_out,
        columns,
    ):
        """The arguments: memories, places of taps, and whole numbers as in the table of products; plus may be −1."""
        size = arena.dtype.bitwidth // 8
        lanes = 64 // size

        def generate(context, b, signature, args):  # type: ignore[no-untyped-def]
            number, whole = ir.FloatType() if size == 4 else ir.DoubleType(), ir.IntType(64)
            vector = ir.VectorType(number, lanes)
            arena, weights, places = (
                context.make_array(kind)(context, b, value=value).data
                for kind, value in zip(signature.args[:3], args[:3], strict=True)
            )
            taps, shift, row_in, depth, matrix, pitch, bias, plus, row_plus, to, row_out, columns = args[3:]

            def n(value: int) -> ir.Constant:
                return ir.Constant(whole, value)

            def load(memory, place):  # type: ignore[no-untyped-def]
                return b.load(b.bitcast(b.gep(memory, [place]), vector.as_pointer()), align=size)

            def spread(x):  # type: ignore[no-untyped-def]
                one = b.insert_element(ir.Constant(vector, ir.Undefined), x, ir.Constant(ir.IntType(32), 0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                return b.shuffle_vector(one, one, zeros)

            sums = {
                (u, r, v): cgutils.alloca_once(b, vector)
                for u in range(unroll) for r in range(height) for v in range(vectors)
            }  # fmt: skip
            spill = cgutils.alloca_once(b, vector)
            for (u, _, v), place in sums.items():
                start = load(weights, b.add(bias, n(v * lanes))) if u == 0 else ir.Constant(vector, [0.0] * lanes)
                b.store(start, place)
            with b.if_then(b.icmp_signed(">=", plus, n(0))):
                for r in range(height):
                    for v in range(vectors):  # behind the last column, any numbers: nobody reads the sums
                        more = load(arena, b.add(plus, b.add(b.mul(row_plus, n(r)), n(v * lanes))))
                        b.store(b.fadd(b.load(sums[0, r, v]), more), sums[0, r, v])

            def multiply(x, w, k, u):  # type: ignore[no-untyped-def]
                line = b.add(w, b.mul(k, pitch))
                row = [load(weights, b.add(line, n(v * lanes))) for v in range(vectors)]
                for r in range(height):
                    factor = spread(b.load(b.gep(arena, [b.add(b.add(x, b.mul(row_in, n(r))), k)])))
                    for v in range(vectors):
                        product = b.fmul(factor, row[v], flags=("contract",))
                        total = b.fadd(b.load(sums[u, r, v]), product, flags=("contract",))
                        b.store(total, sums[u, r, v])

            with cgutils.for_range(b, taps) as tap:
                x = b.add(b.load(b.gep(places, [tap.index])), shift)
                w = b.add(matrix, b.mul(b.mul(tap.index, depth), pitch))
                even = b.sdiv(depth, n(unroll))
                with cgutils.for_range(b, even) as loop:
                    for u in range(unroll):
                        multiply(x, w, b.add(b.mul(loop.index, n(unroll)), n(u)), u)
                if unroll > 1:
                    with cgutils.for_range(b, depth, start=b.mul(even, n(unroll))) as loop:
                        multiply(x, w, loop.index, 0)

            for r in range(height):
                for v in range(vectors):
                    total = b.load(sums[0, r, v])
                    for u in range(1, unroll):
                        total = b.fadd(total, b.load(sums[u, r, v]))
                    place = b.add(to, b.add(b.mul(row_out, n(r)), n(v * lanes)))
                    with b.if_else(b.icmp_signed(">=", columns, n((v + 1) * lanes))) as (full, part):
                        with full:
                            b.store(total, b.bitcast(b.gep(arena, [place]), vector.as_pointer()), align=size)
                        with part:  # the last columns: what lies behind them belongs to others
                            b.store(total, spill)
                            with cgutils.for_range(b, b.sub(columns, n(v * lanes))) as loop:
                                one = b.load(b.gep(b.bitcast(spill, number.as_pointer()), [loop.index]))
                                b.store(one, b.gep(arena, [b.add(place, loop.index)]))
            return context.get_dummy_value()

        return types.void(arena, weights, places, *[types.int64] * 12), generate

    return tile


_four_rows = _tile(4, 1, 1)
_one_row_wide = _tile(1, 4, 1)
_one_row_half = _tile(1, 2, 2)
_one_row = _tile(1, 1, 4)


@intrinsic
def _exp(context, x):  # type: ignore[no-untyped-def]
    """e^x, up to rounding: ∞ above the largest number, and below the smallest, which is not a normal one, about that.

    math.exp is a call for every number; this is arithmetic, which a loop does for a whole vector at once: x = n·ln 2 +
    r, and e^x = 2^n · e^r with the Taylor series of e^r, |r| ≤ ½ ln 2. The power of two is the product of two that
    are normal numbers.
    """
    single = x.bitwidth == 32
    most, least = (88.7228, -103.9) if single else (709.7827, -745.1)
    terms, digits, bias = (8, 23, 127) if single else (14, 52, 1023)
    # ln 2 in two parts, of which the first has few digits, so that n times it is exact.
    high, low = (0.693359375, -2.12194440e-4) if single else (6.93147180369123816490e-01, 1.90821492927058770002e-10)

    def generate(context, b, signature, args):  # type: ignore[no-untyped-def]
        (x,) = args
        kind, whole = x.type, ir.IntType(32 if single else 64)

        def c(value: float) -> ir.Constant:
            return ir.Constant(kind, value)

        floor = b.module.declare_intrinsic("llvm.floor", [kind])
        large = b.fcmp_ordered(">", x, c(most))
        x = b.select(b.fcmp_ordered("<", x, c(least)), c(least), x)
        x = b.select(large, c(most), x)
        n = b.call(floor, [b.fadd(b.fmul(x, c(1 / math.log(2))), c(0.5))])
        r = b.fsub(b.fsub(x, b.fmul(n, c(high))), b.fmul(n, c(low)))
        y = c(1 / math.factorial(terms - 1))
        for term in range(terms - 2, -1, -1):
            y = b.fadd(b.fmul(y, r, flags=("contract",)), c(1 / math.factorial(term)), flags=("contract",))
        n = b.fptosi(n, whole)
        half = b.ashr(n, ir.Constant(whole, 1))
        for part in (half, b.sub(n, half)):
            power = b.shl(b.add(part, ir.Constant(whole, bias)), ir.Constant(whole, digits))
            y = b.fmul(y, b.bitcast(power, kind))
        return b.select(large, c(math.inf), y)

    return x(x), generate


# ------------------------------------------------------------------------------------------- parts of the loop
UNSIGNED = np.uint64
"""A whole number of which numba need not ask whether it counts from the end: then loops become vector instructions."""


def _compiled(function: Callable[..., Any], **more: Any) -> Any:
    """Compile a function; kept on disk if there is a place for it.

    References are not counted, because nothing is made in the loop, and what it is given outlives the call.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False, **more}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written: then every process compiles anew
        return njit(**options)(function)


def _inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into its only caller: a call with ten arrays costs as much as a small product."""
    return _compiled(function, inline="always")


SMALL = 0.02
"""Below it, 1 − e^−2x has lost digits, and four terms of a series have all of them."""


@_inlined
def _tanh_near_zero(x, kind):  # type: ignore[no-untyped-def]
    """tanh x for x near 0: x − x³/3 + 2x⁵/15 − 17x⁷/315."""
    y = x * x
    return x * (kind(1) - y * (kind(1 / 3) - y * (kind(2 / 15) - y * kind(17 / 315))))


@_compiled
def _scalar(code, x, a, b):  # type: ignore[no-untyped-def]
    """The functions that are called for one number after the other."""
    if code == EXP:
        return math.exp(x)
    if code == ELU:
        return x if x > 0 else a * math.expm1(x)
    if code == GELU:
        return x * ((1 + math.erf(x * math.sqrt(0.5))) / 2)
    if code == MISH:
        return x * math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x))))
    if code == SOFTPLUS:
        z = a * x
        return x if z > b else (max(z, 0.0) + math.log1p(math.exp(-abs(z)))) / a
    if code == LOG:
        return math.log(x)
    if code == SQRT:
        return math.sqrt(x)
    if code == ABS:
        return abs(x)
    if code == RECIPROCAL:
        return 1 / x
    return x / a


@_compiled
def _pointwise(arena, weights, code, w, source, target, numbers):  # type: ignore[no-untyped-def]
    """One function of some numbers; those that networks use most are loops that become vector instructions."""
    kind = arena.dtype.type
    s, t, n = UNSIGNED(source), UNSIGNED(target), UNSIGNED(numbers)
    a, b, zero, one = weights[w], weights[w + 1], kind(0), kind(1)
    if code == AFFINE:
        for i in range(n):
            arena[t + i] = a * arena[s + i] + b
    elif code == RELU:
        for i in range(n):
            x = arena[s + i]
            arena[t + i] = zero if x < zero else x  # NaN stays NaN
    elif code == LEAKY_RELU:
        for i in range(n):
            x = arena[s + i]
            arena[t + i] = x if x > zero else a * x
    elif code == CLAMP:
        for i in range(n):
            x = arena[s + i]
            x = a if x < a else x
            arena[t + i] = b if x > b else x
    elif code == TANH:
        two, small = kind(2), kind(SMALL)
        for i in range(n):
            x = arena[s + i]
            y = two / (one + _exp(-two * x)) - one
            arena[t + i] = _tanh_near_zero(x, kind) if abs(x) < small else y
    elif code == SIGMOID:
        for i in range(n):
            arena[t + i] = one / (one + _exp(-arena[s + i]))
    elif code == SILU:
        for i in range(n):
            x = arena[s + i]
            arena[t + i] = x / (one + _exp(-x))
    elif code == SQUARE:
        for i in range(n):
            arena[t + i] = arena[s + i] * arena[s + i]
    else:
        for i in range(n):
            arena[t + i] = _scalar(code, arena[s + i], a, b)


@_compiled
def _pair(arena, code, first, second, target, numbers):  # type: ignore[no-untyped-def]
    """Two inputs, number by number."""
    x, y, t, n = UNSIGNED(first), UNSIGNED(second), UNSIGNED(target), UNSIGNED(numbers)
    if code == 0:
        for i in range(n):
            arena[t + i] = arena[x + i] + arena[y + i]
    elif code == 1:
        for i in range(n):
            arena[t + i] = arena[x + i] - arena[y + i]
    elif code == 2:
        for i in range(n):
            arena[t + i] = arena[x + i] * arena[y + i]
    elif code == 3:
        for i in range(n):
            arena[t + i] = arena[x + i] / arena[y + i]
    else:
        kind = arena.dtype.type
        one, two, bound, small = kind(1), kind(2), kind(20), kind(SMALL)  # beyond the bound, tanh is ±1
        for i in range(n):
            value = arena[x + i]
            value = bound if value > bound else value
            value = -bound if value < -bound else value
            a, b = _exp(-two * value), _exp(-arena[y + i])
            c = one + a
            d = _tanh_near_zero(value, kind) * c if abs(value) < small else one - a
            arena[t + i] = d / (c * (one + b))


@_compiled
def _copy(source, start, step, target, to, pitch, cells, width):  # type: ignore[no-untyped-def]
    """Copy ``width`` numbers of each of some cells."""
    if step == width and pitch == width:
        cells, width = 1, cells * width
    n = UNSIGNED(width)
    for cell in range(cells):
        s, t = UNSIGNED(start + cell * step), UNSIGNED(to + cell * pitch)
        for i in range(n):
            target[t + i] = source[s + i]


@_inlined
def _product(arena, weights, places, p, to, plus, lanes):  # type: ignore[no-untyped-def]
    """One product of a table's row: blocks of rows, which are cells of a frame, or rows of the batch."""
    taps, depth, pitch = p[LAST_TAP] - p[TAP], p[DEPTH], p[PITCH]
    row_in, row_out, row_plus = p[ROW_IN], p[ROW_OUT], p[ROW_PLUS]
    height, columns = p[HEIGHT], p[COLUMNS]
    whole = height // 4 * 4
    for block in range(p[BLOCKS]):
        left, out = block * p[BLOCK_IN], to + p[TO] + block * p[BLOCK_OUT]
        for m in range(0, whole, 4):
            for n in range(0, columns, lanes):
                more = plus + block * p[BLOCK_PLUS] + m * row_plus + n if plus >= 0 else -1
                _four_rows(
                    arena, weights, places, taps, left + m * row_in, row_in, depth, p[MATRIX] + n, pitch, p[BIAS] + n,
                    more, row_plus, out + m * row_out + n, row_out, columns - n,
                )  # fmt: skip
        for m in range(whole, height):
            n = 0
            while n < columns:
                x, y, w, bias, rest = left + m * row_in, out + m * row_out + n, p[MATRIX] + n, p[BIAS] + n, columns - n
                more = plus + block * p[BLOCK_PLUS] + m * row_plus + n if plus >= 0 else -1
                if rest > 3 * lanes:
                    _one_row_wide(
                        arena, weights, places, taps, x, row_in, depth, w, pitch, bias, more, row_plus, y, row_out, rest
                    )
                    n += 4 * lanes
                elif rest > lanes:
                    _one_row_half(
                        arena, weights, places, taps, x, row_in, depth, w, pitch, bias, more, row_plus, y, row_out, rest
                    )
                    n += 2 * lanes
                else:
                    _one_row(
                        arena, weights, places, taps, x, row_in, depth, w, pitch, bias, more, row_plus, y, row_out, rest
                    )
                    n += lanes


@_inlined
def _enter(arena, weights, operands, o, f, slot):  # type: ignore[no-untyped-def]
    """Write frame ``f`` of the input into a slot of the ring, as it is or as a function makes it."""
    target, n = o[RING] + slot * o[RING_FRAME] + o[INSET], o[WIDTH]
    x, step, many = o[IN_BASE] + f * o[IN_FRAME], o[IN_STEP], o[CELLS]
    y = step_y = 0
    if o[OTHER] >= 0:
        other = operands[o[OTHER]]
        y, step_y = other[BASE] + f * other[FRAME], other[STEP]
    if step == n and (o[OTHER] < 0 or step_y == n):  # the cells lie next to each other
        n, many = n * many, 1
        step = step_y = n
    for row in range(o[ROWS]):
        for cell in range(row * many, (row + 1) * many):
            to = target + row * o[RING_ROW] + (cell - row * many) * n
            if o[OTHER] >= 0:
                _pair(arena, o[CODE], x + cell * step, y + cell * step_y, to, n)
            elif o[ENTER]:
                _pointwise(arena, weights, o[CODE], o[WEIGHTS], x + cell * step, to, n)
            else:
                _copy(arena, x + cell * step, n, arena, to, n, 1, n)


@_compiled
def _power(arena, weights, o, oldest, to):  # type: ignore[no-untyped-def]
    """The power spectrum of a ring: a Fourier transform of a power of two, by halves (Cooley and Tukey 1965)."""
    points, window, ring = o[POINTS], o[WINDOW], o[RING]
    half = points // 2
    turns = o[WEIGHTS] + window  # cosines, then sines
    for row in range(o[ROWS]):
        real, imaginary = o[SCRATCH], o[SCRATCH] + points
        for i in range(points):
            arena[real + i] = arena[imaginary + i] = 0
        reversed_ = 0
        for i in range(points):  # in the order of the bits read backwards
            if i < window:
                slot = (oldest + i) % window
                arena[real + reversed_] = weights[o[WEIGHTS] + i] * arena[ring + slot * o[RING_FRAME] + row]
            bit = half
            while bit and reversed_ & bit:
                reversed_ ^= bit
                bit >>= 1
            reversed_ |= bit
        size = 1
        while size < points:
            turn = half // size
            for start in range(0, points, 2 * size):
                for k in range(size):
                    c, s = weights[turns + k * turn], weights[turns + half + k * turn]
                    i, j = start + k, start + k + size
                    x = c * arena[real + j] + s * arena[imaginary + j]
                    y = c * arena[imaginary + j] - s * arena[real + j]
                    arena[real + j], arena[imaginary + j] = arena[real + i] - x, arena[imaginary + i] - y
                    arena[real + i], arena[imaginary + i] = arena[real + i] + x, arena[imaginary + i] + y
            size *= 2
        for i in range(half + 1):
            x, y = arena[real + i], arena[imaginary + i]
            arena[to + row * (half + 1) + i] = x * x + y * y


@_compiled
def _norm(arena, weights, o, x, to):  # type: ignore[no-untyped-def]
    """Every cell to mean 0 and variance 1."""
    n, w = o[WIDTH], o[WEIGHTS]
    kind = arena.dtype.type
    for cell in range(o[ROWS] * o[CELLS]):
        source, target = x + cell * o[IN_STEP], to + cell * n
        mean = variance = kind(0)
        for i in range(n):
            mean += arena[source + i]
        mean /= kind(n)
        for i in range(n):
            centered = arena[source + i] - mean
            variance += centered * centered
        scale = kind(1) / kind(math.sqrt(variance / kind(n) + weights[w]))
        for i in range(n):
            arena[target + i] = (arena[source + i] - mean) * scale * weights[w + 1 + i] + weights[w + 1 + n + i]


@_compiled
def _argmax(arena, o, x, to):  # type: ignore[no-untyped-def]
    """The place of the largest number of every cell: first how large it is, then where it stands."""
    for cell in range(o[ROWS] * o[CELLS]):
        source = UNSIGNED(x + cell * o[IN_STEP])
        best = arena[source]
        for i in range(UNSIGNED(o[WIDTH])):
            value = arena[source + i]
            best = value if value > best or value != value else best
        place = UNSIGNED(0)
        while arena[source + place] != best and (best == best or arena[source + place] == arena[source + place]):
            place += UNSIGNED(1)  # to the best, or to the first NaN
        arena[to + cell] = place


@_compiled
def _sixteen(arena, start):  # type: ignore[no-untyped-def]
    """The sum of sixteen numbers, which need not wait for those before them."""
    total = 0.0
    for i in range(UNSIGNED(16)):
        total += arena[start + i]
    return total


@_compiled
def _choice(arena, weights, o, x, noise, to):  # type: ignore[no-untyped-def]
    """A bin for every cell, by four numbers of noise; see ``reference.choose``."""
    components, scratch, settings = o[CODE], o[SCRATCH], o[WEIGHTS]
    count = components if components else o[WIDTH]
    n, room = UNSIGNED(count), UNSIGNED(scratch)
    for cell in range(o[ROWS] * o[CELLS]):
        source, four = x + cell * o[IN_STEP], noise + cell * 4
        s = UNSIGNED(source)
        best = arena[s]
        for i in range(n):
            value = arena[s + i]
            best = value if value > best else best
        temperature = arena[four + 2]
        for i in range(n):
            arena[room + i] = _exp((arena[s + i] - best) / temperature)
        total, whole = 0.0, n // UNSIGNED(16) * UNSIGNED(16)
        for i in range(UNSIGNED(0), whole, UNSIGNED(16)):
            total += _sixteen(arena, room + i)
        for i in range(whole, n):
            total += arena[room + i]
        target, sum_, place = arena[four] * total, 0.0, UNSIGNED(0)
        while place < whole:  # steps of sixteen, as far as they do not reach beyond
            more = _sixteen(arena, room + place)
            if sum_ + more > target:
                break
            sum_ += more
            place += UNSIGNED(16)
        while place + UNSIGNED(1) < n:
            sum_ += arena[room + place]
            if sum_ > target:
                break
            place += UNSIGNED(1)
        chosen = np.int64(min(place, n - UNSIGNED(1)))
        if components:
            mean, raw = arena[source + components + chosen], arena[source + 2 * components + chosen]
            scale = max(raw, 0.0) + math.log1p(math.exp(-abs(raw))) + weights[settings + 1]
            bins = weights[settings]
            bin_ = math.floor((mean + scale * arena[four + 3] * arena[four + 1] + 1) / 2 * bins)
            arena[to + cell] = min(max(bin_, 0), bins - 1)
        else:
            width = weights[settings]
            arena[to + cell] = chosen * width + min(math.floor(arena[four + 1] * width), width - 1)


@_inlined
def _fire(arena, weights, operands, taps, products, places, counts, o, newest, made, lanes):  # type: ignore[no-untyped-def]
    """What a full window gives, as the frames from ``made`` on; whether what is added to it has come."""
    window, ring, to = o[WINDOW], o[RING], o[OUT_BASE] + made * o[OUT_FRAME]
    if o[KIND] == LINEAR:
        for i in range(o[FIRST], o[END]):
            p = products[i]
            for tap in range(p[TAP], p[LAST_TAP]):
                slot = newest - taps[tap, DELAY]
                slot += window if slot < 0 else 0
                places[tap - p[TAP]] = ring + slot * o[RING_FRAME] + taps[tap, OFFSET]
            plus = -1
            if p[PLUS] >= 0:
                frame, more = made + p[PHASE], operands[p[PLUS]]
                if frame >= counts[more[REGISTER]]:
                    return False
                plus = more[BASE] + frame * more[FRAME] + p[PLUS_FROM]
            _product(arena, weights, places, p, to + p[PHASE] * o[OUT_FRAME], plus, lanes)
    elif o[KIND] == POOL:
        n, scale = o[OUT_FRAME], weights[o[WEIGHTS]]
        for tap in range(o[FIRST], o[END]):
            source = ring + (newest - taps[tap, DELAY]) % window * o[RING_FRAME]
            first = tap == o[FIRST]
            for i in range(n):
                x, y = arena[source + i], arena[to + i]
                if o[CODE]:
                    arena[to + i] = x if first or x > y or x != x else y
                else:
                    arena[to + i] = x * scale if first else y + x * scale
    else:
        _power(arena, weights, o, (newest + 1) % window, to)
    return True


@_compiled
def run(ops, operands, products, taps, outputs, cursors, counts, places, arena, weights, xs, ys, frames, inputs, tick):  # type: ignore[no-untyped-def]
    """Feed frames to a plan.

    Args: the tables, whose columns are named above; ``cursors``, the places in the rings; ``counts``, how many frames
    each register holds; memory; ``xs``, the frames, and ``ys``, room for what comes of them; how many frames; how many
    inputs, the first registers; and how many frames go through the plan at once.

    Returns −1, or the number of an operation whose inputs do not come at the same time. How many frames each output
    got is in ``outputs``.
    """
    lanes = 64 // arena.itemsize
    outputs[:, PLACE + 1] = 0
    read = done = 0
    while done < frames:
        now = min(tick, frames - done)
        done += now
        for f in range(now):
            for i in range(inputs):
                _copy(xs, read, 1, arena, operands[i, BASE] + f * operands[i, FRAME], 1, operands[i, FRAME], 1)
                read += operands[i, FRAME]
        for i in range(inputs):
            counts[i] = now
        for number in range(len(ops)):
            o = ops[number]
            kind, count, made = o[KIND], counts[o[IN]], 0
            cells, width = o[ROWS] * o[CELLS], o[WIDTH]
            for f in range(count):
                x = o[IN_BASE] + f * o[IN_FRAME]
                to = o[OUT_BASE] + made * o[OUT_FRAME]
                if kind <= POWER:
                    slot = cursors[number, SLOT]
                    if o[OTHER] >= 0 and counts[operands[o[OTHER], REGISTER]] != count:
                        return number
                    _enter(arena, weights, operands, o, f, slot)
                    cursors[number, SLOT] = slot + 1 if slot + 1 < o[WINDOW] else 0
                    cursors[number, HELD] += 1
                    if cursors[number, HELD] == o[WINDOW]:
                        if not _fire(arena, weights, operands, taps, products, places, counts, o, slot, made, lanes):
                            return number
                        cursors[number, HELD] -= o[STRIDE]
                        made += o[PHASES]
                    continue
                made += 1
                if kind == POINTWISE:
                    n, many = width, cells
                    if o[IN_STEP] == width:
                        n, many = cells * width, 1
                    for cell in range(many):
                        _pointwise(arena, weights, o[CODE], o[WEIGHTS], x + cell * o[IN_STEP], to + cell * n, n)
                elif kind == PAIR:
                    other = operands[o[FIRST]]
                    if counts[other[REGISTER]] != count:
                        return number
                    y = other[BASE] + f * other[FRAME]
                    n, many = width, cells
                    if o[IN_STEP] == width and other[STEP] == width:
                        n, many = cells * width, 1
                    for cell in range(many):
                        _pair(arena, o[CODE], x + cell * o[IN_STEP], y + cell * other[STEP], to + cell * n, n)
                elif kind == CONCAT:
                    for i in range(o[FIRST], o[END]):
                        part = operands[i]
                        if counts[part[REGISTER]] != count:
                            return number
                        source = part[BASE] + f * part[FRAME]
                        _copy(arena, source, part[STEP], arena, to + part[PLACE], o[STRIDE], cells, part[CHANNELS])
                elif kind == NORM:
                    _norm(arena, weights, o, x, to)
                elif kind == ARGMAX:
                    _argmax(arena, o, x, to)
                elif kind == FEEDBACK:  # its source still holds the frame before
                    _copy(arena, operands[o[FIRST], BASE], 1, arena, to, 1, o[OUT_FRAME], 1)
                elif kind == CHOICE:
                    other = operands[o[FIRST]]
                    if counts[other[REGISTER]] != count:
                        return number
                    _choice(arena, weights, o, x, other[BASE] + f * other[FRAME], to)
                else:
                    for cell in range(cells):
                        index = min(max(int(arena[x + cell * o[IN_STEP]]), 0), o[POINTS] - 1)
                        row = o[WEIGHTS] + index * o[STRIDE]
                        _copy(weights, row, 1, arena, to + cell * o[STRIDE], 1, o[STRIDE], 1)
            counts[o[OUT]] = made
        for i in range(len(outputs)):
            y = outputs[i]
            for f in range(counts[y[REGISTER]]):
                source, cells = y[BASE] + f * y[FRAME], y[FRAME] // y[STEP]
                to = y[PLACE] + y[PLACE + 1] * cells * y[CHANNELS]
                _copy(arena, source, y[STEP], ys, to, y[CHANNELS], cells, y[CHANNELS])
                y[PLACE + 1] += 1
    return -1


def compiled_for(dtype: np.dtype[Any]) -> Any:
    """Compile the loop for a dtype, or take it from the disk, and return it; says so if it takes seconds."""
    whole, table, place = types.int64, types.int64[:, ::1], types.int64[::1]
    real = (types.float32 if dtype == np.float32 else types.float64)[::1]
    arguments = (*[table] * 6, place, place, *[real] * 4, whole, whole, whole)
    if arguments not in run.signatures:
        message = "causalcnn: compiling the loop of compiled streams, once on this machine (about 15 s) …"
        notice = threading.Timer(2.5, lambda: print(message, file=sys.stderr, flush=True))
        notice.daemon = True
        notice.start()
        try:
            run.compile(arguments)
        finally:
            notice.cancel()
    return run
