"""`make fuzz`: atheris on every target in turn, `SECONDS` each; with `--merge` the shortest of what it finds to be new join the corpus.

Atheris is not part of `make test`, which replays the corpus alone: `make fuzz` installs it into the virtual environment.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 4096
KEPT = 40
"""Of what one run finds, the shortest: a corpus is read in every `make test`."""


def fuzz(name: str, seconds: int, *, merge: bool) -> int:
    """Run one target in a process of its own, because libFuzzer ends it."""
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ]
        command = [sys.executable, "-m", "tests.fuzz", "--alone", name, found, str(corpus)]
        done = subprocess.run([*command, *options, f"-artifact_prefix={corpus}/crash-"], check=False)
        if merge:
            for file in sorted(Path(found).iterdir(), key=lambda each: each.stat().st_size)[:KEPT]:
                shutil.copy(file, corpus)
    return done.returncode


def alone(name: str, arguments: list[str]) -> None:
    """Be the fuzzed process."""
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["gateway.wireguard", "gateway.packet", "gateway.tunnel.surroundings"]):
        import gateway.wireguard.interface  # noqa: F401, PLC0415
    for module in [each for each in sys.modules if each.startswith(("gateway.", "tests."))]:
        del sys.modules[module]  # so that the instrumented ones are brought in
    with atheris.instrument_imports(include=["gateway"]):
        from tests.fuzz import targets  # noqa: PLC0415
    target = targets.TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], lambda data: target(bytes(data)))
    atheris.Fuzz()


def main() -> int:
    if sys.argv[1:2] == ["--alone"]:
        alone(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--merge", action="store_true", help="keep what is new in the corpus")
    chosen = parser.parse_args()
    return max(fuzz(name, chosen.seconds, merge=chosen.merge) for name in chosen.targets)


if __name__ == "__main__":
    sys.exit(main())
