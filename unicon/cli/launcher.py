"""How is accelerate's launcher run, so that an error of ours is all that is shown of it?

It adds a traceback of its own whenever a process has ended with another status than 0. Ours says nothing of
processes that have told their error themselves, and ends as they did.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from subprocess import CalledProcessError

if __name__ == "__main__":
    # Python put this file's folder first, where `files` could come to mean a module of ours.
    sys.path[0] = str(Path(__file__).resolve().parents[2])


def main() -> int:
    """`accelerate launch` with this process's arguments."""
    from accelerate.commands.launch import main as launch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from unicon.cli.status import PAUSED

    # It says who has failed and who is ended for it, before it raises an error that says so again.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    try:
        launch()
    except ChildFailedError as error:
        return _status(error, [failure.exitcode for failure in error.failures.values()])
    except CalledProcessError as error:  # of a single process
        return _status(error, [error.returncode])
    except (SignalException, KeyboardInterrupt):  # all were asked to stop, and have had time to save
        return PAUSED
    return 0


def _status(error: Exception, found: list[int]) -> int:
    """Of processes of which none was killed but by the launcher itself, once one had failed; else the error
    is raised."""
    from unicon.cli.status import BAD_INPUT, LEFT_OUT, PAUSED

    own = [status for status in found if status != -signal.SIGTERM]
    if not own or not set(own) <= {LEFT_OUT, BAD_INPUT, PAUSED}:
        raise error
    return max(own)


if __name__ == "__main__":
    raise SystemExit(main())
