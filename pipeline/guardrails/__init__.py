"""What may come in, what may go out: one room.

In: `admit` cleans a query or refuses it with what to mend (`bounds`); `screen` looks into its prompt for personal
data (`personal`) and for what looks like an attack (`attacks`, which reads it in the ways of `folding`), and flags,
marks or refuses as the settings say. Out: `allow` holds destructive operations back, `suspicions` names those that
deserve a second look, `clean_params` makes argument values safe to send. Called by `pipeline/predict.py` and
`pipeline/feedback.py`.
"""

from pipeline.guardrails.bounds import METHODS, URI_MAX, admit, allow, clean_params, operations_only, printable
from pipeline.guardrails.screen import FLAGS, Screened, screen, suspicions, unveil, veil

__all__ = [
    "FLAGS",
    "METHODS",
    "URI_MAX",
    "Screened",
    "admit",
    "allow",
    "clean_params",
    "operations_only",
    "printable",
    "screen",
    "suspicions",
    "unveil",
    "veil",
]
