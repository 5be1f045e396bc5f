"""Kernels in QEMU: what goes wrong with them is said, and two of them are run.

The two are fetched and booted side by side. Where they cannot be had, these tests are
skipped with the reason that the command gives.
"""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spec.kernel import commands
from spec.kernel.guests import guest, packages
from spec.kernel.guests.guest import Guest, GuestLost
from spec.kernel.guests.init import END, swap_header
from spec.kernel.guests.initramfs import archive
from spec.kernel.guests.packages import SOURCES, Image, NotAvailable, fetch
from spec.litmus.parser import parse

LIVE = ("5.10", "6.12")
LEAKS = {"swap-entry-leak", "swap-entry-leak-read", "swapout-leak", "thp-vmsplice-leak"}
WRONG = {"pin-mprotect", "exclusive-owner", "selftest-fixed-buffer"}
PATIENCE = 600
"""Seconds until a live guest is given up; it takes half a minute."""


# -- two live guests -------------------------------------------------------------------


@pytest.fixture(scope="module")
def witnesses() -> dict[str, tuple[int, str, str]]:
    """Exit status, output and errors of the command, for two kernels side by side."""
    command = [sys.executable, "-m", "spec", "kernel", "witness", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = {k: subprocess.Popen([*command, k], **pipes) for k in LIVE}
    found = {}
    for name, process in running.items():
        out, err = process.communicate(timeout=PATIENCE)
        found[name] = process.returncode, out, err
    return found


@pytest.mark.parametrize("kernel", LIVE)
def test_a_live_guest_agrees_with_its_model(
    witnesses: dict[str, tuple[int, str, str]], kernel: str
) -> None:
    status, out, err = witnesses[kernel]
    if ": skipped: " in err:
        pytest.skip(err.splitlines()[0])
    assert status == 0, err + out
    [found] = json.loads(out)
    assert found["kernel"]["release"].startswith(f"{kernel}.")
    assert found["differs"] == []
    shown = {each["test"]: each["shown"] for each in found["tests"] if "shown" in each}
    assert len(shown) >= 60
    went_wrong = {test for test, verdict in shown.items() if verdict.endswith("-cow")}
    if kernel == "5.10":
        assert {shown[test] for test in LEAKS} == {"missed-cow"}
        assert {shown[test] for test in WRONG} == {"wrong-cow"}
    else:
        assert not went_wrong


# -- guests that are lost --------------------------------------------------------------


def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Guest:
    """A guest whose QEMU is a shell script."""
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(qemu.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(guest, "missing", lambda: None)
    monkeypatch.setattr(guest, "initramfs", lambda modules: b"")
    monkeypatch.setattr(guest, "qemu", lambda *_: [str(qemu)])
    return Guest(Image("made up", tmp_path))


HELLO = """echo '{"release": "6.1.0", "architecture": "x86_64"}'; read request"""
ANSWER = """echo '{"unavailable": "for a test"}'; read request"""
GOOD_END = f"""echo '{{"{END}": 0, "tainted": 8192}}'"""


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 1", "the guest ended"),
        ("echo nonsense", "the guest nonsense"),
        (HELLO, "the guest ended"),
        (f"{HELLO}; echo '{{'", "the guest {"),
        (f"""{HELLO}; echo '{{"{END}": 1}}'""", "ended its driver, status 1"),
        (f"{HELLO}; {ANSWER}; exit 0", "the guest ended"),
        (f"""{HELLO}; {ANSWER}; echo '{{"{END}": 7}}'""", "the driver ended with"),
        (
            f"""{HELLO}; {ANSWER}; echo '{{"{END}": 0, "tainted": 512}}'""",
            "the guest warned of itself, tainted 512",
        ),
    ],
)
def test_a_guest_that_does_not_come_to_its_end_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    lost = made_up(tmp_path, monkeypatch, script)

    def use() -> None:
        with lost as running:
            assert running.machine.release == "6.1.0"
            assert running.ask({}) == {"unavailable": "for a test"}

    with pytest.raises(GuestLost, match="made up: ") as caught:
        use()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert lost.driver.poll() is not None


def test_a_guest_that_comes_to_its_end_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"{HELLO}; {ANSWER}; {GOOD_END}"
    with made_up(tmp_path, monkeypatch, script) as running:
        running.ask({})
    assert running.driver.poll() == 0


def test_a_guest_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "BOOT", 0.2)
    silent = made_up(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(GuestLost, match="no answer within"), silent:
        pass
    assert silent.driver.poll() is not None


def test_whatever_ends_the_block_ends_the_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"{HELLO}; exec sleep 60"
    running = made_up(tmp_path, monkeypatch, script)
    with pytest.raises(KeyboardInterrupt), running:
        raise KeyboardInterrupt
    assert running.driver.poll() is not None


@pytest.mark.parametrize(("losses", "status"), [(1, 0), (2, 2)])
def test_a_lost_guest_is_booted_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: int, status: int
) -> None:
    counter = tmp_path / "lost"
    script = (
        f"echo >> {counter}; test $(wc -l < {counter}) -gt {losses} || exit 1; "
        f'{HELLO}; while test "$request" != {END}; do {ANSWER}; done; {GOOD_END}'
    )
    made_up(tmp_path, monkeypatch, script)
    kernel = tmp_path / "bzImage"
    kernel.touch()
    result = CliRunner().invoke(commands.kernel, ["witness", "--image", str(kernel)])
    assert result.exit_code == status, result.output
    assert ("did not run" in result.output) == (status == 2)


# -- packages --------------------------------------------------------------------------


