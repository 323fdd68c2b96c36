"""Annotators: a photograph in, a map out, in the conventions of ``unicon.conditions``."""

from __future__ import annotations

from unicon.conditions.annotators.cards import CARDS, Card, find_card
from unicon.conditions.annotators.opening import Annotator, open_annotator

__all__ = ["CARDS", "Annotator", "Card", "find_card", "open_annotator"]
