"""Which pixels would a person trace as edges?

Contours of things, creases, and borders between clearly different surface colours, from exact buffers at
pixel centres; fine texture is already left out of the albedo that arrives here. Lines are one pixel wide
where possible.
"""

from __future__ import annotations

import numpy as np

from unicon.conditions.edges import drop_specks

CREASE_COS = 0.80  # about 37 degrees
COLOUR_STEP = 0.16  # largest channel difference after gamma
SHORTEST_PX = 5


def edge_map(z, world, normal, albedo, thing, part, flat) -> np.ndarray:
    """Bool (S, S) from depth, points, normals, edge albedo (linear), thing and part numbers, flat faces."""
    colour = np.clip(albedo, 0, 1) ** (1 / 2.2)
    edges = np.zeros(z.shape, bool)
    for axis in (0, 1):
        a, b = (
            (slice(None, -1), slice(1, None))
            if axis == 0
            else ((slice(None), slice(None, -1)), (slice(None), slice(1, None)))
        )
        jump, other = _breaks(z, world, normal, colour, thing, part, flat, a, b)
        nearer_a = z[a] <= z[b]
        edges[a] |= (jump & nearer_a) | other
        edges[b] |= jump & ~nearer_a
    return drop_specks(edges, SHORTEST_PX)


def _breaks(z, world, normal, colour, thing, part, flat, a, b):
    """Depth breaks, and all other borders, between neighbours a and b."""
    gap = world[b] - world[a]
    off = np.minimum(np.abs((gap * normal[a]).sum(-1)), np.abs((gap * normal[b]).sum(-1)))
    near = np.minimum(z[a], z[b])
    bend = (normal[a] * normal[b]).sum(-1)
    step = np.abs(colour[a] - colour[b]).max(-1)
    new_part = part[a] != part[b]
    new_thing = thing[a] != thing[b]
    jump = (off > 0.012 + 0.025 * near) & new_part
    crease = (bend < CREASE_COS) & (new_part | (flat[a] & flat[b]))
    contour = new_thing & ((bend < 0.94) | (step > 0.07) | (off > 0.008 + 0.01 * near))
    return jump, (crease | contour | (step > COLOUR_STEP)) & ~jump
