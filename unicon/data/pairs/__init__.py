"""A user's own pairs: pictures with the maps that belong to them, wherever they lie."""

from __future__ import annotations

from unicon.data.pairs.entries import Entry, Pairs, Picture
from unicon.data.pairs.sources import open_pairs

__all__ = ["Entry", "Pairs", "Picture", "open_pairs"]
