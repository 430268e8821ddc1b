"""How alike texts are, for very many of them: shingles, and hashes in place of these.

Source: Leskovec, Rajaraman and Ullman (2014), Mining of Massive Datasets, chapter 3.
"""

from __future__ import annotations

import numpy as np

SHINGLE = 5  # letters
# Ten bands of four hashes: of pairs that are 0.8 alike 99.5 % meet in a band, of those that are
# 0.3 alike 8 %.
BANDS, ROWS = 10, 4


def jaccard(a: str, b: str) -> float:
    """RETURNS (float): Part of the shingles of two texts that they share."""
    x, y = ({s[i : i + SHINGLE] for i in range(len(s) - SHINGLE + 1)} for s in (a, b))
    return len(x & y) / len(x | y)


_RNG = np.random.default_rng(0)
_FACTORS = _RNG.integers(1 << 62, size=BANDS * ROWS, dtype=np.uint64) | np.uint64(1)
_SHIFTS = _RNG.integers(1 << 62, size=BANDS * ROWS, dtype=np.uint64)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd; products wrap around


def signatures(texts: list[str]) -> np.ndarray:
    """RETURNS (ndarray): MinHash of each text's shingles, uint32 (n_texts, BANDS * ROWS)."""
    result = np.empty((len(texts), BANDS * ROWS), np.uint32)
    for start in range(0, len(texts), 2000):  # what stays in the caches of a CPU
        part = texts[start : start + 2000]
        joined = "".join(part).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(joined, np.uint32).astype(np.uint64)
        hashes = np.zeros(len(codes) - SHINGLE + 1, np.uint64)
        for k in range(SHINGLE):
            hashes = hashes * _BASE + codes[k : k + len(hashes)]
        hashes ^= hashes >> np.uint64(29)
        lengths = np.fromiter(map(len, part), np.int64, len(part))
        ends = np.cumsum(lengths)
        within = np.ones(len(codes), bool)  # not where a shingle would run into the next text
        for k in range(1, SHINGLE):
            within[ends - k] = False
        hashes = hashes[within[: len(hashes)]]
        n = lengths - SHINGLE + 1
        first = np.cumsum(n) - n
        for k, (factor, shift) in enumerate(zip(_FACTORS, _SHIFTS)):
            scrambled = (hashes * factor + shift) >> np.uint64(32)
            result[start : start + len(part), k] = np.minimum.reduceat(scrambled, first)
    return result


def band_keys(signature: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): One number per band, uint64 (n_texts, BANDS)."""
    rows = signature.reshape(-1, BANDS, ROWS).astype(np.uint64)
    keys = np.zeros(rows.shape[:2], np.uint64)
    for k in range(ROWS):
        keys = keys * _BASE + rows[:, :, k]
    return keys


class Distinct:
    """Tells texts that are much like one before.

    threshold (float): Least part of common shingles of two texts that are alike.
    """

    def __init__(self, threshold: float):
        self.threshold = threshold
        self._texts: list[str] = []
        self._known: set[str] = set()
        self._bands: dict[tuple[int, int], list[int]] = {}

    def add(self, text: str) -> bool:
        """RETURNS (bool): Whether no text before is like this one; it is kept then. Those that
        are too short for shingles are compared as they are."""
        if text in self._known:
            return False
        if len(text) >= SHINGLE:
            keys = list(enumerate(band_keys(signatures([text]))[0].tolist()))
            near = {k for key in keys for k in self._bands.get(key, ())}
            if any(jaccard(text, self._texts[k]) >= self.threshold for k in near):
                return False
            for key in keys:
                self._bands.setdefault(key, []).append(len(self._texts))
            self._texts.append(text)
        self._known.add(text)
        return True
