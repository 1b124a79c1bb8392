"""Entry point: ``tunnelctl`` and ``python -m tunnelctl``."""

from __future__ import annotations

from tunnelctl.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
