import attnc


@attnc.kernel
def both(X: "B N") -> ("B N", "B m"):
    """return X[b,n], 2 * X[b,n]"""
