"""An asyncio client for the hub's management API: addresses, credentials, typed errors, paging, watches that resume.

    async with connect("unix:///run/hubd/admin.sock") as hub:
        async for session in hub.list_sessions():
            print(session.name, session.agent)
        async for change in hub.watch_sessions():
            ...

The stubs are there as they are (``hub.sessions.GetSession(...)``); calls get a deadline and a typed error by themselves.
Needs protobuf and grpcio only.
"""

from tunnelpb.client.address import Address
from tunnelpb.client.errors import HubError
from tunnelpb.client.hub import Hub, Tls, connect
from tunnelpb.client.watches import Change, Retry

__all__ = ["Address", "Change", "Hub", "HubError", "Retry", "Tls", "connect"]
