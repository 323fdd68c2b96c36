"""How near do embeddings come to those they are meant to be?

What DALLE2-pytorch's users watch instead of a prior's loss: cosines to the own picture, to another one, to
the own and to an unrelated caption, and how often the own picture is the nearest of all.
"""

from __future__ import annotations

import numpy as np


def embedding_scores(made: np.ndarray, true: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """Means over n embeddings that were made for texts; all are (n, width) unit vectors, n at least 2.

    The other picture and the unrelated caption are those of the item before. Raises ValueError for shapes
    that differ, or a single item.
    """
    if not made.shape == true.shape == text.shape or made.ndim != 2 or len(made) < 2:
        raise ValueError(
            f"embeddings have shapes {made.shape}, {true.shape}, {text.shape}; expected three of one shape "
            "(n, width), n at least 2"
        )
    similar = made @ true.T
    return {
        "cosine_picture": float(np.diagonal(similar).mean()),
        "cosine_another_picture": float((made * np.roll(true, 1, axis=0)).sum(1).mean()),
        "cosine_text": float((made * text).sum(1).mean()),
        "cosine_another_text": float((made * np.roll(text, 1, axis=0)).sum(1).mean()),
        "own_picture_first": float((similar.argmax(1) == np.arange(len(made))).mean()),
    }
