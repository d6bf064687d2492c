import attnc


@attnc.kernel
def doubled(X: "B n") -> "B N":
    """return 2 * X[b,n]"""
