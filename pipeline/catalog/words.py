"""What a sentence's words say of each operation: BM25 over six fields of its text, and coverage.

Built once per catalog as one inverted index over all fields (S. Robertson, H. Zaragoza, "The Probabilistic
Relevance Framework: BM25 and Beyond", 2009); a query is one gather and one bincount. Which operations
are offered is decided in `retrieve.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.catalog.identifiers import about
from pipeline.catalog.kept import Kept
from pipeline.catalog.stem import stems
from pipeline.types import Catalog, Operation

FIELDS = ("name", "path", "last", "description", "parameters", "response")
N_FIELDS = len(FIELDS)
_COVER_NAME, _COVER_CARD, _WIDTH = N_FIELDS, N_FIELDS + 1, N_FIELDS + 2
_K1, _B = 1.2, 0.75  # the usual values of BM25
_RESPONSE_TERMS = 64  # distinct words of a response that count; the first levels are named first
_SIMILAR_BYTES = 1 << 20  # of remembered likenesses: 214 operations of a spec as large as GitHub's


class Words:
    """The words of a catalog's operations."""

    def __init__(self, catalog: Catalog) -> None:
        self.size = len(catalog.operations)
        self._vocabulary: dict[str, int] = {}
        self._name_terms: list[frozenset[int]] = []
        self._similar = Kept(_SIMILAR_BYTES, 4 * self.size, self.size)
        terms: list[int] = []  # of each posting
        columns: list[int] = []  # field * size + operation
        counts: list[int] = []
        card_terms: list[set[int]] = []
        paths = [operation.path for operation in about(catalog.operations)]
        for i, operation in enumerate(catalog.operations):
            card: set[int] = set()
            for field, found in enumerate(_fields(operation, paths[i])):
                bag = Counter(found)
                ids = [self._vocabulary.setdefault(term, len(self._vocabulary)) for term in bag]
                terms += ids
                columns += [field * self.size + i] * len(ids)
                counts += bag.values()
                if field == 0:
                    self._name_terms.append(frozenset(ids))
                if field != N_FIELDS - 1:
                    card.update(ids)
            card_terms.append(card)
        self._index(
            np.array(terms, dtype=np.int32), np.array(columns, dtype=np.int32), np.array(counts, np.float32), card_terms
        )

    def _index(self, terms: np.ndarray, columns: np.ndarray, counts: np.ndarray, cards: list[set[int]]) -> None:
        n, vocabulary = self.size, len(self._vocabulary)
        fields, rows = np.divmod(columns, max(n, 1))
        lengths = np.bincount(columns, weights=counts, minlength=N_FIELDS * n).reshape(N_FIELDS, n)
        average = np.array([max(1.0, row[row > 0].mean() if row.any() else 1.0) for row in lengths])
        frequency = np.bincount(fields * vocabulary + terms, minlength=N_FIELDS * vocabulary)
        rarity = np.log1p((n - frequency + 0.5) / (frequency + 0.5)).reshape(N_FIELDS, vocabulary)
        damping = _K1 * (1 - _B + _B * lengths[fields, rows] / average[fields])
        weights = rarity[fields, terms] * counts * (_K1 + 1) / (counts + damping)

        # Two more columns per operation beside the fields: what share of its name a word covers, and the
        # word's own rarity wherever the operation's card has it.
        card_sizes = np.fromiter((len(c) for c in cards), dtype=np.int64, count=n)
        card_ids = np.fromiter((t for c in cards for t in c), dtype=np.int32, count=int(card_sizes.sum()))
        card_rows = np.repeat(np.arange(n, dtype=np.int32), card_sizes)
        in_cards = np.bincount(card_ids, minlength=vocabulary)
        self.idf = np.log1p((n - in_cards + 0.5) / (in_cards + 0.5)).astype(np.float32)  # [n_terms]
        name = fields == 0
        name_total = np.bincount(rows[name], weights=self.idf[terms[name]], minlength=n)
        share = self.idf[terms[name]] / np.maximum(name_total[rows[name]], 1e-6)

        all_terms = np.concatenate([terms, terms[name], card_ids])
        all_columns = np.concatenate([columns, rows[name] + _COVER_NAME * n, card_rows + _COVER_CARD * n])
        all_weights = np.concatenate([weights, share, self.idf[card_ids]])
        order = np.argsort(all_terms, kind="stable")
        self._columns = all_columns[order].astype(np.int32)
        self._weights = all_weights[order].astype(np.float32)
        self._starts = np.searchsorted(all_terms[order], np.arange(vocabulary + 1)).astype(np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of the index, the remembered likenesses at their most."""
        arrays = self._columns.nbytes + self._weights.nbytes + self._starts.nbytes + self.idf.nbytes
        return arrays + self._similar.nbytes + 120 * len(self._vocabulary) + 40 * sum(map(len, self._name_terms))

    def terms(self, text: str) -> tuple[int, ...]:
        """Distinct known terms of the text, in the order of the text."""
        known = (self._vocabulary.get(term) for term in stems(text))
        return tuple(dict.fromkeys(t for t in known if t is not None))

    def name_terms(self, operation: int) -> frozenset[int]:
        """Terms of the operation's summary and operationId."""
        return self._name_terms[operation]

    def score(self, terms: Sequence[int]) -> np.ndarray:
        """BM25 of each field, then the share of the name covered, then the share of `terms` covered by the card.

        Returns float32 [N_FIELDS + 2, n_operations].
        """
        scores = self._sum(terms, _WIDTH)
        total = float(self.idf[list(terms)].sum()) if len(terms) else 0.0
        if total > 0:
            scores[_COVER_CARD] /= total
        return scores

    def last_about(self, terms: Sequence[int]) -> np.ndarray:
        """Operations whose path's last literal segment holds one of `terms`; int32, with repeats."""
        spans = [self._columns[self._starts[t] : self._starts[t + 1]] for t in terms]
        columns = np.concatenate(spans) if spans else np.zeros(0, dtype=np.int32)
        low = FIELDS.index("last") * self.size
        return columns[(columns >= low) & (columns < low + self.size)] - low

    def similar(self, operation: int) -> np.ndarray:
        """Share of each operation's name that this operation's name covers; float32 [n_operations]."""

        def make(operation: int) -> np.ndarray:
            return self._sum(sorted(self._name_terms[operation]), _WIDTH)[_COVER_NAME].copy()

        return self._similar.get(operation, make)

    def _sum(self, terms: Iterable[int], width: int) -> np.ndarray:
        spans = [(self._starts[t], self._starts[t + 1]) for t in terms]
        if not spans:
            return np.zeros((width, self.size), dtype=np.float32)
        columns = np.concatenate([self._columns[a:b] for a, b in spans])
        weights = np.concatenate([self._weights[a:b] for a, b in spans])
        total = np.bincount(columns, weights=weights, minlength=width * self.size)
        return total.astype(np.float32).reshape(width, self.size)


def _fields(operation: Operation, about: str) -> Iterable[Sequence[str]]:
    """Stems of each of FIELDS; `about` is its path without a dotted verb."""
    yield stems(f"{operation.summary} {operation.operation_id}")
    literals = [s for s in about.split("/") if s and not s.startswith("{")]
    yield stems(operation.path)
    yield stems(literals[-1]) if literals else ()
    yield stems(operation.description)
    parameters: list[str] = []
    for parameter in operation.parameters:
        parameters += stems(parameter.name)
        for value in parameter.enum[:20]:
            if isinstance(value, str):
                parameters += stems(value)
    yield parameters
    response: dict[str, None] = {}
    for name in operation.response_fields:
        for term in stems(name.rsplit(".", 1)[-1]):
            response[term] = None
        if len(response) >= _RESPONSE_TERMS:
            break
    yield tuple(response)
