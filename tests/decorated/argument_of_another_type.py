import attnc


@attnc.kernel
def doubled(X: "B N", mode: str = "fast", *more: "B N", **others: int) -> "B N":
    """return 2 * X[b,n]"""
