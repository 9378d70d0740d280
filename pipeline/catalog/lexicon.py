"""Verbs of APIs and of prompts, their inflections, and what they destroy or move away.

One table serves both sides, so that "cancelled", `cancelOrder` and `/cancellations` meet in one word. `verbs` reads
operations with it, `intent` reads prompts.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pipeline.types import Verb


def word_set(text: str) -> frozenset[str]:
    """The words of a text: how tables of words are written here."""
    return frozenset(text.split())


# Families of what destroys or moves away. A word is in one family; the family is named by its first word.
_FAMILIES = (
    "delete remove destroy erase purge wipe clear drop discard trash truncate prune expunge shred flush obliterate "
    "eradicate eliminate redact anonymize uninstall evict deprovision decommission deregister unregister delist "
    "disassociate dissociate detach unlink unassign",
    "cancel void abort terminate revoke rescind annul kill discontinue unsubscribe expire invalidate forfeit",
    "refund reverse reimburse",
    "return",
    "transfer withdraw remit",
    "deactivate disable suspend ban block unpublish retire",
    "reset",
    "archive",
    "close",
)
FAMILY: dict[str, str] = {word: family.split()[0] for family in _FAMILIES for word in family.split()}

# What a word of a prompt lets through besides its own family: many APIs cancel, unfollow or close by DELETE, and
# give money back by taking the goods back.
ADMITS: dict[str, frozenset[str]] = {
    "delete": frozenset({"delete", "cancel", "deactivate"}),
    "cancel": frozenset({"cancel", "delete"}),
    "deactivate": frozenset({"deactivate", "delete"}),
    "refund": frozenset({"refund", "return"}),
    "return": frozenset({"return", "refund"}),
    "transfer": frozenset({"transfer"}),
    "reset": frozenset({"reset"}),
    "archive": frozenset({"archive"}),
    "close": frozenset({"close"}),
}

_VERBS: dict[Verb, str] = {
    "read": "get list search query find fetch retrieve read show view lookup count describe check validate calculate "
    "estimate preview compare download export display browse filter see scan inspect evaluate autocomplete suggest "
    "geocode compute tell check identify summarize monitor track review analyze detect translate extract recommend",
    "create": "create add new insert register make post publish upload import invite generate open order book "
    "purchase buy submit clone copy fork duplicate save schedule draft compose provision define establish place "
    "issue record write append subscribe enroll comment reply upsert remind",
    "update": "update set edit modify change put patch rename replace configure adjust assign tag untag attach link "
    "associate mark enable upgrade increase decrease extend reorder move customize alter correct overwrite swap "
    "exchange rotate resize switch convert freeze unfreeze renew reschedule rebook amend waive relocate reassign "
    "toggle prolong turn bump promote demote dim",
    "delete": "unstar unfollow unwatch unpin unlike unblock unban unmute unlock leave kick expel",
    "action": "send start stop run execute trigger restart reboot pause resume approve reject accept confirm complete "
    "verify sync synchronize refresh merge login logout authenticate redeliver retry rerun rerequest test ping "
    "connect disconnect invoke apply deploy activate reactivate capture authorize pay charge initiate request notify "
    "share star follow watch pin like lock unlock mute acknowledge dismiss decline deny restore rollback revert undo "
    "recover reinstate undelete resend migrate process simulate perform do release claim redeem register handle "
    "install dispute escalate recall report offer credit top reopen resolve solve answer respond forward skip seek "
    "play snooze arm disarm join flag unflag unarchive unsuspend unpause regenerate reissue",
}
CLASS: dict[str, Verb] = {}
for _verb, _words in _VERBS.items():
    for _word in _words.split():
        CLASS.setdefault(_word, _verb)
for _word, _family in FAMILY.items():
    CLASS.setdefault(_word, "delete" if _family == "delete" else "update" if _family == "deactivate" else "action")

# Words that are as often a noun (or an adjective) as a verb.
AMBIGUOUS = word_set(
    "search query list view review order book issue record post import export upload download comment reply copy "
    "fork draft place save schedule purchase change update set tag link mark upgrade request test release claim "
    "charge pay share star watch pin like lock process sync trigger run start stop transfer refund return archive "
    "block ban void drop clear close trash kill flush reverse remit new patch count check estimate preview filter "
    "scan track register open swap exchange switch restart deploy pause handle present ping merge put "
    "freeze dispute toggle recall report offer credit turn top bump answer forward skip seek play arm flag join dim"
)

NOUNS: dict[str, str] = {
    "deletion": "delete",
    "removal": "remove",
    "erasure": "erase",
    "destruction": "destroy",
    "purge": "purge",
    "cancellation": "cancel",
    "cancelation": "cancel",
    "termination": "terminate",
    "revocation": "revoke",
    "refund": "refund",
    "reversal": "reverse",
    "chargeback": "refund",
    "reimbursement": "reimburse",
    "return": "return",
    "transfer": "transfer",
    "payout": "transfer",
    "withdrawal": "withdraw",
    "remittance": "remit",
    "deactivation": "deactivate",
    "suspension": "suspend",
    "ban": "ban",
    "reset": "reset",
    "closure": "close",
    "deregistration": "deregister",
    "disassociation": "disassociate",
    "uninstallation": "uninstall",
}

_IRREGULAR = {
    "withdraw": ("withdraws", "withdrawing", "withdrew", "withdrawn"),
    "send": ("sends", "sending", "sent"),
    "find": ("finds", "finding", "found"),
    "get": ("gets", "getting", "got"),
    "make": ("makes", "making", "made"),
    "run": ("runs", "running", "ran"),
    "buy": ("buys", "buying", "bought"),
    "leave": ("leaves", "leaving", "left"),
    "write": ("writes", "writing", "wrote", "written"),
    "show": ("shows", "showing", "showed", "shown"),
    "pay": ("pays", "paying", "paid"),
    "undo": ("undoes", "undoing", "undid", "undone"),
    "see": ("sees", "seeing", "saw", "seen"),
    "tell": ("tells", "telling", "told"),
    "do": ("does", "doing", "did", "done"),
    "read": ("reads", "reading"),
    "set": ("sets", "setting"),
    "put": ("puts", "putting"),
    "reset": ("resets", "resetting", "resetted"),
    "new": (),
}
_DOUBLED = word_set("stop drop ban pin tag swap submit star unstar scan remit unpin commit expel cancel transfer")

Form = Literal["base", "s", "ing", "past"]


class Inflected(NamedTuple):
    word: str  # its base form
    form: Form


def _inflections(word: str) -> list[tuple[str, Form]]:
    if word in _IRREGULAR:
        forms: tuple[Form, ...] = ("s", "ing", "past", "past")
        return list(zip(_IRREGULAR[word], forms, strict=False))
    found: list[tuple[str, Form]] = []
    stems = [word + word[-1], word] if word in _DOUBLED else [word]
    if word.endswith("e"):
        found += [(word[:-1] + "ing", "ing"), (word + "d", "past")]
    elif word.endswith("y") and word[-2] not in "aeou":
        found += [(word + "ing", "ing"), (word[:-1] + "ied", "past")]
    else:
        found += [(stem + "ing", "ing") for stem in stems] + [(stem + "ed", "past") for stem in stems]
    if word.endswith("y") and word[-2] not in "aeou":
        found.append((word[:-1] + "ies", "s"))
    else:
        found.append((word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s"), "s"))
    return found


INFLECTED: dict[str, Inflected] = {word: Inflected(word, "base") for word in CLASS}
for _word in CLASS:
    for _text, _form in _inflections(_word):
        INFLECTED.setdefault(_text, Inflected(_word, _form))
