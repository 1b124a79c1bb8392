"""Version 1 of the hub's management API, package ``tunnelpb.hub.v1``."""
