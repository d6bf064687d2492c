import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N empty none":
    """return X[b,n]"""
