# mypy: ignore-errors
"""Helpers that choose sizes of tiles, and the kernels, by the sizes of a call."""

from attnc.backends.tvm.threads import _workers


def _whole(size, lanes):
    """The size of a tile that holds all of an axis: a whole number of vectors."""
    return max(1, -(-int(size) // lanes)) * lanes


def _tile(size, least, most):
    """The size of tiles along an axis: a power of two that is no more than needed."""
    return max(least, min(most, 1 << max(0, int(size) - 1).bit_length()))


def _unless_many(size):
    """The least tile along an axis if each tile computes the same anew: all of it, up to 256."""
    return int(size) if size <= 256 else 1


def _few(size, lanes):
    """The least tile along rows: a vector, unless most of it would be idle."""
    return lanes if size * 4 > lanes else 1


def _few_rows(rows, others, lanes):
    """Whether rows are few, so that vectors do not go along them, and what is streamed is taken in
    pieces; `others`: programs beside them. It is told by sizes alone, for the sake of bits."""
    return (rows > 0) & ((rows * 2 <= lanes) | ((rows <= lanes * 4) & (others < 4)))


def _one_piece(*counts):
    """Whether each stream has one piece, so that a kernel can do without states of pieces."""
    return max(counts) < 2


def _shared(size, most, others):
    """The most that tiles shall have so that each thread finds one; `others`: tiles beside them."""
    while most > 1 and 0 < -(-int(size) // most) * int(others) < _workers():
        most //= 2
    return most
