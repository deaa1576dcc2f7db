"""Verifies a published repository with python-tuf, the reference implementation of TUF.

    python benches/oracles/tuf_check.py REPOSITORY ROOT

REPOSITORY holds `metadata/` and `targets/`; ROOT is the pinned root (`keys/root.json`). Runs the whole
client workflow (`tuf.ngclient.Updater`: root chain, timestamp, snapshot, targets, expiry by the wall
clock), then downloads every listed target and checks its length and hash. Prints one line per target
and `OK`; exits 1 with the reason otherwise.

Needs tuf==7.0.1 and securesystemslib==1.6.0 (with its `crypto` extra, for Ed25519).
"""

import pathlib
import sys
import tempfile
from urllib.parse import unquote, urlparse

from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater


class LocalFiles(FetcherInterface):
    """Serves `file:` URLs, and answers 404 for files that are not there."""

    def _fetch(self, url: str):
        path = pathlib.Path(unquote(urlparse(url).path))
        if not path.is_file():
            raise DownloadHTTPError(f"no such file: {path}", 404)
        return iter([path.read_bytes()])


def check(repository: pathlib.Path, root: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        metadata, downloads = pathlib.Path(cache, "metadata"), pathlib.Path(cache, "targets")
        metadata.mkdir()
        downloads.mkdir()
        updater = Updater(
            metadata_dir=str(metadata),
            metadata_base_url=(repository / "metadata").as_uri() + "/",
            target_dir=str(downloads),
            target_base_url=(repository / "targets").as_uri() + "/",
            fetcher=LocalFiles(),
            bootstrap=root.read_bytes(),
        )
        updater.refresh()
        trusted = updater._trusted_set  # no public way to list all targets
        for name in sorted(trusted.targets.targets):
            info = updater.get_targetinfo(name)
            updater.download_target(info, filepath=str(downloads / name.replace("/", "_")))
            print(f"{name} {info.length} {info.hashes['sha256']}")
        print(
            f"OK root {trusted.root.version} targets {trusted.targets.version}"
            f" snapshot {trusted.snapshot.version} timestamp {trusted.timestamp.version}"
        )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        check(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]))
    except RepositoryError as refused:
        sys.exit(f"REFUSED {type(refused).__name__}: {refused}")
