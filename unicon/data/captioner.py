"""What does a picture show, in a sentence of a transformers model?

Any image-to-text folder that needs no question: BLIP, GIT, ViT-GPT2. Leaves out models that chat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image

from unicon.sources import explained

BLIP = "Salesforce/blip-image-captioning-base"
BLIP_REVISION = "82a37760796d32b1411fe092ab5d4e227313294b"
LONGEST_TOKENS = 40


class Captioner:
    """A picture in, a caption out; the same picture always gets the same caption."""

    def __init__(self, source: str = BLIP, *, device: str = "cpu"):
        """Load a folder or a hub id. Raises ValueError for what cannot be had or is no such model."""
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.source, self.revision = source, BLIP_REVISION if source == BLIP else None
        if Path(source).exists() and not Path(source).is_dir():
            raise ValueError(f"captioner {source!r}: is a file; name a transformers folder or a hub id")
        try:
            with explained(source, self.revision):
                self.processor: Any = AutoProcessor.from_pretrained(
                    source, revision=self.revision, backend="pil"
                )
                model: Any = AutoModelForImageTextToText.from_pretrained(
                    source, revision=self.revision, dtype=torch.float32
                )
        except (KeyError, OSError, TypeError, ValueError) as error:
            if not Path(source).is_dir():
                raise
            raise ValueError(
                f"captioner {source!r}: is no image-to-text folder of transformers ({error}); "
                f"for example: hf download {BLIP}"
            ) from error
        self.model: Any = model.to(device).eval()

    def __call__(self, picture: PIL.Image.Image) -> str:
        """One line, without the model's special words."""
        import torch

        pixels = self.processor(images=picture, return_tensors="pt")["pixel_values"].to(self.model.device)
        with torch.inference_mode():
            words = self.model.generate(
                pixel_values=pixels, max_new_tokens=LONGEST_TOKENS, do_sample=False, num_beams=3
            )
        return " ".join(self.processor.batch_decode(words, skip_special_tokens=True)[0].split())
