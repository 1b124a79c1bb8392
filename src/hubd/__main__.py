"""Entry point: ``hubd`` and ``python -m hubd``."""

from __future__ import annotations

from hubd.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
