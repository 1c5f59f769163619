"""Files that are written whole or not at all, and shared without loss."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import admm_verify as av
from admm_verify import files
from admm_verify.files import check_targets, every, locked, replaced


def write(path, content=b"new"):
    with replaced(path, "result") as file:
        file.write(content)


def left_beside(path):
    return [other.name for other in path.parent.iterdir() if other.name != path.name]


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "result"
    write(path, b"first")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    plain.unlink()
    path.chmod(0o600)
    write(path)
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert left_beside(path) == []


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(name, failure, tmp_path, monkeypatch):
    path = tmp_path / "result"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise failure

    monkeypatch.setattr(files.os, name, fail)
    with pytest.raises(av.OutputError if isinstance(failure, OSError) else KeyboardInterrupt) as caught:
        write(path)
    if isinstance(failure, OSError):
        assert str(caught.value) == f"The result {path} cannot be written: No space left on device."
    assert path.read_bytes() == b"old" and left_beside(path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_named():
    with pytest.raises(av.OutputError, match=r"The result /dev/full cannot be written: No space left on device\."):
        write("/dev/full")


KILLED = """
import os, sys
from admm_verify.files import replaced
with replaced(sys.argv[1], "result") as file:
    file.write(b"x" * 100_000)
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_a_killed_writer_leaves_one_part_that_the_next_one_takes(tmp_path):
    path = tmp_path / "result"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
        assert not path.exists() and len(left_beside(path)) == 1
    write(path)
    assert path.read_bytes() == b"new" and left_beside(path) == []


def test_links_are_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(target)
    for content in (b"made", b"replaced"):
        write(link, content)
        assert link.is_symlink() and target.read_bytes() == content
    assert left_beside(target) == []


def test_names_may_be_as_long_as_the_system_takes(tmp_path):
    path = tmp_path / ("n" * 255)
    write(path)
    assert path.read_bytes() == b"new" and left_beside(path) == []


def test_pipes_and_descriptors_get_the_bytes_directly(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join()
    assert got == [b"new"] and stat.S_ISFIFO(pipe.stat().st_mode)
    out, into = os.pipe()
    (tmp_path / "link").symlink_to(f"/dev/fd/{into}")
    write(f"/dev/fd/{into}")
    write(tmp_path / "link")
    assert os.read(out, 100) == b"newnew"
    os.close(out), os.close(into)
    write(os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_writers_of_one_file_take_turns(tmp_path):
    path = tmp_path / "result"
    contents = [bytes([65 + i]) * 300_000 for i in range(4)]

    def repeat(content):
        for _ in range(10):
            write(path, content)

    threads = [threading.Thread(target=repeat, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_bytes() in contents
    for thread in threads:
        thread.join()
    assert left_beside(path) == []


def test_only_regular_files_are_locked(tmp_path):
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(OSError), locked(path):
            pass


def test_every_writer_gets_its_turn():
    done = []

    def fail():
        raise av.OutputError("One failed.")

    with pytest.raises(av.OutputError, match=r"^One failed\. One failed\.$"):
        every([fail, lambda: done.append(1), fail, lambda: done.append(2)])
    assert done == [1, 2]


def test_targets_are_checked_before_any_work(tmp_path):
    used, other = tmp_path / "used", tmp_path / "other"
    used.write_bytes(b"")
    (tmp_path / "link").symlink_to(used)
    os.link(used, tmp_path / "hard")
    for written, read, words in [
        ([tmp_path], [], "it is a folder"),
        ([f"{tmp_path / 'none'}/"], [], "it is a folder"),
        ([f"{tmp_path / 'none'}/."], [], "it is a folder"),
        ([tmp_path / "missing" / "file"], [], "its folder is missing"),
        ([used], [used], "also read"),
        ([tmp_path / "link"], [used], "also read"),
        ([tmp_path / "hard"], [used], "also read"),
        ([other, other], [], "twice"),
        ([other, tmp_path / "." / "other"], [], "twice"),
    ]:
        with pytest.raises(av.InputError, match=words):
            check_targets([os.path.join(path) for path in written], [str(path) for path in read])
    check_targets([str(used), str(other), os.devnull, os.devnull, "/dev/stdout", "/dev/stdout"], ["query"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_write_protection_is_respected(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    path.chmod(0o400)
    with pytest.raises(av.InputError, match="write-protected"):
        check_targets([str(path)], [])
    with pytest.raises(av.OutputError, match="Permission denied"):
        write(path)
    assert path.read_bytes() == b"old"