def apt(answers: dict[str, str]) -> Callable[..., str]:
    """Stands for the commands that ask the archive."""

    def run(*command: str, folder: Path | None = None) -> str:
        for word, answer in answers.items():
            if word in command:
                if "E: " in answer:
                    raise subprocess.CalledProcessError(100, command, stderr=answer)
                return answer
        return ""

    return run


ARCHIVE = {"indextargets": "http://archive.example/debian/\n"}


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"indextargets": "http://archive.example/ubuntu/\n"}, "no Debian archive"),
        (
            {**ARCHIVE, "update": "W: old\nE: The repository has no Release file."},
            "bullseye cannot be fetched from: The repository has no Release file.",
        ),
        (
            {**ARCHIVE, "pkgnames": "linux-image-amd64\n"},
            "like linux-image-5.10.0-N-cloud",
        ),
    ],
)
def test_a_kernel_that_is_not_served_is_skipped_with_the_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, str],
    sentence: str,
) -> None:
    monkeypatch.setattr(packages, "KERNELS", tmp_path / "kernels")
    monkeypatch.setattr(packages, "KEYRING", tmp_path)
    monkeypatch.setattr(packages.shutil, "which", lambda name: name)
    monkeypatch.setattr(packages, "_run", apt(answers))
    with pytest.raises(NotAvailable, match=sentence):
        fetch(SOURCES["5.10"])
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["kernels"])

    result = CliRunner().invoke(commands.kernel, ["witness", "5.10"])
    assert result.exit_code == 2
    assert "5.10: skipped: " in result.output
    assert "no kernel was run" in result.output


@pytest.mark.parametrize(
    ("source", "names", "newest"),
    [
        (
            "5.10",
            "linux-image-5.10.0-9-cloud-amd64-unsigned "
            "linux-image-5.10.0-32-cloud-amd64-unsigned "
            "linux-image-5.10.0-33-amd64-unsigned linux-image-6.1.0-9-cloud-amd64",
            "linux-image-5.10.0-32-cloud-amd64-unsigned",
        ),
        (
            "6.12",
            "linux-image-6.12.94+deb13-cloud-amd64-unsigned "
            "linux-image-6.12.107+deb13-cloud-amd64-unsigned",
            "linux-image-6.12.107+deb13-cloud-amd64-unsigned",
        ),
    ],
)
def test_the_newest_package_is_taken(
    monkeypatch: pytest.MonkeyPatch, source: str, names: str, newest: str
) -> None:
    monkeypatch.setattr(packages, "_run", apt({"pkgnames": names}))
    wanted = SOURCES[source]
    assert packages._newest([], wanted.image, wanted) == newest


def test_modules_come_after_those_that_they_need() -> None:
    def module(name: str, *needs: str) -> bytes:
        return f"\0name={name}\0depends={','.join(needs)}\0".encode()

    contents = {
        "zram": module("zram", "zsmalloc", "lz4_compress"),
        "zsmalloc": module("zsmalloc"),
        "lz4-compress": module("lz4_compress"),
    }
    assert list(packages._depends(contents["zram"])) == ["zsmalloc", "lz4-compress"]


def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guest.shutil, "which", lambda name: None)
    sentence = guest.missing()
    assert sentence is not None
    assert "apt-get install --no-install-recommends qemu-system-x86" in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["5.11"], "'5.11'; expected one of 5.10, 6.1, 6.12, 7, running"),
        (["5.10", "--image", __file__], "either releases or --image"),
        (["--image", "/no/such/file"], "does not exist"),
        (["--modules", "/lib"], "--modules is for --image"),
        (["--test", "vmsplice-lek"], "the nearest is 'vmsplice-leak'"),
        (["--test", "cow", "--record"], "--record is for the whole catalogue"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(commands.kernel, ["witness", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


# -- what is built ---------------------------------------------------------------------


def entries(cpio: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each entry of a "newc" archive."""
    found, at = {}, 0
    while True:
        assert cpio[at : at + 6] == b"070701"
        fields = [int(cpio[at + 6 + i * 8 : at + 14 + i * 8], 16) for i in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = cpio[at + 110 : at + 110 + length - 1].decode()
        data = (at + 110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = mode, cpio[data : data + size]
        at = (data + size + 3) // 4 * 4


def test_an_archive_holds_folders_before_their_files() -> None:
    found = entries(archive({"/a/b/c": b"12345", "/init": b"x"}))
    assert found["a/b/c"] == (0o100755, b"12345")
    assert {name for name, (mode, _) in found.items() if mode == 0o040755} >= {"a/b"}
    names = list(found)
    assert names.index("a") < names.index("a/b") < names.index("a/b/c")


def test_the_header_of_a_swap_device() -> None:
    header = swap_header(256)
    assert len(header) == 4096
    assert header.endswith(b"SWAPSPACE2")
    assert header[1024:1032] == (1).to_bytes(4, "little") + (255).to_bytes(4, "little")


def test_a_litmus_test_of_ones_own_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent to a guest is what the driver here would be given."""
    asked: list[dict[str, Any]] = []
    running = made_up(tmp_path, monkeypatch, f"{HELLO}; {ANSWER}; {GOOD_END}")
    with running as each:
        monkeypatch.setattr(each, "_send", lambda line: asked.append(line))
        monkeypatch.setattr(each, "_receive", lambda patience: {"unavailable": "no"})
        with pytest.raises(Exception, match="refused here: no"):
            each.observe(parse("litmus t\nA: write 1\n"))
        monkeypatch.undo()
        each.ask({})
    assert json.loads(str(asked[0]))["calls"][0]["word"] == "write"
