import attnc


@attnc.kernel
def doubled(X: "B N", Y: "B N" = None) -> "B N":
    """return 2 * X[b,n]"""
