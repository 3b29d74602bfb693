"""Rows are counted in a dump as it passes; what the programs make of it is seen on real servers in the lab."""

import gzip
import io
from random import Random

import pytest

from pushrod.adapters import mariadb
from pushrod.adapters.mariadb_dumps import Copy, Counter
from pushrod.core.errors import StoreError

END = b"-- Dump completed on 2026-01-01  0:00:00\n"
# What the programs write, with all that could be taken for something else in texts, comments and bodies.
MARIADB = rb"""/*M!999999\- enable the sandbox mode */
-- Host: localhost    Database: it's
CREATE TABLE `goods` (
  `name` text COMMENT 'it''s (a) name'
) ENGINE=InnoDB;
INSERT INTO `goods` VALUES
(1,'it\'s (a) \\'),
(2,'; INSERT INTO `goods` VALUES\n(3)'),
(3,NULL),
(4,'it''s'),
(5,0x2827);
CREATE TABLE `empty` (
  `x` int
);
CREATE TABLE `odd ``na'me` (
  `x` int
);
INSERT INTO `odd ``na'me` (`x`, `y (z)`) VALUES
(1,''),
(2,'\'');
/*!50001 CREATE VIEW `v` AS SELECT
 1 AS `id` */;
DELIMITER ;;
/*!50003 CREATE TRIGGER t BEFORE INSERT ON goods FOR EACH ROW begin
-- don't
INSERT INTO `log` VALUES (1);
CREATE TABLE `never` (x int);
end */;;
DELIMITER ;
CREATE TABLE `last` (
  `x` int
);
INSERT INTO `last` VALUES
(1);

"""
MYSQL = rb"""CREATE TABLE `goods` (
  `id` int
);
INSERT INTO `goods` VALUES (1,'a),(b'),(2,'\\'),(3,_binary '\'('),(4,'');
INSERT INTO `goods` VALUES (5,'x');
"""
ROWS = {"goods": 5, "empty": 0, "odd `na'me": 2, "last": 1}


def counted(raw: bytes, sizes: list[int]) -> dict[str, int]:
    counter, at = Counter(), 0
    while at < len(raw):
        size = sizes[at % len(sizes)]
        counter.write(raw[at : at + size])
        at += size
    return counter.whole()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 16])
def test_rows_are_counted_wherever_a_block_ends(size: int) -> None:
    assert counted(MARIADB + END, [size]) == ROWS
    assert counted(MYSQL + b"\n" + END, [size]) == {"goods": 5}


def test_rows_are_counted_with_blocks_of_any_size() -> None:
    for seed in range(200):
        random = Random(seed)
        sizes = [random.randrange(1, 90) for _ in range(17)]
        assert counted(MARIADB + END, sizes) == ROWS, (seed, sizes)


@pytest.mark.slow
def test_a_row_larger_than_a_block_is_not_kept_in_memory() -> None:
    counter = Counter()
    counter.write(b"CREATE TABLE `t` (\n  `x` longblob\n);\nINSERT INTO `t` VALUES (1,0x")
    for _ in range(100):
        counter.write(b"28" * 32768)
        assert len(counter._left) < 1 << 10
    counter.write(b",'")
    for _ in range(100):
        counter.write(b"(;\\'" * 16384)
        assert len(counter._left) < 1 << 10
    counter.write(b"'),(2,'');\n" + b"\n" + END)
    assert counter.whole() == {"t": 2}


@pytest.mark.parametrize("raw", [b"", MARIADB, MARIADB + END[:10]])
def test_a_dump_without_its_end_is_refused(raw: bytes) -> None:
    with pytest.raises(StoreError, match="not a complete dump"):
        counted(raw, [1 << 16])


def test_a_damaged_or_truncated_file_is_detected() -> None:
    copy = Copy(mariadb.Server("shop-db", lambda: ""), "shop")
    whole = gzip.compress(MARIADB + END)
    copy.check(io.BytesIO(whole))
    for raw in (b"", whole[:-4], whole[: len(whole) // 2], whole[:40] + b"x" + whole[41:], MARIADB + END):
        with pytest.raises(StoreError, match=r"damaged or incomplete|not a complete dump"):
            copy.check(io.BytesIO(raw))
