"""Entry point: ``hubd`` and ``python -m hubd``."""

from __future__ import annotations

import sys

from tunnel.signals import quick_end


def main() -> None:
    """Run the command line."""
    with quick_end():
        from hubd import cli
    sys.exit(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
