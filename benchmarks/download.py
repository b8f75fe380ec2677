"""How fast a large file comes from a Hub on this machine, over plainly copying it; and how much memory that takes.

The Hub is a process of its own and sends from the page cache, so what counts is what chatterm does: receiving,
hashing, writing. Both end with the bytes on the disk (fsync). The best of each counts, in turns.
Run: python -m benchmarks.download
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

N_BYTES = 2_000_000_000
N_ROUNDS = 3
REPO, FILE = "lab/Large-GGUF", "Large-Q4_K_M.gguf"
_PIECE = 1 << 24


def measure(n_bytes: int = N_BYTES) -> dict[str, float]:
    """Bytes per second of both ("download", "copy"), their "ratio", and what the download's process took at most.

    "peak_mb" is all of its memory, "growth_mb" what was added after the first twentieth of the file.
    """
    with tempfile.TemporaryDirectory(dir=os.environ.get("CHATTERM_BENCHMARK_FOLDER")) as place:
        folder = Path(place)
        source = _source(folder / "source.gguf", n_bytes)
        hub = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.download", "serve", str(source)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert hub.stdout
            url = hub.stdout.readline().strip()
            found: dict[str, list[float]] = {"download": [], "copy": [], "peak_mb": [], "growth_mb": []}
            for _ in range(N_ROUNDS):
                found["copy"].append(n_bytes / _copy_seconds(source, folder / "copy"))
                done = _download(url, folder)
                found["download"].append(n_bytes / done["seconds"])
                found["peak_mb"].append(done["peak_mb"])
                found["growth_mb"].append(done["growth_mb"])
        finally:
            hub.kill()
            hub.communicate()
    copied, fetched = max(found["copy"]), max(found["download"])
    return {
        "download": fetched,
        "copy": copied,
        "ratio": fetched / copied,
        "peak_mb": max(found["peak_mb"]),
        "growth_mb": max(found["growth_mb"]),
    }


def _source(path: Path, n_bytes: int) -> Path:
    """A file of bytes that no disk can shorten."""
    piece, left = os.urandom(_PIECE), n_bytes
    with path.open("wb") as file:
        while left:
            left -= file.write(piece[:left])
        file.flush()
        os.fsync(file.fileno())
    return path


def _copy_seconds(source: Path, target: Path) -> float:
    """How long it takes to copy a file, piece by piece, to the disk."""
    started = time.perf_counter()
    with source.open("rb") as there, target.open("wb") as here:
        shutil.copyfileobj(there, here, 1 << 20)
        here.flush()
        os.fsync(here.fileno())
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


def _download(url: str, folder: Path) -> dict[str, float]:
    """What a process says that fetches the file through the queue."""
    home = folder / "home"
    environment = os.environ | {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "",
        "CHATTERM_DATA_HOME": str(home / "data"),
        "CHATTERM_LOG_HOME": str(home / "log"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.download", "fetch"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    shutil.rmtree(home)
    result: dict[str, float] = json.loads(done.stdout)
    return result


async def _fetch() -> None:
    """Fetch the file as the app does, and print what that took."""
    from chatterm.downloads import Downloads, DownloadState

    queue = Downloads()
    await queue.start()
    queue.add(REPO)
    first = 0.0
    async for shown in queue.changes():
        (download,) = shown
        assert download.state is not DownloadState.FAILED, download.problem
        if not first and download.n_done > download.n_total // 20:
            first = _peak_mb()
            started, n_before = time.perf_counter(), download.n_done
        if download.state is DownloadState.DONE:
            break
    elapsed = time.perf_counter() - started
    seconds = elapsed * download.n_total / (download.n_total - n_before)  # what the Hub is asked before is not bytes
    await queue.close()
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": _peak_mb(), "growth_mb": _peak_mb() - first}))


def _peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _serve(source: Path) -> None:
    """Be a Hub that has one file; prints its address."""
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    handler = type("Handler", (_Handler,), {"source": source, "hash": digest.hexdigest()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    source: Path
    hash: str
    commit = "0" * 40

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if not self.path.startswith("/api/"):
            self._head()
            with self.source.open("rb") as file:
                self.wfile.flush()
                self.connection.sendfile(file)
            return
        size = self.source.stat().st_size
        lfs = {"size": size, "sha256": self.hash, "pointerSize": 135}
        about: dict[str, Any] = {
            "id": REPO,
            "sha": self.commit,
            "siblings": [{"rfilename": FILE, "size": size, "lfs": lfs}],
        }
        body = json.dumps(about).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{self.hash}"')
        self.send_header("Content-Length", str(self.source.stat().st_size))
        self.end_headers()


def main() -> None:
    """Print the figures."""
    found = measure()
    print(
        f"downloading {N_BYTES / 1e9:.0f} GB (aim: ratio 0.9): {found['download'] / 1e6:.0f} MB/s, "
        f"copying {found['copy'] / 1e6:.0f} MB/s, ratio {found['ratio']:.2f}, "
        f"peak {found['peak_mb']:.0f} MB, {found['growth_mb']:.1f} MB more than at a twentieth",
        flush=True,
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", source]:
            _serve(Path(source))
        case ["fetch"]:
            import asyncio

            asyncio.run(_fetch())
        case _:
            main()
