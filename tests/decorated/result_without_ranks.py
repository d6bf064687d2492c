import attnc


@attnc.kernel
def doubled(X: "B N"):
    """return 2 * X[b,n]"""
