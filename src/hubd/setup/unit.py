"""The systemd unit of a hub that was set up by ``hubd init``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

STATE: Final = Path("/var/lib/hubd")
"""Where systemd's ``StateDirectory=hubd`` is."""

_TEXT: Final = """\
# Written by hubd init. Put it in place with:
#   systemctl enable --now {path}
[Unit]
Description=Reverse tunnel hub
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
{identity}
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
# Settings that cannot be used do not get better by trying again.
RestartPreventExitStatus=78
WatchdogSec=30
TimeoutStopSec=45
LimitNOFILE=65536
UMask=0077

{capabilities}
NoNewPrivileges=yes
ProtectSystem=strict
# Programs may be installed in a home directory.
ProtectHome=read-only
ProtectProc=invisible
ProcSubset=pid
PrivateDevices=yes
PrivateTmp=yes
PrivateMounts=yes
RemoveIPC=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
DevicePolicy=closed
KeyringMode=private

[Install]
WantedBy=multi-user.target
"""


def unit(path: Path, *, program: str, config: Path, key: Path, state: Path, user: str, low_port: bool) -> str:
    """The unit's text.

    Args:
        path: where it will be, for the hint in it.
        program: ``hubd``, as an absolute path.
        config: file with the settings.
        key: the private key, which the service's user may not be able to read by itself.
        state: folder of the store.
        user: runs the service if the state is elsewhere than systemd's own place, where it makes up a user.
        low_port: a listener has a port under 1024.
    """
    command = f"{_quoted(program)} serve --config {_quoted(str(config))}"
    if state == STATE:
        # The user does not exist before the service runs, so systemd hands it the key.
        identity = f"DynamicUser=yes\nStateDirectory=hubd\nLoadCredential=tls.key:{_quoted(str(key))}"
        identity += "\nRuntimeDirectory=hubd\nRuntimeDirectoryMode=0700"
        command += " --tls-key %d/tls.key"
    else:
        identity = (
            f"User={user}\nReadWritePaths={_quoted(str(state))}\nRuntimeDirectory=hubd\nRuntimeDirectoryMode=0700"
        )
    # In a user namespace of its own, the capability would be good for nothing.
    capabilities = "CapabilityBoundingSet=\nPrivateUsers=yes"
    if low_port:
        capabilities = "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE"
    return _TEXT.format(path=path, identity=identity, command=command, capabilities=capabilities)


def _quoted(word: str) -> str:
    """As one word of systemd's, without its specifiers."""
    word = word.replace("%", "%%")
    if any(c in word for c in " \t\"'\\"):
        word = word.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{word}"'
    return word
