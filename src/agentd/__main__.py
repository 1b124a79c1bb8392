"""Entry point: ``agentd`` and ``python -m agentd``."""

from __future__ import annotations

from agentd.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
