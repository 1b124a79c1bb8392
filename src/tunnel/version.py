"""The version of the whole distribution. The build reads it from here, so it stands in one place only."""

from __future__ import annotations

VERSION = "0.1.0"
