"""Between which bounds does a squared distance lie that was computed from products in few bits?

d² = |x|² + |y|² - 2 x·y in float32 costs one matrix product for all pairs, but is not exact. With unit
roundoff u, any order of summation and |x·y| <= (|x|² + |y|²) / 2, the product, the two additions, the two
norms and the rounding of inputs together err by at most kappa (|x|² + |y|²), where kappa = g(2D + 16) and
g(n) = nu / (1 - nu) (Higham 2002, ch. 3; the 16 covers what is not the product). So norms shrunken by kappa
give a **lower bound** of every distance for the price of the plain formula, and the width of the bracket is a
sum of one number per row.

In `bfloat16` rows are rounded to 8 bits first, which lets processors with such units multiply several times
faster; the part that was rounded off, rho = |x - x^|, is measured per row, and for any t in (0, 1)

    (1 - t) (d^² - (rho_x + rho_y)² / t)  <=  d²  <=  (1 + t) d^² + (1 + 1/t) (rho_x + rho_y)².

Rows are centred on a mean first (distances do not change, norms shrink) and scaled by a power of two.
Everything that falls between the bounds is for `eval.manifold.exact` to decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from eval.manifold.features import largest, pieces

UNIT = {torch.bfloat16: 2.0**-24, torch.float32: 2.0**-24, torch.float64: 2.0**-53}
"""Roundoff of the arithmetic, which for bfloat16 inputs is float32's."""
HARMLESS = 20
"""Numbers below 2^20 and above 2^-20 need no scaling."""
TINY = 2.0**-120
"""What a product may lose to underflow, after scaling."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """Rows ready for products, with what each adds to the bounds. In units of the frame."""

    rows: torch.Tensor
    """(N, D) as they were given."""
    low: torch.Tensor
    """(N,) shrunken squared norms, in the format of products."""
    width: torch.Tensor
    """(N,) float64: what one row adds between lower and upper bound, times (1 + t)."""
    extra: torch.Tensor
    """(N,) float64: what it adds besides."""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Where features are moved, and in which format they are multiplied."""

    shift: torch.Tensor
    """(D,) what is subtracted, float32, or float64 when features or products are."""
    scale: float
    """A power of two: products of what is scaled neither overflow nor vanish."""
    dtype: torch.dtype
    """bfloat16, float32 or float64."""
    slack: float
    """t of the module's docstring; 0 except for bfloat16."""
    device: torch.device

    @classmethod
    def about(cls, sets: list[torch.Tensor], dtype: torch.dtype, device: torch.device) -> Frame:
        """The frame centred on the first set in which all of them fit."""
        double = dtype == torch.float64 or any(rows.dtype == torch.float64 for rows in sets)
        format_ = torch.float64 if double else torch.float32
        # Any shift will do: only how much it shrinks norms depends on how near the mean it is.
        total = sum(piece.to(device, format_).sum(0) for _, piece in pieces(sets[0]))
        shift = torch.as_tensor(total) / len(sets[0])
        if not torch.isfinite(shift).all():
            shift = torch.zeros_like(shift)
        most = max(largest(rows) for rows in sets)
        exponent = math.floor(math.log2(most)) if most else 0
        scale = 1.0 if abs(exponent) < HARMLESS else 2.0 ** -min(max(exponent, -340), 340)
        # 2^-9 / sqrt(3): the root mean square of what rounding takes off a number in [1, 2).
        slack = 2 * 2.0**-9 / math.sqrt(3) if dtype == torch.bfloat16 else 0.0
        return cls(shift=shift, scale=scale, dtype=dtype, slack=slack, device=device)

    @property
    def arithmetic(self) -> torch.dtype:
        """The format of products' results."""
        return torch.float32 if self.dtype == torch.bfloat16 else self.dtype

    def kappa(self, width: int) -> float:
        """The relative error of a squared distance in this frame, per sum of the squared norms."""
        # One product and one norm; units for 8 bits may round another way, which at most doubles the error.
        terms = (3 * width if self.dtype == torch.bfloat16 else 2 * width) + 16
        # The final word is spoken in float64, which is not exact either.
        return _gamma(terms, UNIT[self.dtype]) + 2 * _gamma(width + 2, 2.0**-53)

    def cast(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows as products read them, in a piece of memory of their own."""
        result = torch.empty(rows.shape, dtype=self.arithmetic, device=self.device)
        for first, piece in pieces(rows):
            # Rounded on the way, to 8 bits where those are all that products read.
            result[first : first + len(piece)] = self._moved(piece).to(self.dtype)
        return result

    def _moved(self, rows: torch.Tensor) -> torch.Tensor:
        moved = rows.to(self.device, self.shift.dtype) - self.shift
        if self.scale != 1:
            moved *= self.scale
        return moved.to(self.arithmetic)

    def bounded(self, rows: torch.Tensor) -> Bounded:
        """The set with its share of the bounds."""
        norms, lost = torch.empty(2, len(rows), dtype=torch.float64, device=self.device)
        for first, piece in pieces(rows):
            before = self._moved(piece)
            cast = before.to(self.dtype).to(self.arithmetic)
            place = slice(first, first + len(piece))
            norms[place] = (cast * cast).sum(1)
            lost[place] = before.sub_(cast).square_().sum(1) if self.slack else 0.0
        lost *= 1 + 2 * self.kappa(rows.shape[1])
        error = self.kappa(rows.shape[1]) * norms + rows.shape[1] * TINY
        off = 2 * lost / self.slack if self.slack else lost
        return Bounded(
            rows=rows,
            low=(norms - error - off).to(self.arithmetic),
            width=(off + 2 * error) * (1 + 1e-6),
            extra=2 * (1 + 1 / self.slack) * lost if self.slack else lost,
        )

    def bracket(self, lower: torch.Tensor, width: torch.Tensor, extra: torch.Tensor):
        """(low, high) float64 bounds of squared distances, from sums over the two rows of a pair.

        `lower`: -2 times their product, and both `low`.
        """
        low = lower.double()
        return (1 - self.slack) * low, (1 + self.slack) * (low + width) + extra

    def threshold(self, squared: torch.Tensor) -> torch.Tensor:
        """The `lower` below which a squared distance may be below `squared` (float64)."""
        most = squared / (1 - self.slack) * (1 + 1e-12)
        rounded = most.to(self.arithmetic)
        return torch.nextafter(rounded, torch.full_like(rounded, math.inf))


@contextmanager
def products(dtype: torch.dtype) -> Iterator[None]:
    """Matrix products of float32 in full precision, or for bfloat16 in the units that read 8 bits of each."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if dtype == torch.bfloat16 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _gamma(terms: int, unit: float) -> float:
    if terms * unit >= 0.5:
        raise ValueError(f"features of width {terms} are too wide for products in this format; use float64")
    return terms * unit / (1 - terms * unit)
