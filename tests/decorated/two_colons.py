import attnc


@attnc.kernel
def doubled(X: "B N: f32: f64", Y: "B: 3") -> "B N empty none":
    """return"""
