from __future__ import annotations

import attnc


class Layer:
    if True:

        @attnc.kernel(
            dtype="f32",
        )
        def attend(self, X: "B N", *, size: int = 3) -> "B N":
            """
            # a comment, then a mistake
            return X[b,n] * sizes
            """
