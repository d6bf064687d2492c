import attnc


@attnc.kernel
def doubled(X: "B N", *, scale: float = float("nan"), name: int = "x") -> "B N":
    """return 2 * X[b,n]"""
