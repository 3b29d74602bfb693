"""The pages with which the edge answers instead of an app."""

import re

from pushrod.adapters.nginx import pages

LONGEST = "a" * 31  # of an app's name
WORD = 4096
"""nginx's NGX_CONF_BUFFER (core/ngx_conf_file.c): a word including its quotes must be shorter."""


def test_each_error_page_is_one_word_within_nginxs_limit() -> None:
    words = re.findall(r'return 200 ("(?:[^"\\]|\\.)*");', pages.locations(LONGEST, ""))
    assert [w[:9] for w in words] == ['"$status:', '"<!doctyp']
    assert all(len(w.encode()) < WORD for w in words)


def test_the_variables_of_the_pages_are_defined_by_maps() -> None:
    """A variable unknown to nginx would be a configuration error, in every tree."""
    used = set(re.findall(r"\$(\w+)", pages.locations("shop", "") + pages.MAPS))
    made = set(re.findall(r"map \S+ \$(\w+)", pages.MAPS))
    assert used - made == {"status", "request_id", "http_accept", "away", "retry_after"}
