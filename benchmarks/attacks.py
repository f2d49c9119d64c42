"""What was tried to lose a run, to break its files or to misread data, and what came of it.

    python benchmarks/attacks.py

Runs the suite's searches for counter-examples, the slow ones among them, and mypy. Prints a Markdown table: of
each attack how many were tried, and whether all ended as they must. The full disk and the file system that may
only be read need root, and are said to be skipped without. Takes some five minutes.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ATTACKS = {
    "kills": ["tests/test_kills.py", "tests/test_folder.py"],
    "full disks": ["tests/test_full_disk.py"],
    "damaged files": ["tests/test_mutations.py"],
    "markup": ["tests/test_markup.py"],
    "images": ["tests/datasets/test_images.py", "tests/datasets/test_folders.py"],
    "tables": ["tests/datasets/test_tables.py", "tests/datasets/test_command_line.py"],
    "Pyro's objects": ["tests/vae/test_pyro_objects.py", "tests/sampling/test_doors.py"],
    "numbers": ["tests/vae/test_numbers.py"],
}


class Noted:
    """A plugin of pytest: what the tests say they tried, and how they ended."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.ended[report.outcome] += 1
            self.tried.update({str(name): value for name, value in report.user_properties})


def attacked(files: list[str]) -> Noted:
    noted = Noted()
    options = ["--quiet", "--quiet", "-n", "0", "-m", "slow or not slow", "--no-summary"]
    pytest.main([*options, *(str(ROOT / file) for file in files)], plugins=[noted])
    return noted


def typed() -> tuple[str, str]:
    """Whether mypy finds something, and at how many places it is told not to look."""
    told = subprocess.run([sys.executable, "-m", "mypy"], capture_output=True, text=True, cwd=ROOT)
    texts = [file.read_text() for file in (ROOT / "pyrogeo").rglob("*.py")]
    ignored = sum(len(re.findall(r"# type: ignore\[", text)) for text in texts)
    return told.stdout.strip().splitlines()[-1], f"{ignored} lines ignored"


def main() -> None:
    rows = []
    for kind, files in ATTACKS.items():
        noted = attacked(files)
        ended = ", ".join(f"{n} {how}" for how, n in sorted(noted.ended.items()))
        rows.append((kind, "tests", ended))
        rows += [(kind, what, f"{n:,}") for what, n in noted.tried.items()]
    rows.append(("types", *typed()))
    print("\n| kind | what | how many |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
