"""Arguments of a candidate from what the session has seen: calls, answers and prompt; never an invented id.

`Session` reads the calls once (names, entities, path prefixes, values of answers, typed spans of the
prompt); `Session.bind` then fills one operation's parameters in microseconds. A value comes, in this
order, from: an id the prompt names beside the parameter's entity ("issue 42"), the calls under the same
path (values that belong together come from one call), the same name, the same entity (`id` of /pets is
`petId`), a typed span of the prompt, an enum literal it names, the setting its last call had, a default. What
is left is missing. Optional ones come from the prompt, the last call of the operation, or what two calls shared.
Headers and cookies are never filled; a credential is what calls were given, never missing. Called by `predict`.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pipeline import keynames
from pipeline.candidates import answers, changes, choices, days, kindred, loose, names, once, parameters, repeats, wish
from pipeline.candidates.answers import ReaderOf
from pipeline.candidates.called import CalledSo
from pipeline.candidates.context import Context
from pipeline.candidates.fitting import fit, gives_way, guess, is_value
from pipeline.candidates.names import Name
from pipeline.candidates.nested import Builder, may_fill
from pipeline.candidates.seen import Found, Seen, Value, fitting
from pipeline.candidates.wholes import Wholes
from pipeline.types import Call, Operation, Parameter

_BODIES = 6  # answers that are read: the latest ones
# What is new with each call, whatever it was the last time.
_TEXTS = frozenset(("title", "name", "body", "message", "content", "text", "description", "note", "comment", "value"))
_READS = repeats.READS
_UNFILLED = re.compile(r"^:[A-Za-z_]\w*$|[\x00-\x1f\x7f]")  # no value: `:charge`, control characters


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """Arguments of one operation and where each came from."""

    params: dict[str, Any]
    missing: tuple[str, ...]  # required and path parameters nothing was found for
    guessed: tuple[str, ...]  # filled from a default or an example
    origins: dict[str, tuple[str, int]]  # parameter -> (path | params | response | prompt | default, call or -1)
    chosen: tuple[str, ...] = ()  # of the missing those that only the alternative which the others pick requires


class Session:
    """What the calls and the prompt of one query say about values; made once, then asked for each candidate.

    `operations[i]` is the operation call i was matched to (None: none) and `path_params[i]` its path parameters;
    `today` is the day of the request for where no call says what day it is.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        operations: Sequence[Operation | None],
        path_params: Sequence[Mapping[str, str]],
        prompt: str,
        today: datetime.date | None = None,
        reader_of: ReaderOf = lambda _: None,
        knows: Callable[[str], bool] = lambda _: False,
        is_own: loose.IsOwn = lambda value, path, name: None,
    ) -> None:
        self._reader_of, self._is_own = reader_of, is_own
        self._by_prefix: dict[str, tuple[int, tuple[str, ...]]] = {}  # template prefix -> values of the latest call
        self._seen = Seen()
        self._seen.posts.update(i for i, call in enumerate(calls) if call.method == "POST")
        self._texts: set[str] = set()  # that calls were given
        self._akin = kindred.Kindred(self._seen).find
        self._meant = answers.Meant()
        self._done: dict[str, list[tuple[int, dict[str, str]]]] = {}  # operation key -> its calls and their arguments
        self._context = Context()
        self._wholes = Wholes()
        self._latest: dict[str, tuple[int, Mapping[str, Any]]] = {}  # operation key -> its latest call
        self._known: dict[tuple[Any, ...], tuple[Parameter, Found | None]] = {}  # what was sought, and for which
        self._writes: list[int] = []  # the calls that changed something
        self._wish = wish.read(prompt, days.today(calls, today))
        self._against = loose.Against(self._wish.ids, self._seen, self._meant, is_own)
        self._called = CalledSo(prompt, knows)
        answered = [index for index, call in enumerate(calls) if call.body is not None and _is_done(call)][-_BODIES:]
        for index, (call, operation, values) in enumerate(zip(calls, operations, path_params, strict=True)):
            real = {raw: value for raw, value in values.items() if not _UNFILLED.search(value)}
            self._see(index, call, operation, real, reads_body=index in answered)
        self._last = len(calls) - 1
        self._answered = answers.identity(calls[-1].body) if calls and _is_done(calls[-1]) else None
        self._wrote = self._last >= 0 and calls[-1].method not in _READS
        self._context.end(calls[-1].params if calls else {}, self._last)

    def past(self, operation: Operation) -> list[dict[str, str]]:
        """The arguments of the past calls of an operation, as texts."""
        return [sent for _, sent in self._done.get(operation.key, ())]

    def bind(self, operation: Operation) -> Binding:
        """Arguments of `operation`: required ones from all that was seen, optional ones from prompt or last call."""
        template = names.template(operation.path)
        done = self._done.get(operation.key, ())
        together = self._together(template, operation)
        scope = {template.scopes[raw]: found[0] for raw, found in together.items()}
        bound: dict[str, Found] = {}
        missing: list[str] = []
        objects: list[Parameter] = []
        is_read = operation.method in _READS
        speaks, refers = self._wish.speaks, operation.method == "POST" and self._last >= 0
        moves = self._wish.moves and changes.sets(operation)
        says = speaks or refers or moves or bool(done or self._meant)
        words, context, lists = self._wish.words, self._context.kept, self._wish.lists.may
        for parameter in operation.parameters:
            raw, location, kind = parameter.name, parameter.location, parameter.type
            needed = parameter.required or location == "path"
            is_said = bool(words) and (kind == "boolean" or bool(parameter.enum or parameter.parts))
            is_said = is_said or (kind == "array" and lists(raw))
            if not (needed or says or raw in context or is_said):
                continue  # nothing says anything of it
            if location in ("header", "cookie"):
                missing += [raw] if parameters.is_left_to_the_caller(parameter) else []
                continue
            if location == "body" and is_read and not needed:
                continue
            if parameter.parts:
                if needed or may_fill(parameter, self._wish.lower, says):
                    objects.append(parameter)
                continue
            if parameters.is_credential(parameter, operation.path):
                if (sent := self._seen.sent(parameter)) is not None:
                    bound[raw] = sent
                continue
            if moves and self._move(parameter, operation, template.last, scope, bound):
                missing += [raw] if needed and raw not in bound else []
                continue
            if needed:
                name = names.name(raw, template.resources.get(raw, "") if location == "path" else template.last)
                given = {arguments[raw] for _, arguments in done if raw in arguments} if done else ()
                if parameter.fields:
                    given_by = {i for i, _ in done}
                    found = self._wholes.find(parameter, operation, bound.values(), given_by, self._seen.told)
                    if found is None and (rows := self._wish.objects(name, parameter)) is not None:
                        found = rows, "prompt", -1
                else:
                    found = self._required(name, parameter, template, scope, together.get(raw), given, is_read)
                    found = self._against.instead(found, name, parameter, operation, together, given)
                if found and found[1] == "response" and operation.method == "POST" and parameters.is_quantity(name):
                    found = None  # what there is of a thing is not what is wanted of it
                if found is None:
                    found = repeats.setting(self._latest, parameter, operation) if done else None
                    found = found or self._akin(name, parameter, scope, bound.values()) or guess(parameter)
                if found is not None and location == "path":
                    scope[template.scopes.get(raw, name.full)] = str(found[0])
            else:
                name = names.name(raw, template.last)
                value = self._wish.optional(name, parameter, operation, self._texts) if speaks or is_said else None
                found = None if value is None else (value, "prompt", -1)
                if found is None and (refers or self._meant):
                    found = self._referred(name, parameter, refers)
                    found = self._against.instead(found, name, parameter, operation, together, ())
                if found is None and done:
                    found = repeats.turned(self._latest, parameter, operation, words)
                    found = found or repeats.setting(self._latest, parameter, operation)
                if found is None and (carried := context.get(raw)) is not None:
                    found = carried if is_read or not self._wrote else None
            value = None if found is None else fit(found[0], parameter, was_sent=found[1] in ("path", "params"))
            if found is not None and value is not None:
                bound.setdefault(raw, (value, found[1], found[2]))  # a path's goes before a body's
            elif needed and raw not in missing:
                missing.append(raw)
        lone = self._lone(operation, template, missing) if missing and self._last < 0 else None
        if lone is not None and all(lone[1] != found[0] for found in bound.values()):
            missing.remove(lone[0])
            bound[lone[0]] = lone[1], "prompt", -1
        missing += once.spare(operation, bound, self._wish.ids) if self._wish.speaks else []
        parts = self._fill(objects, operation, bound, missing, scope, done) if objects else {}
        if done and (raw := repeats.freshen(operation, bound, done, self._writes, self._wish, self._seen)):
            missing = [name for name in missing if not name.startswith(f"{raw}.")] + [raw]
        missing = [raw for raw in missing if raw not in bound]
        lost = self._against.doubted(operation, bound)
        missing = [raw for raw in (*missing, *lost) if raw not in bound]
        origins = {raw: (found[1], found[2]) for raw, found in bound.items()}
        for whole in objects:
            if whole.name in origins and whole.name in parts:
                del origins[whole.name]
                origins |= parts[whole.name]
        guessed = tuple(raw for raw, origin in origins.items() if origin[0] == "default")
        params = {raw: found[0] for raw, found in bound.items()}
        chosen = [raw for raw in choices.lacking(operation, params) if raw not in missing] if operation.choices else ()
        return Binding(params, (*missing, *chosen), guessed, origins, tuple(chosen))

    def _fill(
        self,
        objects: Sequence[Parameter],
        operation: Operation,
        bound: dict[str, Found],
        missing: list[str],
        scope: Mapping[str, str],
        done: Sequence[tuple[int, dict[str, str]]],
    ) -> dict[str, dict[str, tuple[str, int]]]:
        """Adds the objects of a body to what is bound or missing; returns where the parts of each came from."""
        template, parts = names.template(operation.path), {}
        refers = operation.method == "POST" and self._last >= 0
        near = bound.get(template.names[-1]) if template.names and operation.path.endswith("}") else None

        def ask(name: Name, part: Parameter, needed: bool, at: str, among: Operation) -> Found | None:
            found: Found | None = None
            if parameters.is_credential(part, operation.path):
                return self._seen.sent(part)
            if needed:
                given = {arguments[at] for _, arguments in done if at in arguments}
                own = near if name.kind == "id" and name.entity == template.last else None
                found = self._required(name, part, template, scope, own, given, False)
                found = found or (repeats.setting(self._latest, part, operation, at) if done else None)
                found = found or self._akin(name, part, scope, bound.values()) or guess(part)
            else:
                value = self._wish.optional(name, part, among, self._texts) if self._wish.words else None
                found = None if value is None else (value, "prompt", -1)
                if found is None and (refers or self._meant):
                    found = self._referred(name, part, refers)
                if found is None and not self._wrote:
                    found = self._context.kept.get(part.name)
            value = None if found is None else fit(found[0], part, was_sent=found[1] in ("path", "params"))
            return None if found is None or value is None else (value, found[1], found[2])

        taken = {str(found[0]) for found in bound.values() if found[1] == "prompt"}
        for whole, built in Builder(operation, self._wish, ask, taken).build(objects):
            found = None if built is None else (built.value, *built.origin)
            if whole.required and whole.fields and (found is None or found[1] != "prompt"):
                kept = self._wholes.find(whole, operation, bound.values(), {i for i, _ in done}, self._seen.told)
                found, built = (kept, None) if kept is not None else (found, built)
            if found is not None:
                bound[whole.name] = found
                if built is not None:
                    parts[whole.name] = built.origins
                    missing += built.missing
            elif whole.required:
                missing.append(whole.name)
        return parts

    # What a call leaves behind

    def _see(
        self, index: int, call: Call, operation: Operation | None, values: Mapping[str, str], reads_body: bool
    ) -> None:
        template = names.template(operation.path if operation is not None else call.path)
        for prefix, count in template.prefixes if values else ():
            given = tuple(values.get(raw, "") for raw in template.names[:count])
            if all(given):
                self._by_prefix[prefix] = (index, given)
        settings = {p.name for p in operation.parameters if p.enum} if operation is not None and values else ()
        for raw, value in values.items():
            resource = "" if raw in settings else template.resources.get(raw, "")  # {sort} of /likes/{sort} is no like
            self._seen.add(Value(names.name(raw, resource), value, index, "path"))
        if operation is None:
            for entity, value in names.guess_path_values(call.path):
                if not _UNFILLED.search(value):
                    self._seen.add(Value(names.name("id", entity), value, index, "path"))
        self._seen.scopes.append({template.scopes.get(raw, raw): value for raw, value in values.items()})
        if operation is not None:
            arguments = {raw: str(value) for raw, value in (*call.params.items(), *values.items())}
            arguments |= {raw: str(value) for raw, value in answers.leaves(call.params)}
            self._done.setdefault(operation.key, []).append((index, arguments))
            self._latest[operation.key] = (index, call.params)
            for raw, value in call.params.items():
                if is_value(value):
                    self._context.see(raw, value, operation.key, index)
        if call.method not in _READS:
            self._writes.append(index)
        for name, value in answers.inside(call.params, template.last):
            self._seen.add(Value(name, value, index, "params"))
        for raw, value in call.params.items():
            self._wholes.see(raw, value, call.params, index, "params")
            if isinstance(value, str):
                self._texts.add(value)
            elif isinstance(value, dict):
                self._texts.update(text for _, text in answers.leaves({raw: value}) if isinstance(text, str))
            if is_value(value) or (isinstance(value, list) and value and all(map(is_value, value))):
                self._seen.add(Value(names.name(raw, template.last), value, index, "params"))
        if reads_body:
            see = functools.partial(self._wholes.see, call=index, kind="response")
            about = "user" if template.last in names.SELVES else template.last
            for said in answers.read(call.body, about, self._reader_of, self._wish, see):
                self._meant.see(said, index)
                if not said.alias:
                    self._seen.add(Value(said.name, said.value, index, "response"))

    # Where a value comes from

    def _together(self, template: names.Template, operation: Operation) -> dict[str, Found]:
        """Path values that belong together: of the latest call under the same path, or a pair in the prompt."""
        together: dict[str, Found] = {}
        latest = -1
        for prefix, count in template.prefixes:  # longest first, so that one call's longest prefix wins
            hit = self._by_prefix.get(prefix)
            if hit is not None and hit[0] > latest:
                latest = hit[0]
                together = {raw: (v, "path", latest) for raw, v in zip(template.names[:count], hit[1], strict=True)}
        named = [p.name for p in operation.parameters if keynames.takes_name(p)] if self._called.pairs else ()
        if template.pair is not None and (pair := self._called.pair(template, named)) is not None:
            together = {raw: (value, "prompt", -1) for raw, value in zip(template.pair, pair, strict=True)}
        return together

    def _lone(self, operation: Operation, template: names.Template, missing: Collection[str]) -> tuple[str, Any] | None:
        """The only path parameter that lacks a value, if it takes a name, with the only name that is of nothing yet."""
        lacking = [p for p in operation.parameters if p.name in missing and p.location == "path"]
        if len(lacking) != 1 or not keynames.takes_name(lacking[0]):
            return None
        name = names.name(lacking[0].name, template.resources.get(lacking[0].name, ""))
        value = self._called.lone(name, template)
        fitted = None if value is None else fit(value, lacking[0])
        return None if fitted is None else (lacking[0].name, fitted)

    def _required(
        self,
        name: Name,
        parameter: Parameter,
        template: names.Template,
        scope: Mapping[str, str],
        near: Found | None,
        given: Collection[str],
        is_read: bool,
    ) -> Found | None:
        if near is not None or given:
            found = self._sought(name, parameter, scope, near, given, is_read)
        else:  # as many operations ask
            key = (id(parameter), name.full, name.resource, is_read, *scope.items())
            if key not in self._known:
                self._known[key] = parameter, self._sought(name, parameter, scope, None, given, is_read)
            found = self._known[key][1]
        if found is None and self._wish.ids.are_any and parameter.location == "path":
            said = self._wish.ids.keyed(name, parameter.name, template.path, given)
            found = None if said is None else (said, "prompt", -1)
        if found is None and self._last < 0 and parameters.is_key(name, parameter):
            value = self._wish.ids.lone(name, parameter, template, self._is_own)
            return None if value is None else (value, "prompt", -1)  # later calls may need an id that an answer gave
        return found

    def _sought(
        self,
        name: Name,
        parameter: Parameter,
        scope: Mapping[str, str],
        near: Found | None,
        given: Collection[str],
        is_read: bool,
    ) -> Found | None:
        if not is_read and parameter.location == "body" and (text := self._wish.worded(name, parameter)) is not None:
            return text, "prompt", -1
        if (value := self._wish.mention(name, parameter, given)) is not None:
            return self._meant.called(name, value) or (value, "prompt", -1)
        is_paired = near is not None and near[1] == "prompt"
        if not is_paired and (value := self._called.of(name, parameter, given)) is not None:
            return value, "prompt", -1
        if not is_read and (value := self._wish.renewed(name, parameter, self._texts)) is not None:
            return value, "prompt", -1
        if near is not None:
            return near
        is_setting = bool(parameter.enum) or parameter.type == "boolean"
        if is_setting and (value := self._wish.typed(name, parameter, given)) is not None:
            return value, "prompt", -1
        is_key = parameters.is_key(name, parameter)
        may_change = not (is_read or is_key)
        seen = self._newest(name, parameter, scope) if is_key or not name.is_generic else None
        if seen is not None and seen[1] == "response" and is_key and not is_read and parameter.location == "body":
            said = self._wish.ids.otherwise(seen[0], parameter, given)
            if said is not None:
                return said, "prompt", -1
        if seen is not None and not (may_change and gives_way(seen[0], seen[1], parameter, given)):
            is_old = is_key and not is_read and str(seen[0]) in given
            said = self._wish.typed(name, parameter, given, self._seen.others(name)) if is_old else None
            return seen if said is None or str(said) in given else (said, "prompt", -1)
        if (value := self._wish.typed(name, parameter, given, self._seen.others(name))) is not None:
            return value, "prompt", -1
        is_kept = name.is_generic and not is_key and (is_read or name.full not in _TEXTS)
        if (found := seen or (self._seen.sent(parameter) if is_kept else None)) is not None:
            return found
        if is_key and name.entity in names.PEOPLE:
            people = [value for entity in names.PEOPLE for value in self._seen.by_entity.get(entity, ())]
            people = [v for v in people if name.kind != "id" or v.name.kind != "name" or " " not in str(v.value)]
            people.sort(key=lambda value: (value.call, value.name.kind == name.kind), reverse=True)
            if (found := fitting(people, parameter)) is not None:
                return found
        return None

    def _move(
        self, parameter: Parameter, operation: Operation, last: str, scope: Mapping[str, str], bound: dict[str, Found]
    ) -> bool:
        """Whether the prompt says by how much a number or a day changes; it is bound where an answer had it so far.

        What the operation was given once is not changed again.
        """
        change = self._wish.change(parameter, last, operation)
        if change is None:
            return False
        _, sent = self._latest.get(operation.key, (-1, {}))
        found = None if parameter.name in sent else self._newest(names.name(parameter.name, last), parameter, scope)
        moved = changes.moved(found[0], change) if found and found[1] == "response" else None
        value = None if moved is None else fit(moved, parameter)
        if found is not None and value is not None:
            bound[parameter.name] = (value, found[1], found[2])
        return change[2] or value is not None

    def _newest(self, name: Name, parameter: Parameter, scope: Mapping[str, str]) -> Found | None:
        """What went by the name last, and fits; of what answers had the one that the prompt speaks of."""
        found = fitting(self._seen.values(name, scope), parameter)
        if found is not None and found[1] == "response" and self._meant.keys:
            meant = (v for v in self._seen.values(name, scope) if (v.name.entity, v.value) in self._meant.keys)
            return fitting(meant, parameter) or found
        return found

    def _referred(self, name: Name, parameter: Parameter, refers: bool) -> Found | None:
        """The thing of an answer that the prompt means; else what the last call was about, or made.

        The latter where a new thing `refers` to it: `charge` of a refund.
        """
        if name.is_generic or parameter.type not in ("string", "integer", "any", "array"):
            return None
        found = self._meant.thing(name, self._last, self._seen.carried)
        if found is not None and parameters.takes_urn(found[0], parameter):
            return found
        if not refers or name.kind not in ("", "id") or name.is_plural:
            return None
        for value in reversed(self._seen.by_entity.get(name.entity, ())):
            is_it = value.kind == "path" or (value.name.kind == "id" and value.value == self._answered)
            if value.call == self._last and is_it and parameter.type in ("string", "integer", "any"):
                return value.value, value.kind, value.call
        return None


def _is_done(call: Call) -> bool:
    return call.status is None or call.status < 400
