"""Word error rate: how many words must be changed, left out or put in, of those that were said."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = str.maketrans({"’": "'", "`": "'"})


def words(text: str) -> list[str]:
    """A text's words in lower case, without punctuation: what counts as the same word."""
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain)


def word_error_rate(reference: str, text: str) -> float:
    """Edit distance in words over the reference's words; 0 where both are empty, 1 where only the reference is."""
    said, found = words(reference), words(text)
    if not said:
        return float(bool(found))
    distances = list(range(len(found) + 1))
    for i, word in enumerate(said, 1):
        diagonal, distances[0] = distances[0], i
        for j, other in enumerate(found, 1):
            step = min(distances[j] + 1, distances[j - 1] + 1, diagonal + (word != other))
            diagonal, distances[j] = distances[j], step
    return distances[-1] / len(said)
