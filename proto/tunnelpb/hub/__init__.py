"""The hub's management API."""
