# mypy: ignore-errors
"""Helpers that kernels are written with; those that a module uses are copied into it.

They take and give expressions of a lane, and are run when a kernel is built.
"""

import tvm
from tvm.script import tirx as T

_REGISTERS = 16


def _kind(x):
    """The type of an expression."""
    return str(x.ty)


def _where(condition, a, b):
    """`a` where a condition holds, else `b`; numbers take the type of what they stand beside."""
    if isinstance(condition, bool):
        return a if condition else b
    a, b = _alike(a, b)
    return T.Select(condition, a, b)


def _alike(a, b):
    """Two operands in one type."""
    if not isinstance(a, tvm.ir.Expr):
        return tvm.tirx.const(a, _kind(b)), b
    if not isinstance(b, tvm.ir.Expr):
        return a, tvm.tirx.const(b, _kind(a))
    if _kind(a) == _kind(b):
        return a, b
    if _kind(a).startswith("float") or _kind(b) == "int32":
        return a, T.Cast(_kind(a), b)
    return T.Cast(_kind(b), a), b


def _differ(a, b):
    """Whether one of two conditions holds alone."""
    return T.Cast("int32", a) != T.Cast("int32", b)


def _negative(x):
    """A number with its sign turned."""
    return x * tvm.tirx.const(-1.0, _kind(x))


def _nan(x):
    """Whether a number is NaN, told by its bits: comparisons with itself are taken for true."""
    if _kind(x) == "float64":
        bits = T.bitwise_and(T.reinterpret("int64", x), T.int64(2**63 - 1))
        return bits > T.int64(0x7FF0000000000000)
    bits = T.bitwise_and(T.reinterpret("int32", x), T.int32(2**31 - 1))
    return bits > T.int32(0x7F800000)


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


def _kept(x):
    """A number that has a place of its own, in loops that are no vectors.

    TVM writes a name out wherever it is read, and what divides reads its operands several times:
    without a place, quotients of quotients grow without end.
    """
    if isinstance(x, (tvm.ir.expr.Var, tvm.tirx.IntImm)):
        return x
    place = T.alloc_buffer((1,), _kind(x))
    T.buffer_store(place, x, [0])
    return place[0]


def _floordiv(a, b):
    """The quotient of integers, rounded down; by 0 anything but undefined."""
    a, b = map(_kept, _alike(a, b))
    by = _kept(T.Select(T.Or(b == 0, b == -1), tvm.tirx.const(1, _kind(b)), b))
    down = T.And(T.truncmod(a, by) != 0, _differ(a < 0, by < 0))
    found = T.truncdiv(a, by) - T.Cast(_kind(a), down)
    return _kept(T.Select(b == -1, 0 - a, found))


def _floormod(a, b):
    """What rounding the quotient of integers down leaves; by 0 anything but undefined."""
    a, b = map(_kept, _alike(a, b))
    by = _kept(T.Select(T.Or(b == 0, b == -1), tvm.tirx.const(1, _kind(b)), b))
    rest = _kept(T.truncmod(a, by))
    return _kept(rest + T.Select(T.And(rest != 0, _differ(rest < 0, by < 0)), by, 0 * by))


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


def _pow(x, y):
    """A power of floats, in 64 bits."""
    return T.Cast(_kind(x), T.pow(T.Cast("float64", x), T.Cast("float64", y)))


def _wide(x, dtype):
    """An element of a tensor in the type that is computed in; bf16 is stored as its 16 bits."""
    if _kind(x) == "uint16":
        bits = T.shift_left(T.Cast("uint32", x), T.Cast("uint32", 16))
        x = T.reinterpret("float32", bits)
    return T.Cast(dtype, x)


def _from_f8e4m3(x, dtype):
    """A number of 4 bits of exponent and 3 of fraction, from its bits."""
    bits = T.Cast("int32", x)
    exponent = T.bitwise_and(T.shift_right(bits, 3), 15)
    fraction = T.Cast("float32", T.bitwise_and(bits, 7)) * 0.125
    power = T.reinterpret("float32", T.shift_left(exponent + 120, T.int32(23)))
    size = T.Select(exponent == 0, fraction * 0.015625, (fraction + 1.0) * power)
    nan = T.reinterpret("float32", T.bitwise_or(bits, 0x7FC00000))
    size = T.Select(T.bitwise_and(bits, 127) == 127, nan, size)
    return T.Cast(dtype, T.Select(bits >= 128, 0.0 - size, size))


def _from_f8e5m2(x, dtype):
    """A number of 5 bits of exponent and 2 of fraction: the upper half of one of 16 bits."""
    bits = T.Cast("uint16", T.shift_left(T.Cast("int32", x), T.int32(8)))
    return T.Cast(dtype, T.reinterpret("float16", bits))


