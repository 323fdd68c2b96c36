"""How strictly does a picture follow its prompt where nobody says?

It depends on the base: the scale that is usual for Stable Diffusion oversaturates a small one.
"""

from __future__ import annotations

SMALL_BASE_PX = 256
SMALL_BASE, LARGE_BASE = 2.0, 5.0
IN_WORDS = (
    f"{SMALL_BASE:g} for bases of pictures below {SMALL_BASE_PX} px, as mini is, else {LARGE_BASE:g}; "
    "1 with an LCMScheduler"
)


def usual_guidance(own_px: int, scheduler: object, *, is_told: bool) -> float:
    """The classifier-free guidance that suits a base of pictures of `own_px` a side.

    1, which is off, for what was distilled with its guidance to run under an `LCMScheduler`; but a UNet that
    is told the scale (`is_told`) makes of it what others do.
    """
    if type(scheduler).__name__ == "LCMScheduler" and not is_told:
        return 1.0
    return SMALL_BASE if own_px < SMALL_BASE_PX else LARGE_BASE
