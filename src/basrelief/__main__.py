"""Where the command line begins: it answers Ctrl-C before all else, since what it imports takes a while."""

from __future__ import annotations

import os
import signal
import sys

NOT_BEGUN = "Stopped before anything was begun."


def main() -> None:
    """Run the command line of ``cli``, which takes the signals over as soon as it is imported."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    from basrelief import cli

    cli.main()


def _stop(_signal: int, _frame: object) -> None:
    """End at once: raised from the middle of an import, an error could be swallowed there, or shown as a traceback."""
    if os.environ.get("RANK", "0") == "0":  # of several processes the first speaks
        if "--json" in sys.argv:
            os.write(1, f'{{"error": "{NOT_BEGUN}"}}\n'.encode())
        os.write(2, f"basrelief: {NOT_BEGUN}\n".encode())
    os._exit(1)


if __name__ == "__main__":
    main()
