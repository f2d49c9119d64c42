"""Damaged and malicious files: what a run lists is refused in one line, what it does not is right or refused."""

import random
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import mutations

ROOT = Path(__file__).parents[1]
GIBIBYTE = 2**20  # in the kibibytes that the system counts
PATIENCE = 120  # seconds without an answer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutations") / "made"
    folder.mkdir()
    mutations.make(folder)
    return folder


def read_in_children(made, folder, seed, total, workers):
    """The line that each mutation came to; processes that die are started again."""
    shares = [(n * total // workers, (n + 1) * total // workers) for n in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        logs = [folder / f"{first}.log" for first, _ in shares]
        list(pool.map(lambda share, log: read_share(made, log, seed, *share), shares, logs))
    lines = [line.split("\t") for log in logs for line in log.read_text().split("\n") if line]
    return {int(line[0]): line[-4:] for line in lines}


def read_share(made, log, seed, first, last):
    copy = log.with_suffix("")
    while first < last:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(made, copy)
        words = map(str, (copy, seed, first, last, log))
        with log.with_suffix(".err").open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.mutations", *words], cwd=ROOT, stderr=errors
            )
            wait_for(child, log)
        lines = log.read_text().split("\n") if log.exists() else [""]
        if lines[-1]:  # it died at this one
            with log.open("a") as file:
                file.write(f"\t{name_of(seed, int(lines[-1]))}\tDIED {child.returncode}\t0\n")
        elif child.returncode != 0 and len(lines) < 2:
            raise AssertionError(log.with_suffix(".err").read_text()[-2000:])
        done = [line for line in lines if line]
        first = int(done[-1].split("\t")[0]) + 1


def name_of(seed: int, number: int) -> str:
    half, name = mutations.drawn(random.Random(f"{seed} {number}"), number)
    return f"{half}\t{name}"


def wait_for(child, log) -> None:
    """Until a process ends, as long as its log grows."""
    size, since = -1, time.monotonic()
    while child.poll() is None:
        time.sleep(0.1)
        now = log.stat().st_size if log.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            child.kill()
            child.wait()


def check(found, total):
    """HDF5 may die of a file that no manifest vouches for, as SECURITY.md says; nothing else may die of any."""
    assert sorted(found) == list(range(total))
    wrong = {n: f for n, f in found.items() if f[2] not in ("refused", "accepted")}
    in_hdf5 = {n: f for n, f in wrong.items() if f[0] == "anew" and f[1].endswith(".nc")}
    died = {n: f for n, f in in_hdf5.items() if f[2].startswith("DIED")}
    assert wrong.keys() == died.keys(), [f for n, f in wrong.items() if n not in died][:5]
    assert len(died) <= total / 1000, died
    assert max(int(f[3]) for f in found.values()) < GIBIBYTE
    return Counter((half, name, said.split(" ")[0]) for half, name, said, _ in found.values())


def test_two_hundred_mutations_in_this_process(made, tmp_path):
    """Those that do not reach HDF5, which can crash; the slow test has them all."""
    folder = shutil.copytree(made, tmp_path / "copy")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anew = {
            n: share
            for n, share in mutations.SHARES[mutations.ANEW].items()
            if not n.endswith(".nc")
        }
        patch.setitem(mutations.SHARES, mutations.ANEW, anew)
        found = [mutations.one(folder, 1, number).split("\t")[-1] for number in range(200)]
    assert set(found) == {"refused", "accepted"}
    assert Counter(found[::2]) == {"refused": 100}


def test_the_files_as_they_were_made_are_accepted(made):
    from pyrogeo.run import Run

    for name in mutations.SHARES[mutations.ANEW]:
        assert (
            mutations.outcome(lambda name=name: mutations.read(name, made, Run), False)
            == "accepted"
        )


@pytest.mark.slow
def test_ten_thousand_mutations(made, tmp_path, record_property):
    """Half with the digests as they were, half with digests made anew or on files of one's own."""
    total, started = 10_000, time.monotonic()
    found = read_in_children(made, tmp_path, 0, total, workers=2)
    record_property("seconds for all mutated files", round(time.monotonic() - started))
    for (half, name, said), count in sorted(check(found, total).items()):
        record_property(f"mutated files, digests {half}: {name}, {said}", count)
    most = max(int(line[-1]) for line in found.values())
    record_property("MiB of memory at most", round(most / 1024))
