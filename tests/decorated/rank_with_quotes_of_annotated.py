from typing import Annotated, Any

import attnc


@attnc.kernel
def doubled(X: Annotated[Any, "B x!"], Y: Annotated[Any, "B: float"]) -> Annotated[Any, "B empty"]:
    """return 2 * X[b,n]"""
