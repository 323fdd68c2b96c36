"""How does a test ask `unicon eval` for something, and read what it says?"""

from __future__ import annotations

import pytest

from eval import __main__ as front


def run(capsys, *arguments: object) -> str:
    """What it prints; fails if it refuses."""
    assert front.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def refusal(capsys, *arguments: object) -> str:
    """Why it refuses; fails if it does not."""
    with pytest.raises(SystemExit) as stop:
        front.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err