def _narrow(x, element):
    """A number as an element of a tensor, to the nearest, ties to even."""
    if element != "bfloat16":
        return T.Cast(element, x)
    bits = T.reinterpret("uint32", T.Cast("float32", x))
    one, half = T.Cast("uint32", 1), T.Cast("uint32", 0x7FFF)
    up = bits + half + T.bitwise_and(T.shift_right(bits, T.Cast("uint32", 16)), one)
    quiet = T.bitwise_or(bits, T.Cast("uint32", 0x400000))
    kept = T.Select(_nan(T.Cast("float32", x)), quiet, up)
    return T.Cast("uint16", T.shift_right(kept, T.Cast("uint32", 16)))


def _rounded(x, element):
    """A number rounded to an element type, in its own."""
    if element == "bfloat16":
        return _wide(_narrow(x, element), _kind(x))
    return T.Cast(_kind(x), T.Cast(element, x))


def _exp2(x):
    """2 to a power, within 2 units in the last place in 32 bits: by a polynomial.

    What is left when a whole exponent is taken off lies in [-1/2, 1/2]; the exponent is put back
    in two steps, so that the least and the greatest results are right.
    """
    if _kind(x) != "float32":
        return T.exp2(x)
    x = T.bind(x)
    x = T.Select(x < T.float32(-151), T.float32(-151), T.Select(x > 129, T.float32(129), x))
    x = T.bind(x)
    whole = T.bind(T.floor(x + T.float32(0.5)))
    r = T.bind(x - whole)
    y = T.float32(1.535336188319500e-4)
    for c in (
        1.339887440266574e-3,
        9.618437357674640e-3,
        5.550332471162809e-2,
        2.402264791363012e-1,
        6.931472028550421e-1,
        1.0,
    ):
        y = y * r + T.float32(c)
    n = T.bind(T.Cast("int32", whole))
    half = T.bind(T.shift_right(n, T.int32(1)))
    for power in (half, n - half):
        y = y * T.reinterpret("float32", T.shift_left(power + 127, T.int32(23)))
    return y


def _exp(x):
    """e to a power; in 32 bits, the exponent is split so that no digit of it is lost."""
    if _kind(x) != "float32":
        return T.exp(x)
    x = T.bind(x)
    x = T.Select(x < T.float32(-105), T.float32(-105), T.Select(x > 90, T.float32(90), x))
    x = T.bind(x)
    whole = T.bind(T.floor(x * T.float32(1.4426950408889634) + T.float32(0.5)))
    r = x - whole * T.float32(0.693359375)
    r = T.bind(r + whole * T.float32(2.12194440e-4))
    y = T.float32(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        y = y * r + T.float32(c)
    y = y * r * r + r + T.float32(1)
    n = T.bind(T.Cast("int32", whole))
    half = T.bind(T.shift_right(n, T.int32(1)))
    for power in (half, n - half):
        y = y * T.reinterpret("float32", T.shift_left(power + 127, T.int32(23)))
    return y


def _log2(x):
    """The binary logarithm."""
    return T.log2(x)


def _log(x):
    """The natural logarithm."""
    return T.log(x)


def _expm1(x):
    """exp(x) - 1, also where x is small."""
    u = _exp(x)
    near = (u - 1.0) * x / _log(u)
    plain = T.Select(T.And(T.abs(x) < 1.0, u > 0.0), near, u - 1.0)
    return T.Select(u == 1.0, x, plain)


def _log1p(x):
    """log(1 + x), also where x is small."""
    u = 1.0 + x
    near = _log(u) * x / (u - 1.0)
    return T.Select(u == 1.0, x, T.Select(T.abs(x) < 1.0, near, _log(u)))


def _sqrt(x):
    """The square root."""
    return T.sqrt(x)


def _rsqrt(x):
    """1 over the square root."""
    return 1.0 / T.sqrt(x)


def _tanh(x):
    """The hyperbolic tangent: by an exponential, or where x is small by a polynomial.

    In 32 bits (coefficients of Cephes, S. Moshier); in 64, without cancellation.
    """
    y = T.abs(x)
    large = 1.0 - 2.0 / (_exp2(y * 2.885390081777927) + 1.0)
    if _kind(x) == "float64":
        e = _expm1(2.0 * y)
        small = e / (e + 2.0)
    else:
        z = y * y
        tail = z * (1.33314422036e-1 + z * (-5.37397155531e-2 + z * 2.06390887954e-2))
        tail = tail - 3.33332819422e-1 - z * z * z * z * 5.70498872745e-3
        small = y + y * z * tail
    found = T.Select(y < 0.625, small, large)
    return T.Select(x < 0, 0.0 - found, found)


def _sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + _exp2(x * -1.4426950408889634))


def _relu(x):
    """max(x, 0); NaN is passed on."""
    return T.Select(x < 0, T.Cast(_kind(x), 0), x)


