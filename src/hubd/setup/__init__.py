"""What ``hubd init`` writes: an authority of one's own, a certificate, settings, a token and a service unit."""

from __future__ import annotations
