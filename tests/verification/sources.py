"""Where documents come from: packages of npm and PyPI, and files of public repositories at a commit. Nothing fetched is
committed: packages and files stay under .tools/verify, where a run with --offline reads them."""

import fnmatch
import subprocess
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".tools" / "verify"


class Unavailable(Exception):
    """A document that cannot be had, with the reason for a person."""


def open_source(name, offline, clones):
    """`npm:<package>@<version>`, `pypi:<package>@<version>` or `github:<owner>/<repository>@<commit>`."""
    kind, _, rest = name.partition(":")
    package, at, version = rest.rpartition("@")
    if not at or kind not in _SOURCES:
        raise Unavailable(f"{name}: a source is npm:<package>@<version>, pypi:<package>@<version> or github:<owner>/<repository>@<commit>")
    return _SOURCES[kind](package, version, offline, clones)


class _Package:
    """An archive that a registry's own client downloads, so that whatever mirror it is set up for is used."""

    obtained = "registry"

    def __init__(self, package, version, offline, clones):
        self.package, self.version, self.offline = package, version, offline
        self._archive = None

    def read(self, path):
        try:
            return self._open().read(path)
        except KeyError:
            raise Unavailable(f"{self.package} {self.version} has no {path}") from None

    def texts(self, patterns):
        archive = self._open()
        return [archive.read(name) for name in sorted(archive.names) if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]

    def _open(self):
        if self._archive is None:
            folder = CACHE / "packages" / self.registry / f"{self.package.replace('/', '+')}@{self.version}"
            if not folder.is_dir() or not any(folder.iterdir()):
                if self.offline:
                    raise Unavailable(f"{self.package} {self.version} was not downloaded yet, and --offline forbids it")
                folder.mkdir(parents=True, exist_ok=True)
                self._download(folder)
            self._archive = _Archive(next(path for path in sorted(folder.iterdir())))
        return self._archive

    def _download(self, folder):
        command = self.command(folder)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0 or not any(folder.iterdir()):
            folder.rmdir() if not any(folder.iterdir()) else None
            tail = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise Unavailable(f"{' '.join(command[:2])} could not get {self.package} {self.version}: {tail[0]}")


class _Npm(_Package):
    registry = "npm"

    def command(self, folder):
        return ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{self.package}@{self.version}"]


class _PyPi(_Package):
    registry = "pypi"

    def command(self, folder):
        return [str(CACHE / "python" / "bin" / "pip"), "download", "--quiet", "--disable-pip-version-check", "--no-deps", "-d", str(folder), f"{self.package}=={self.version}"]


class _Archive:
    """A .tgz without its top folder, or a wheel. Read whole, once."""

    def __init__(self, path):
        self._files = {}
        if path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as archive:
                self._files = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile():
                        self._files[member.name.partition("/")[2]] = archive.extractfile(member).read()
        self.names = list(self._files)

    def read(self, name):
        return self._files[name].decode("utf-8", errors="replace")


class _GitHub:
    """Files of a repository at a commit, one by one. `--clone` reads them from a repository on this machine instead."""

    def __init__(self, repository, commit, offline, clones):
        self.repository, self.commit, self.offline = repository, commit, offline
        self.clone = clones.get(repository)
        self._from_clone = False

    @property
    def obtained(self):
        return "local snapshot" if self._from_clone else "download"

    def read(self, path):
        kept = CACHE / "documents" / self.repository / self.commit / path
        marker = kept.with_name(kept.name + ".snapshot")
        if not kept.is_file():
            if not self.clone and self.offline:
                raise Unavailable(f"{path} of {self.repository} was not downloaded yet, and --offline forbids it")
            content = self._from_git(path) if self.clone else self._download(path)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(content)
            if self.clone:
                marker.touch()
        self._from_clone = self._from_clone or marker.is_file()
        return kept.read_text(encoding="utf-8", errors="replace")

    def texts(self, patterns):
        return [self.read(path) for path in patterns]

    def _from_git(self, path):
        done = subprocess.run(["git", "--git-dir", self.clone, "show", f"{self.commit}:{path}"], capture_output=True)
        if done.returncode != 0:
            raise Unavailable(f"{self.clone} has no {path} at {self.commit}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _download(self, path):
        url = f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{urllib.parse.quote(path)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read()
        except (urllib.error.URLError, TimeoutError) as error:
            raise Unavailable(f"{url}: {error}") from None


_SOURCES = {"npm": _Npm, "pypi": _PyPi, "github": _GitHub}
