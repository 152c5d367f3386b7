#!/usr/bin/env python3
"""runc for machines that withhold a capability: removes it from the bundle, and then runs runc.

`--privileged` asks for every capability, and runc fails if one is not in the bounding set. Without CAP_SYS_RESOURCE it
cannot lower an OOM score either.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# In the order of their numbers in linux/capability.h
CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
""".split()  # noqa: SIM905 - a table


def bounding_set(status: str) -> set[str]:
    """Return the capabilities that the process of this /proc/PID/status may give."""
    mask = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    return {f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1}


def process_file(arguments: Sequence[str]) -> Path | None:
    """Return the file that describes the process started by this command, or None."""
    if "--process" in arguments:
        return Path(arguments[arguments.index("--process") + 1])
    if "create" in arguments and "--bundle" in arguments:
        return Path(arguments[arguments.index("--bundle") + 1], "config.json")
    return None


def allowed(process: Mapping[str, Any], have: set[str]) -> dict[str, Any]:
    """Return an OCI process without the capabilities that this one lacks, and without a lowered OOM score."""
    wanted = process.get("capabilities") or {}
    given = {kind: [name for name in names if name in have] for kind, names in wanted.items()}
    return {**process, "capabilities": given, "oomScoreAdj": max(process.get("oomScoreAdj") or 0, 0)}


def main(arguments: Sequence[str]) -> None:
    if file := process_file(arguments):
        config = json.loads(file.read_text())
        have = bounding_set(Path("/proc/self/status").read_text())
        # A bundle's config contains its process; the file of `runc exec` is the process itself.
        whole = {**config, "process": allowed(config["process"], have)} if "process" in config else {}
        file.write_text(json.dumps(whole or allowed(config, have)))
    os.execvp("/usr/sbin/runc", ["runc", *arguments])  # noqa: S606 - it becomes runc


if __name__ == "__main__":
    main(sys.argv[1:])
