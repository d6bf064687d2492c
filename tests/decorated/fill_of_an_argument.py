import attnc


@attnc.kernel
def doubled(X: "B N empty 0") -> "B N empty none":
    """return 2 * X[b,n]"""
