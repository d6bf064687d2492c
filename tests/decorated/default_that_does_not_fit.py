import attnc


@attnc.kernel
def doubled(
    X: "B N",
    *,
    steps: int = 1.5,
    flag: bool = True,
) -> "B N":
    """return 2 * X[b,n]"""
