"""With which status does a command end? 0 where all went well."""

from __future__ import annotations

LEFT_OUT = 1
"""Something could not be read, or was found wanting; the rest is there."""
BAD_INPUT = 2
PAUSED = 3
"""Time was over before all was done; the same command goes on. Of programs that the command line starts."""
INTERRUPTED = 130
