"""An etcd server to measure beside ours: started, filled, asked over its gRPC, killed. Debian's package is `etcd-server`.

Its messages are protobuf, written here by hand; the field numbers are those of etcd's rpc.proto and kv.proto (version 3).
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import grpc

from simulations.reality.cluster import free_port, wait_until

HOST = "127.0.0.1"
RPC_TIMEOUT_S = 5.0
SHORT_MAX = 127
"""Longest field whose length is one byte; ours are all shorter."""


class Etcd:
    """One server, a cluster of itself, and a connection to it; on exit it has ended and left nothing."""

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="gossipd-bench-etcd-"))
        client, peer = (f"{HOST}:{free_port(HOST)}" for _ in range(2))
        command = ["etcd", "--name=bench", f"--data-dir={self._directory / 'data'}", "--log-level=error"]
        command += [f"--listen-client-urls=http://{client}", f"--advertise-client-urls=http://{client}"]
        command += [f"--listen-peer-urls=http://{peer}", f"--initial-advertise-peer-urls=http://{peer}"]
        command += [f"--initial-cluster=bench=http://{peer}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with (self._directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory, env=environment
            )
        self._channel = grpc.insecure_channel(client, options=[("grpc.enable_http_proxy", 0)])
        self._put: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary("/etcdserverpb.KV/Put")
        self._range: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary("/etcdserverpb.KV/Range")
        try:
            wait_until(self._answers, what="etcd answers")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def put(self, key: bytes, value: bytes) -> None:
        """Write *key*. Raises: grpc.RpcError."""
        self._put(_field(1, key) + _field(2, value), timeout=RPC_TIMEOUT_S)

    def range(self, prefix: bytes, *, serializable: bool = False) -> bytes:
        """Return the answer with all keys that begin with *prefix* and their values, not decoded. Raises: grpc.RpcError.

        *serializable*: by what this server has, without a round of the cluster's consensus.
        """
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        request = _field(1, prefix) + _field(2, end) + (bytes([7 << 3, 1]) if serializable else b"")
        return self._range(request, timeout=RPC_TIMEOUT_S)

    def _answers(self) -> bool:
        try:
            self.put(b"there", b"yes")
        except grpc.RpcError:
            return False
        return True


def version() -> str:
    """Return the version that `etcd --version` prints."""
    found = subprocess.run(["etcd", "--version"], capture_output=True, text=True, timeout=20, check=False)
    return (found.stdout.splitlines() or ["unknown"])[0].rpartition(" ")[2]


def installed() -> bool:
    return shutil.which("etcd") is not None


def _field(number: int, value: bytes) -> bytes:
    """Return *value* as a protobuf field of bytes."""
    assert len(value) <= SHORT_MAX
    return bytes([number << 3 | 2, len(value)]) + value
