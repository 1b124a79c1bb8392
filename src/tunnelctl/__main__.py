"""Entry point: ``tunnelctl`` and ``python -m tunnelctl``."""

from __future__ import annotations

import sys

from tunnel.signals import quick_end


def main() -> None:
    """Run the command line."""
    with quick_end():
        from tunnelctl.cli import run
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
