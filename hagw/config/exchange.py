"""A configuration's rules out to 3GPP's words and in from them (TS 29.512)."""

import json
from typing import Any

from hagw.config.load import load
from hagw.config.rule_plain import plain_rule
from hagw.config.tree import Plain
from hagw.config.write import set_value
from hagw.errors import ConfigError, ConfigIssue, Refused
from hagw.model.intent import CpeIntent
from hagw.policy.exchange import Accesses, NotReducible, accesses, export_rules
from hagw.policy.exchange_read import import_rules


def exported(
    text: str, file: str, three_gpp: str | None = None, non_three_gpp: str | None = None
) -> tuple[dict[str, Any], Accesses]:
    """Return the rules of a configuration's text as a document of 3GPP's, and which line is which access.

    Raises ConfigError with every rule that does not reduce to two accesses, Refused for a HAG's text.
    """
    intent = _cpe(text, file)
    try:
        two = accesses(intent.uplinks, intent.rules, three_gpp, non_three_gpp)
        return export_rules(intent.rules, [uplink.name for uplink in intent.uplinks if uplink.enabled], two), two
    except NotReducible as why:
        raise _error(why, file) from None


def with_imported(
    text: str, file: str, document: object, source: str, three_gpp: str | None = None, non_three_gpp: str | None = None
) -> str:
    """Return a configuration's text with its rules replaced by those of a document of 3GPP's.

    `source` names the document in messages. Raises as `exported`.
    """
    intent = _cpe(text, file)
    try:
        rules = import_rules(document, accesses(intent.uplinks, (), three_gpp, non_three_gpp))
    except NotReducible as why:
        raise _error(why, source) from None
    values: list[Plain] = [plain_rule(rule) for rule in rules]
    return set_value(text, "rules", values, file)


def read_document(text: str, source: str) -> object:
    """Return a JSON document. Raises ConfigError."""
    try:
        return json.loads(text)
    except ValueError as why:
        raise ConfigError((ConfigIssue(source, getattr(why, "lineno", None), "", f"not valid JSON: {why}"),)) from None


def _cpe(text: str, file: str) -> CpeIntent:
    intent = load(text, file)
    if not isinstance(intent, CpeIntent):
        raise Refused("Rules are the CPE's; this is a HAG's configuration.")
    return intent


def _error(why: NotReducible, file: str) -> ConfigError:
    return ConfigError(tuple(ConfigIssue(file, None, each.where, each.why) for each in why.found))
