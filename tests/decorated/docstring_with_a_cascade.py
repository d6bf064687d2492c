import attnc


@attnc.kernel
def doubled(X: "B N") -> "B N":
    """
    cascade doubled(X[B,N]) -> O[B,N]:
        O[b,n] = 2 * X[b,n]
    """
