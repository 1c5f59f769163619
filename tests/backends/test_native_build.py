"""How native code is built: once per machine, by many at once, and never in anybody's way."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from admm_verify.backends import native
from admm_verify.kernels import library

CXX = next(filter(None, map(shutil.which, library.COMPILERS)), None)
needs_compiler = pytest.mark.skipif(CXX is None, reason="no C++ compiler on PATH")
USE = "from admm_verify.backends.native import native_verbs; assert native_verbs() is not None"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> Iterator[Path]:
    """A cache folder of the test's own, and private folders inside it."""
    private = tmp_path / "private"
    private.mkdir()
    for name in ("CXX", library.SWITCH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(private))
    yield tmp_path / "cache" / "admm_verify"
    library.native_library.cache_clear()


def found() -> native.NativeVerbs | None:
    """What a new process would find."""
    library.native_library.cache_clear()
    return native.native_verbs.__wrapped__()


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@needs_compiler
def test_the_second_process_builds_nothing(own_cache) -> None:
    assert found() is not None
    (path,) = own_cache.iterdir()
    built = path.stat().st_mtime_ns
    assert found() is not None
    assert [path.stat().st_mtime_ns for path in own_cache.iterdir()] == [built]


@needs_compiler
def test_two_processes_build_at_once(own_cache) -> None:
    running = [subprocess.Popen([sys.executable, "-c", USE]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert [path.suffix for path in own_cache.iterdir()] == [".so"]


@needs_compiler
@pytest.mark.slow
def test_unlike_machines_may_share_the_folder(own_cache, monkeypatch) -> None:
    assert found() is not None
    monkeypatch.setattr(library, "_cpu", lambda: "another CPU")
    assert found() is not None
    monkeypatch.setenv("CXX", f"{CXX} -DANOTHER")
    assert found() is not None
    assert len(list(own_cache.iterdir())) == 3


@needs_compiler
def test_the_home_folder_serves_where_xdg_names_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert found() is not None
    assert len(list((tmp_path / ".cache" / "admm_verify").iterdir())) == 1


@needs_compiler
def test_a_folder_that_cannot_be_written_to_is_no_obstacle(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert found() is not None
    assert list((tmp_path / "private").iterdir()) == []


@needs_compiler
@pytest.mark.slow
def test_a_damaged_library_is_no_obstacle(own_cache, monkeypatch, tmp_path) -> None:
    assert found() is not None
    (path,) = own_cache.iterdir()
    damaged = tmp_path / "other" / "admm_verify" / path.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no library")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert found() is not None
    # It is not compiled in every process from then on.
    assert damaged.read_bytes() != b"no library" and list((tmp_path / "private").iterdir()) == []


@needs_compiler
@pytest.mark.parametrize("when", ["while", "behind"])
def test_an_interrupt_leaves_nothing_broken(own_cache, monkeypatch, tmp_path, when: str) -> None:
    real, left = subprocess.run, [KeyboardInterrupt]

    def run(words: list[str], **how: object) -> object:
        if "--version" in words or not left:
            return real(words, **how)
        if when == "while":
            # As much of the library as was written by then.
            Path(words[-1]).write_bytes(b"half")
        else:
            real(words, **how)
        raise left.pop()

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(KeyboardInterrupt):
        found()
    assert list(own_cache.iterdir()) == [] and list((tmp_path / "private").iterdir()) == []
    # The same process, which has not given up, and the next one.
    assert native.native_verbs.__wrapped__() is not None and found() is not None
    assert [path.suffix for path in own_cache.iterdir()] == [".so"]


@needs_compiler
def test_a_compiler_that_a_signal_ends_is_asked_again(own_cache, monkeypatch, tmp_path) -> None:
    once = tmp_path / "once"
    text = f'[ "$1" = --version ] && exit 0; [ -e {once} ] && exec {CXX} "$@"; touch {once}; kill -INT $$'
    monkeypatch.setenv("CXX", script(tmp_path / "compiler", text))
    assert found() is not None and once.exists()


@needs_compiler
def test_a_library_that_computes_something_else_is_not_used(monkeypatch, tmp_path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    kernels = shutil.copytree(library.KERNELS, tmp_path / "kernels")
    header = (kernels / "verbs.h").read_text(encoding="utf-8")
    (kernels / "verbs.h").write_text(header.replace("T(0.5) * pre", "T(0.6) * pre"), encoding="utf-8")
    monkeypatch.setattr(library, "KERNELS", kernels)
    assert found() is None
    assert "disagree" in caplog.text


def test_the_switch(own_cache, monkeypatch, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(library.SWITCH, "0")
    assert found() is None
    assert not own_cache.exists() and "switched off" in caplog.text


def test_without_a_compiler(monkeypatch, tmp_path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found() is None
    assert "No C++ compiler" in caplog.text
    monkeypatch.setenv("CXX", str(tmp_path / "nowhere"))
    assert found() is None


@pytest.mark.parametrize(
    "text",
    [
        "echo broken >&2; exit 1",
        '[ "$1" = --version ] && exit 0; echo broken >&2; exit 1',
        '[ "$1" = --version ] && exit 0; for last; do :; done; echo no library > "$last"',
        '[ "$1" = --version ] && exit 0; exec sleep 60',
    ],
    ids=["no version", "no library", "a text", "never"],
)
def test_with_a_broken_compiler(own_cache, monkeypatch, tmp_path, caplog, text: str) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(library, "BUILD_SECONDS", 0.5)
    monkeypatch.setenv("CXX", script(tmp_path / "compiler", text))
    assert found() is None
    assert "Native code is not used" in caplog.text
    assert not list(own_cache.glob("*.part"))


@needs_compiler
def test_with_a_compiler_that_leaves_the_verbs_out(monkeypatch, tmp_path) -> None:
    empty = tmp_path / "empty.cpp"
    empty.touch()
    build = f'[ "$1" = --version ] && exit 0; for last; do :; done; {CXX} -shared -fPIC {empty} -o "$last"'
    monkeypatch.setenv("CXX", script(tmp_path / "compiler", build))
    assert found() is None
