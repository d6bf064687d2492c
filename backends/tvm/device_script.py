# mypy: ignore-errors
"""Helpers that kernels for devices are written with, in place of those for CPUs.

Devices have functions of their own for most of what CPUs compute by polynomials.
"""

import tvm
from tvm.script import tirx as T

THREADS = 64


def _fence():
    """Threads wait, and see what others have written to memory: of which TVM has no word."""
    return T.call_extern("int32", "fence")


def _as_float(x, dtype):
    """An integer as a float."""
    return T.Cast(dtype, x)


def _where(condition, a, b):
    """`a` where a condition holds, else `b`; numbers take the type of what they stand beside."""
    if isinstance(condition, bool):
        return a if condition else b
    a, b = _alike(a, b)
    if _kind(a) == "bool":  # there is no choice of truths in OpenCL
        return T.Or(T.And(condition, a), T.And(T.Not(condition), b))
    return T.Select(condition, a, b)


def _differ(a, b):
    """Whether one of two conditions holds alone."""
    return T.Cast("int32", a) != T.Cast("int32", b)


def _larger(a, b):
    """The larger of two; NaN is passed on."""
    a, b = map(T.bind, _alike(a, b))
    return T.Select(a > b, a, T.Select(_nan(a), a, b))


def _smaller(a, b):
    """The smaller of two; NaN is passed on."""
    a, b = map(T.bind, _alike(a, b))
    return T.Select(a < b, a, T.Select(_nan(a), a, b))


def _over(a, b):
    """The larger of two that are not NaN."""
    a, b = _alike(a, b)
    return T.Select(a > b, a, b)


def _under(a, b):
    """The smaller of two that are not NaN."""
    a, b = _alike(a, b)
    return T.Select(a < b, a, b)


def _ahead(a, b):
    """Whether one value comes before another, the largest first, NaN largest of all."""
    if not _kind(a).startswith("float"):
        return a > b
    return T.Or(T.And(_nan(a), T.Not(_nan(b))), T.And(T.Not(_nan(b)), a > b))


def _tied(a, b):
    """Whether no value comes before the other."""
    if not _kind(a).startswith("float"):
        return a == b
    return T.Or(T.And(_nan(a), _nan(b)), a == b)


def _floor_of(a, b):
    """The quotient of floats, rounded down."""
    return T.floor(a / b)


def _rest_of(a, b):
    """What rounding the quotient of floats down leaves."""
    return a - T.floor(a / b) * b


def _whole_power(x, n):
    """A power with a small whole exponent."""
    result = T.Cast(_kind(x), 1)
    for _ in range(n):
        result = result * x
    return result


def _negative(x):
    """A number with the other sign."""
    return T.Cast(_kind(x), -1) * x if _kind(x).startswith("float") else 0 - x


def _sine(x, quarters, dtype):
    """sin(x + quarters * pi / 2) of an angle of 64 bits, in the type that is computed in."""
    return T.Cast(dtype, T.cos(x) if quarters else T.sin(x))


def _abs(x):
    """The size of a number."""
    return T.Select(x < 0, 0 - x, x) if _kind(x).startswith("int") else T.abs(x)


def _sign(x):
    """-1, 0 or 1; NaN is passed on."""
    one = T.Cast(_kind(x), 1)
    return T.Select(x > 0, one, T.Select(x < 0, 0 - one, x))


def _floor(x):
    """The greatest integer that is no greater."""
    return T.floor(x)


def _ceil(x):
    """The least integer that is no less."""
    return T.ceil(x)


def _exp2(x):
    """2 to a power."""
    return T.exp2(x)


def _exp(x):
    """e to a power."""
    return T.exp(x)


def _log(x):
    """The natural logarithm."""
    return T.log(x)


def _log2(x):
    """The binary logarithm."""
    return T.log2(x)


def _sqrt(x):
    """The square root."""
    return T.sqrt(x)


def _rsqrt(x):
    """1 over the square root."""
    return T.Cast(_kind(x), 1) / T.sqrt(x)


def _relu(x):
    """max(x, 0); NaN is passed on."""
    return T.Select(x < T.Cast(_kind(x), 0), T.Cast(_kind(x), 0), x)


def _softplus(x):
    """log(1 + exp(x))."""
    x = T.bind(x)
    return T.max(x, T.float32(0)) + _log1p(T.exp(T.float32(0) - T.abs(x)))


