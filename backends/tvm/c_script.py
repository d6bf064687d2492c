# mypy: ignore-errors
"""Helpers of kernels that are built by way of C, in place of those of `script.py` with these names.

A vector is a loop over its lanes there, which compilers of C make vectors of.
"""

from tvm.script import tirx as T

from attnc.backends.tvm.script import _held, _high, _width


def _scales():
    """Whether vectors have instructions that C has no words for: none is used."""
    return False


def _sin(x):
    """The sine."""
    return T.sin(x)


def _cos(x):
    """The cosine."""
    return T.cos(x)


def _sine(x, quarters, dtype):
    """sin(x + quarters * pi / 2) of an angle of 64 bits, in the type that is computed in."""
    return T.Cast(dtype, T.cos(x) if quarters else T.sin(x))


def _mixed(state, x):
    """One step of splitmix64 over 64 bits."""
    return T.call_pure_extern("int64", "mixed", state, T.Cast("int64", x))


def _native_mixed():
    """Such a step is part of the text of C."""
    return ""


def _native_callees():
    """Nothing that C has no words for is called."""
    return ""


def _native_angles():
    """Sines and cosines are those of C."""
    return ""


def _wide_log(name, x):
    """A logarithm of 64 bits."""
    return T.log2(x) if name == "log2" else T.log(x)


def _native_logarithms():
    """Logarithms of 64 bits are those of C."""
    return ""


def _turns(rows, columns, lanes):
    """Whether rows are turned in squares of vectors: they are not."""
    return False


def _begun(held, begin, i, j, lanes, dtype):
    """Rows of vectors at what a function gives, or at 0."""
    for r, row in enumerate(held):
        with T.serial(int(row.shape[0])) as lane:
            x = T.Cast(dtype, 0) if begin is None else begin(i + r, j + lane)
            T.buffer_store(row, x, [lane])


def _added(held, a, b, i, j, k, lanes):
    """Adds the products of a column of `a` and a row of `b` to rows of vectors."""
    for r, row in enumerate(held):
        x = T.bind(a(i + r, k))
        with T.serial(int(row.shape[0])) as lane:
            T.buffer_store(row, row[lane] + x * b[k, j + lane], [lane])


def _put(held, c, i, j, lanes):
    """Puts rows of vectors into a tile."""
    for r, row in enumerate(held):
        with T.serial(int(row.shape[0])) as lane:
            T.buffer_store(c, row[lane], [i + r, j + lane])


def _take(held, room, taken, j, lanes):
    """Takes rows of vectors into a row of numbers."""
    for row in held:
        with T.serial(int(row.shape[0])) as lane:
            T.buffer_store(room, taken(room[j + lane], row[lane]), [j + lane])


def _down(c, a, b, rows, inner, j, lanes, dtype, start):
    """A column of a product, row by row."""
    with T.serial(rows) as i:
        T.buffer_store(c, start(i, j), [i, j])
    with T.serial(inner) as k:
        x = T.bind(b[k, j])
        with T.serial(rows) as i:
            T.buffer_store(c, c[i, j] + a(i, k) * x, [i, j])


def _along(c, a, b, rows, inner, j, lanes, dtype, start):
    """A column of a product, in vectors of what is added up."""
    width = _width(inner, lanes)
    high = next(r for r in (4, 2, 1) if rows % r == 0)
    with T.serial(rows // high) as row:
        held = _held(high, 1, width, dtype)
        _begun(held, None, 0, 0, width, dtype)
        with T.serial(inner // width) as part, T.serial(width) as lane:
            k = part * width + lane
            x = T.bind(b[k, j])
            for r, one in enumerate(held):
                T.buffer_store(one, one[lane] + a(row * high + r, k) * x, [lane])
        for r, one in enumerate(held):
            x = _total(one, width) + start(row * high + r, j)
            T.buffer_store(c, x, [row * high + r, j])


def _total(row, width):
    """The sum of the lanes of a vector."""
    while width > 1:
        width //= 2
        with T.serial(width) as lane:
            T.buffer_store(row, row[lane] + row[lane + width], [lane])
    return row[0]


def _inner(c, a, b, rows, columns, inner, lanes, dtype, begin):
    """`c[i, j] = begin(i, j) + sum over k of a(i, k) * b(j, k)`, vectors going along `k`."""
    high, width = _high(rows), _width(inner, lanes)
    with T.serial(rows // high) as row, T.serial(columns) as j:
        i = row * high
        held = _held(high, 1, width, dtype)
        _begun(held, None, i, j, width, dtype)
        with T.serial(inner // width) as part, T.serial(width) as lane:
            k = part * width + lane
            y = T.bind(b(j, k))
            for r, one in enumerate(held):
                T.buffer_store(one, one[lane] + a(i + r, k) * y, [lane])
        for r, one in enumerate(held):
            x = _total(one, width)
            T.buffer_store(c, x if begin is None else x + begin(i + r, j), [i + r, j])


def _outer(c, a, b, rows, columns, inner, lanes, dtype, begin):
    """`c[i, j] = begin(i, j) + sum over k of a(i, k) * b(k, j)`, vectors going along `j`."""
    high = _high(rows)
    with T.serial(rows // high) as row:
        i = row * high
        held = _held(high, 1, columns, dtype)
        _begun(held, begin, i, 0, columns, dtype)
        with T.serial(inner) as k:
            x = [T.bind(a(i + r, k)) for r in range(high)]
            with T.serial(columns) as j:
                y = T.bind(b(k, j))
                for r, one in enumerate(held):
                    T.buffer_store(one, one[j] + x[r] * y, [j])
        _put(held, c, i, 0, columns)
