"""Entry point: ``agentd`` and ``python -m agentd``."""

from __future__ import annotations

import sys

from tunnel.signals import quick_end


def main() -> None:
    """Run the command line."""
    with quick_end():
        from agentd import cli
    sys.exit(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