def _silu(x):
    """x * sigmoid(x)."""
    return x / (1.0 + _exp2(x * -1.4426950408889634))


def _softplus(x):
    """log(1 + exp(x))."""
    return T.Select(x > 0, x, T.Cast(_kind(x), 0)) + _log1p(_exp(0.0 - T.abs(x)))


def _erf(x):
    """The error function."""
    return T.erf(x)


def _gelu(x):
    """The Gaussian error linear unit, by erf."""
    return 0.5 * x * (1.0 + T.erf(x * 0.7071067811865476))


def _sin(x):
    """The sine."""
    return T.sin(x)


def _cos(x):
    """The cosine."""
    return T.cos(x)


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


def _round(x):
    """The nearest integer, half to even."""
    down = T.bind(T.floor(x))
    rest = T.bind(x - down)
    even = T.floor(down * 0.5) * 2.0 == down
    up = T.Or(rest > 0.5, T.And(rest == 0.5, T.Not(even)))
    return T.Select(up, down + 1.0, down)


def _seed():
    """Where a chain of random bits begins."""
    return T.Cast("int64", -7046029254386353131)


def _mixed(state, x):
    """One step of splitmix64 over 64 bits."""

    def number(n):
        return T.Cast("uint64", T.Cast("int64", n - 2**64 if n >= 2**63 else n))

    z = T.Cast("uint64", T.bitwise_xor(state, T.Cast("int64", x))) + number(0x9E3779B97F4A7C15)
    z = T.bitwise_xor(z, T.shift_right(z, number(30))) * number(0xBF58476D1CE4E5B9)
    z = T.bitwise_xor(z, T.shift_right(z, number(27))) * number(0x94D049BB133111EB)
    return T.Cast("int64", T.bitwise_xor(z, T.shift_right(z, number(31))))


def _uniform(state):
    """24 bits as a number in [0, 1)."""
    bits = T.shift_right(T.Cast("uint64", state), T.Cast("uint64", 40))
    return T.Cast("float32", bits) * T.float32(1.0 / 16777216.0)


def _block(rows, columns, lanes):
    """How many rows and vectors of columns a product computes at once, in registers."""
    vectors = next(v for v in (4, 3, 2, 1) if columns % (v * lanes) == 0)
    most = max(1, _REGISTERS // vectors)
    return next(r for r in range(min(most, rows), 0, -1) if rows % r == 0), vectors


def _vectors(buffer, i, j, lanes):
    """A vector of a row of a tile."""
    return buffer[i, T.ramp(j, 1, lanes)]


def _held(high, vectors, lanes, dtype):
    """Room for a few rows of vectors: small enough, each, to be kept in registers."""
    return [T.alloc_buffer((vectors,), f"{dtype}x{lanes}") for _ in range(high)]


def _begun(held, c, i, j, lanes, dtype, onto):
    """Rows of vectors at what is there, or at 0."""
    for r, row in enumerate(held):
        for v in range(int(row.shape[0])):
            zero = T.broadcast(T.Cast(dtype, 0), lanes)
            T.buffer_store(row, _vectors(c, i + r, j + v * lanes, lanes) if onto else zero, [v])


def _added(held, a, b, i, j, k, lanes, turned):
    """Adds the products of a column of `a` and a row of `b` to rows of vectors."""
    vectors = [T.bind(_vectors(b, k, j + v * lanes, lanes)) for v in range(int(held[0].shape[0]))]
    for r, row in enumerate(held):
        x = T.bind(T.broadcast(a[k, i + r] if turned else a[i + r, k], lanes))
        for v, y in enumerate(vectors):
            T.buffer_store(row, row[v] + x * y, [v])


def _put(held, c, i, j, lanes):
    """Puts rows of vectors into a tile."""
    for r, row in enumerate(held):
        for v in range(int(row.shape[0])):
            T.buffer_store(c, row[v], [i + r, T.ramp(j + v * lanes, 1, lanes)])


@T.inline
def _dot(c, a, b, rows, columns, inner, lanes, dtype, onto, turned):
    """`c[i, j] = sum over k of a[i, k] * b[k, j]`, or onto what is there; `turned`: of `a[k, i]`.

    A few rows and vectors of columns are kept in registers.
    """
    high = T.meta_var(_block(rows, columns, lanes)[0])
    vectors = T.meta_var(_block(rows, columns, lanes)[1])
    for i in range(rows // high):
        for j in range(columns // (vectors * lanes)):
            held = T.meta_var(_held(high, vectors, lanes, dtype))
            _begun(held, c, i * high, j * vectors * lanes, lanes, dtype, onto)
            for k in range(inner):
                _added(held, a, b, i * high, j * vectors * lanes, k, lanes, turned)
            _put(held, c, i * high, j * vectors * lanes, lanes)
