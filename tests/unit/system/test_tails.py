"""The end of a log."""

from pathlib import Path

from pushrod.system import tails


def test_tail_reads_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tails.of_file(log) == ()
    log.write_bytes(b"".join(b"line %d\n" % n for n in range(20_000)) + b"\xff")
    assert tails.of_file(log, 2) == ("line 19999", "\N{REPLACEMENT CHARACTER}")