def _erf(x):
    """The error function."""
    return T.erf(x)


def _gelu(x):
    """The Gaussian error linear unit, by erf."""
    return T.float32(0.5) * x * (T.float32(1) + T.erf(x * T.float32(0.7071067811865476)))


def _sin(x):
    """The sine."""
    return T.sin(x)


def _cos(x):
    """The cosine."""
    return T.cos(x)


def _expm1(x):
    """exp(x) - 1, also where x is small."""
    x = T.bind(x)
    u = T.bind(T.exp(x))
    near = (u - T.float32(1)) * x / T.log(T.max(u, T.float32(1e-30)))
    plain = T.Select(T.And(T.abs(x) < T.float32(1), u > T.float32(0)), near, u - T.float32(1))
    return T.Select(u == T.float32(1), x, plain)


def _log1p(x):
    """log(1 + x), also where x is small."""
    x = T.bind(x)
    u = T.bind(T.float32(1) + x)
    found = T.bind(T.log(u))
    near = found * x / T.Select(u == T.float32(1), T.float32(1), u - T.float32(1))
    other = T.Select(T.abs(x) < T.float32(1), near, found)
    return T.Select(u == T.float32(1), x, other)


def _tanh(x):
    """The hyperbolic tangent, by an exponential, or where x is small by a polynomial."""
    x = T.bind(x)
    y = T.bind(T.abs(x))
    large = T.float32(1) - T.float32(2) / (T.exp(T.float32(2) * y) + T.float32(1))
    z = T.bind(y * y)
    tail = T.float32(1.33314422036e-1) + z * (
        T.float32(-5.37397155531e-2) + z * T.float32(2.06390887954e-2)
    )
    tail = z * tail - T.float32(3.33332819422e-1) - z * z * z * z * T.float32(5.70498872745e-3)
    found = T.Select(y < T.float32(0.625), y + y * z * tail, large)
    return T.Select(x < T.float32(0), T.float32(0) - found, found)


def _sigmoid(x):
    """1 / (1 + exp(-x))."""
    return T.float32(1) / (T.float32(1) + T.exp(T.float32(0) - x))


def _silu(x):
    """x * sigmoid(x)."""
    return x / (T.float32(1) + T.exp(T.float32(0) - x))


def _pow(x, y):
    """A power of floats: that of the size, and the sign by hand; NaN where there is none."""
    x, y = map(T.bind, (x, y))
    one, two = T.Cast(_kind(x), 1), T.Cast(_kind(x), 2)
    zero = T.Cast(_kind(x), 0)
    size = T.bind(T.pow(T.abs(x), y))
    negative = T.Select(T.floor(y / two) * two == y, size, zero - size)
    negative = T.Select(T.floor(y) == y, negative, T.sqrt(x))
    return T.Select(y == zero, one, T.Select(x < zero, negative, size))


def _round(x):
    """The nearest integer, half to even."""
    return T.round(x)


def _rounded(x, element):
    """A number rounded to bf16, in its own type."""
    bits = T.bind(T.reinterpret("uint32", x))
    low = T.bitwise_and(T.shift_right(bits, T.uint32(16)), T.uint32(1))
    up = bits + T.uint32(0x7FFF) + low
    kept = T.Select(_nan(x), T.bitwise_or(bits, T.uint32(0x400000)), up)
    return T.reinterpret("float32", T.bitwise_and(kept, T.uint32(0xFFFF0000)))


def _kind(x):
    """The type of an expression."""
    return str(x.ty)


def _alike(a, b):
    """Two operands in one type."""
    if not isinstance(a, tvm.ir.Expr):
        return tvm.tirx.const(a, _kind(b)), b
    if not isinstance(b, tvm.ir.Expr):
        return a, tvm.tirx.const(b, _kind(a))
    if _kind(a) == _kind(b):
        return a, b
    return (T.Cast(_kind(b), a), b) if _kind(a) == "int32" else (a, T.Cast(_kind(a), b))


def _nan(x):
    """Whether a number is NaN, told by its bits: comparisons with itself are taken for true."""
    if _kind(x) == "float64":
        x = T.Cast("float32", x)
    bits = T.bitwise_and(T.reinterpret("int32", x), T.int32(2**31 - 1))
    return bits > T.int32(0x7F800000)


