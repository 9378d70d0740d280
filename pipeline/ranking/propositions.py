"""Which features hold for a catalog of propositions: what needs an operation (paths, needs, verbs) is missing there.

Called by `pipeline.predict.prepare`; how a proposition is kept as an operation is `catalog/propositions.py`'s.
"""

from __future__ import annotations

import numpy as np

from pipeline.ranking.table import FEATURES, GROUND_NAMES

# Words, meaning, category (the tag) and what was called before need no path, verb, parameter or answer.
_HELD = frozenset(
    {"words_name", "words_description", "cover_name", "cover_prompt", "match", "match_rank", "match_gap", "residue",
     "novel", "last_same_tag", "past_same_tag", "last_named", "past_named", "last_cosine", "past_cosine"}
)  # fmt: skip
_HELD_GROUPS = frozenset({"meaning", "repeat", "network"})
NEEDS_OPERATION = np.array(  # bool [n_catalog_features]
    [f.name not in _HELD and f.group not in _HELD_GROUPS for f in FEATURES if f.name in frozenset(GROUND_NAMES)]
)
