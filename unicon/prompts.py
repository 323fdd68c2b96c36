"""How do prompts become rows of text embeddings?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def join_trigger(trigger: str, prompt: str | Sequence[str] | None) -> str | list[str]:
    """The adapter's trigger words before a prompt, or before each of several."""
    if prompt is None or isinstance(prompt, str):
        return trigger + (prompt or "")
    return [trigger + p for p in prompt]


def encode_prompts(tokenizer: Any, text_encoder: Any, texts: list[list[str]], device: torch.device) -> Tensor:
    """Last hidden states (len(texts) * len(texts[0]), tokens, width); equal texts are encoded once."""
    flat = [t for row in texts for t in row]
    unique = list(dict.fromkeys(flat))
    tokens = tokenizer(
        unique, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    rows = text_encoder(tokens.input_ids.to(device))
    states = rows.last_hidden_state
    return states[torch.tensor([unique.index(t) for t in flat], device=device)]
