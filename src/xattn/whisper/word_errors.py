"""Word error rate: how many words must be changed, left out or put in, of those that were said.

Spelling is no error: a title counts as the word that is read aloud, and a compound may be one word or two.
"""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = str.maketrans({"’": "'", "`": "'"})
_TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint"}


def words(text: str) -> list[str]:
    """A text's words in lower case, without punctuation, titles in full: what counts as the same word."""
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    return [_TITLES.get(word, word) for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain)]


def word_errors(reference: str, text: str) -> int:
    """Edit distance in words; two neighbours that make up one word of the other text equal it."""
    said, found = words(reference), words(text)
    above: list[int] = []
    row = list(range(len(found) + 1))
    for i, word in enumerate(said, 1):
        two_above, above, row = above, row, [i]
        for j, other in enumerate(found, 1):
            step = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other))
            if j > 1 and word == found[j - 2] + other:
                step = min(step, above[j - 2])
            if i > 1 and said[i - 2] + word == other:
                step = min(step, two_above[j - 1])
            row.append(step)
    return row[-1]


def word_error_rate(reference: str, text: str) -> float:
    """Edit distance in words over the reference's words; 0 where both are empty, 1 where only the reference is."""
    said = len(words(reference))
    if not said:
        return float(bool(words(text)))
    return word_errors(reference, text) / said
