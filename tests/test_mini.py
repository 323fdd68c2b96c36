"""Do the weights that ship stay as small as is said?"""

from __future__ import annotations

from tests.programs import ROOT
from unicon.mini import mini_folder

MIB = 2**20
LIMIT = 48 * MIB


def test_all_that_ships_with_mini_is_within_its_limit_and_the_page_says_how_much():
    total = sum(file.stat().st_size for file in mini_folder().rglob("*") if file.is_file())
    assert 0 < total <= LIMIT, f"{total / MIB:.2f} MiB ship, {LIMIT // MIB} are allowed"
    page = (ROOT / "docs" / "mini.md").read_text(encoding="utf-8")
    assert f"{total / MIB:.1f} MiB ({total / 1e6:.1f} MB) in all, of {LIMIT // MIB} MiB at most" in page
