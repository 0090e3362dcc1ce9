"""Two hosts for a test: Linux network namespaces, joined by a link, each with an sshd."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

SSHD = "/usr/sbin/sshd"  # sshd refuses to start under a relative name


def missing() -> str | None:
    """The reason why this machine cannot make such hosts; None if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "ssh", "ssh-keygen", SSHD):
        if not shutil.which(tool):
            return f"{tool} is not installed (Debian's iproute2 and openssh-server)"
    name = f"gan-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode:
        return f"network namespaces are not permitted here ({done.stderr.strip()})"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


class Hosts:
    """Two hosts, 10.99.0.1 and 10.99.0.2, as a context manager that removes them at its end.

    Their addresses exist only within their namespaces. `directory` gets sshd's temporary keys. Both
    hosts see this machine's disk, like a network file system.
    """

    addresses = ("10.99.0.1", "10.99.0.2")

    def __init__(self, directory: Path) -> None:
        self.names = [f"gan-{os.getpid()}-{letter}" for letter in "ab"]
        self._directory = directory

    def __enter__(self) -> Hosts:
        try:
            for name in self.names:
                _ip("netns", "add", name)
            a, b = self.names
            _ip("link", "add", "veth", "netns", a, "type", "veth", "peer", "veth", "netns", b)
            for name, address in zip(self.names, self.addresses, strict=True):
                _ip("-n", name, "address", "add", f"{address}/24", "dev", "veth")
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", "veth", "up")
            self._start_sshd()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            for pid in self.pids(name):
                with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                    os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def pids(self, name: str) -> list[int]:
        """The process ids in a namespace."""
        done = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        return [int(word) for word in done.stdout.split()]

    def on(self, index: int, *command: object) -> list[str]:
        """The command line that runs `command` on host 0 or 1."""
        return ["ip", "netns", "exec", self.names[index], *map(str, command)]

    def link(self, state: str) -> None:
        """Cuts the link ("down"), which its users are not told, or restores it ("up")."""
        _ip("-n", self.names[0], "link", "set", "veth", state)

    @property
    def ssh(self) -> str:
        """The ssh command that can log in to the hosts."""
        return f"ssh -F {self._directory}/ssh_config"

    def _start_sshd(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd confines its unprivileged half to it
        for key in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._directory / key]
            subprocess.run(command, check=True)
        (self._directory / "sshd_config").write_text(
            f"HostKey {self._directory}/host_key\n"
            f"AuthorizedKeysFile {self._directory}/user_key.pub\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        )
        (self._directory / "ssh_config").write_text(
            f"IdentityFile {self._directory}/user_key\nIdentitiesOnly yes\nUser root\n"
            "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"
        )
        for index in range(2):
            command = self.on(index, SSHD, "-D", "-e", "-f", self._directory / "sshd_config")
            with open(self._directory / "sshd.log", "a") as log:
                subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
            for _ in range(50):
                trial = self.on(index, *self.ssh.split(), self.addresses[index], "true")
                if subprocess.run(trial, capture_output=True).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                raise RuntimeError((self._directory / "sshd.log").read_text())


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
