"""C programs on other kernels: what they show there is what the models predict.

The kernels are those that `make kernels` fetches. A program that is linked statically
needs nothing else: here a few of them and a first process are all that a guest has.
"""

import re
import subprocess
from pathlib import Path

import pytest

from spec.export.c import c_program
from spec.kernel.race import build
from spec.litmus.files import find
from spec.litmus.run import run
from spec.releases import find_model

guest = pytest.importorskip("spec.kernel.guests.guest", reason="no guests")
initramfs = pytest.importorskip("spec.kernel.guests.initramfs", reason="no guests")
packages = pytest.importorskip("spec.kernel.guests.packages", reason="no guests")

TESTS = ("vmsplice-leak", "pin-mprotect", "get-mprotect", "pin-unshares", "pin-fork")
INIT = """
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	static const char *const programs[] = { PROGRAMS };
	int status;

	mount("proc", "/proc", "proc", 0, NULL);
	for (unsigned int i = 0; i < sizeof(programs) / sizeof(*programs); i++) {
		if (fork() == 0) {
			execl(programs[i], programs[i], NULL);
			_exit(127);
		}
		wait(&status);
		printf("%s: status %d\\n", programs[i], WEXITSTATUS(status));
		fflush(stdout);
	}
	sleep(1);	/* the console is slow */
	reboot(RB_POWER_OFF);
}
"""
PATIENCE = 180


def statuses(release: str, folder: Path) -> dict[str, int]:
    """The exit status of each program in a guest."""
    try:
        if reason := guest.missing():
            pytest.skip(reason)
        image = packages.fetch(packages.SOURCES[release])
        names = ", ".join(f'"/{name}"' for name in TESTS)
        made = {"init": INIT.replace("PROGRAMS", names)}
        made |= {name: c_program(find(name)) for name in TESTS}
        content = {}
        for name, text in made.items():
            (folder / name).mkdir()
            content[f"/{name}"] = build(text, folder / name, "-static").read_bytes()
    except packages.NotAvailable as reason:
        pytest.skip(f"Linux {release}: {reason}")
    archive, console = folder / "archive", folder / "console"
    archive.write_bytes(initramfs.archive(content))
    command = guest.qemu(image.kernel, archive, str(console))
    nothing = subprocess.DEVNULL
    subprocess.run(
        command, stdin=nothing, stdout=nothing, timeout=PATIENCE, check=False
    )
    said = console.read_text(errors="replace")
    found = re.findall(r"^/(\S+): status (\d+)", said, re.M)
    assert len(found) == len(TESTS), said
    return {name: int(status) for name, status in found}


@pytest.mark.parametrize(
    "release", [pytest.param("5.10", marks=pytest.mark.slow), "6.12"]
)
def test_a_program_shows_what_the_model_of_the_release_predicts(
    release: str, tmp_path: Path
) -> None:
    model = find_model(f"linux-{release}")
    predicted = {
        name: int(any(outcome.failed for outcome in run(find(name), model).outcomes))
        for name in TESTS
    }
    assert set(predicted.values()) == ({0, 1} if release == "5.10" else {0})
    assert statuses(release, tmp_path) == predicted