@T.inline
def _agreed(same, given, mine, thread):
    """A number that the first thread has, in all, and so that a compiler sees it."""
    if thread == 0:
        given[0] = mine[0]
    same[0] = T.call_extern("int32", "workgroupUniformLoad", T.address_of(given[0]))


def _quotient_of(a, b):
    """A quotient of integers that are never negative."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return T.truncdiv(*_alike(a, b))


def _left(a, b):
    """What a quotient of integers that are never negative leaves."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return T.truncmod(*_alike(a, b))


def _kept(x):
    """A number that has a place of its own.

    TVM writes a name out wherever it is read, and what divides reads its operands several times:
    without a place, quotients of quotients grow without end.
    """
    if isinstance(x, (tvm.ir.expr.Var, tvm.tirx.IntImm)):
        return x
    place = T.alloc_buffer((1,), _kind(x), scope="local")
    T.buffer_store(place, x, [0])
    return place[0]


def _floordiv(a, b):
    """The quotient of integers, rounded down; by 0 anything but undefined."""
    a, b = map(_kept, _alike(a, b))
    b = _kept(T.Select(b == 0, T.Cast(_kind(b), 1), b))
    rest = _kept(T.truncmod(a, b))
    down = T.And(rest != 0, T.Cast("int32", rest < 0) != T.Cast("int32", b < 0))
    return _kept(T.truncdiv(a, b) - T.Cast("int32", down))


def _floormod(a, b):
    """What rounding the quotient of integers down leaves; by 0 anything but undefined."""
    a, b = map(_kept, _alike(a, b))
    b = _kept(T.Select(b == 0, T.Cast(_kind(b), 1), b))
    rest = _kept(T.truncmod(a, b))
    down = T.And(rest != 0, T.Cast("int32", rest < 0) != T.Cast("int32", b < 0))
    return _kept(rest + T.Select(down, b, T.Cast(_kind(b), 0)))


def _block(rows, columns):
    """How many rows and columns of a product a thread computes: no more than keep all at work."""
    most = max(1, rows * columns // THREADS)
    sizes = [
        (r, c)
        for r in (1, 2, 4)
        for c in (1, 2, 4)
        if r * c <= most and rows % r == 0 and columns % c == 0
    ]
    return max(sizes, key=lambda s: (s[0] * s[1], min(s), s[1]))


def _begun(held, i, j, high, wide, begin):
    """A block of a product at what a function gives, or at 0."""
    for r in range(high):
        for v in range(wide):
            start = begin(i + r, j + v) if begin else T.float32(0)
            T.buffer_store(held, start, [r * wide + v])


def _added(held, a, b, i, j, k, high, wide, turned, across):
    """Adds the products of a column of `a` and a row of `b` to a block."""
    ys = [T.bind(b[j + v, k] if across else b[k, j + v]) for v in range(wide)]
    for r in range(high):
        x = T.bind(a[k, i + r] if turned else a[i + r, k])
        for v, y in enumerate(ys):
            T.buffer_store(held, held[r * wide + v] + x * y, [r * wide + v])


def _put(held, c, i, j, high, wide):
    """Puts a block into a tile."""
    for r in range(high):
        for v in range(wide):
            T.buffer_store(c, held[r * wide + v], [i + r, j + v])


@T.inline
def _dot(c, a, b, rows, columns, inner, thread, turned, across, begin):
    """`c[i, j] = sum over k of a[i, k] * b[k, j]`, onto what a function gives.

    `turned`: of `a[k, i]`; `across`: of `b[j, k]`. A thread computes blocks in registers.
    """
    high = T.meta_var(_block(rows, columns)[0])
    wide = T.meta_var(_block(rows, columns)[1])
    blocks = T.meta_var(rows * columns // (high * wide))
    across_ = T.meta_var(columns // wide)
    for turn in T.serial((blocks + THREADS - 1) // THREADS):
        place: T.let = turn * THREADS + thread
        if place < blocks:
            held = T.alloc_buffer((high * wide,), "float32", scope="local")
            i: T.let = place // across_ * high
            j: T.let = place % across_ * wide
            _begun(held, i, j, high, wide, begin)
            for k in T.serial(inner):
                _added(held, a, b, i, j, k, high, wide, turned, across)
            _put(held, c, i, j, high, wide)
