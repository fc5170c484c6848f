"""Configuration text to an intent, or everything that is wrong with it at once."""

import types
from pathlib import Path as FilePath
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hagw.config.checks import check_cpe, check_hag
from hagw.config.cpe_sections import SendingSection, TrafficSection
from hagw.config.migrate import MIGRATIONS, Migration, migrate, version_issues
from hagw.config.rule_checks import check_contradictions
from hagw.config.schema import ROLES, CpeFile, HagFile
from hagw.config.suggest import did_you_mean
from hagw.config.tree import Path, Tree, parse
from hagw.errors import ConfigError, ConfigIssue
from hagw.model.intent import (
    CpeIntent,
    CustomerIntent,
    DestinationPolicy,
    GatewayIntent,
    HagIntent,
    Intent,
    RuleIntent,
    SendingIntent,
    TrafficDescriptor,
    UplinkIntent,
)


def load(text: str, filename: str, migrations: tuple[Migration, ...] = MIGRATIONS) -> Intent:
    """Parse, migrate and check a configuration file's text.

    Raises ConfigError with every issue, in the order of lines, which are those of the file also when it was migrated.
    """
    tree = parse(text, filename)
    model = _model(tree, migrations)
    migrate(tree, migrations)
    issues = list((check_cpe if model is CpeFile else check_hag)(tree))
    try:
        file = model.model_validate(tree.root)
    except ValidationError as error:
        issues += [
            _explain(tree, model, details) for details in error.errors(include_url=False) if not _is_echo(details)
        ]
        file = None
    if isinstance(file, CpeFile):
        issues += check_contradictions(tree, (_traffic(rule.traffic) for rule in file.rules))
    if issues or file is None:
        raise ConfigError(tuple(sorted(set(issues), key=lambda issue: (issue.line or 0, issue.path, issue.message))))
    return _cpe(file) if isinstance(file, CpeFile) else _hag(file)


def load_file(path: FilePath) -> Intent:
    """Read and parse a configuration file. Raises ConfigError, also where it cannot be read."""
    return load(read_text(path), str(path))


def read_text(path: FilePath) -> str:
    """Return a configuration file's text, its line ends as they are. Raises ConfigError."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError((ConfigIssue(str(path), None, "", f"not UTF-8 text (byte {error.start})"),)) from None
    except OSError as error:
        raise ConfigError((ConfigIssue(str(path), None, "", f"cannot be read: {error.strerror}"),)) from None


def _model(tree: Tree, migrations: tuple[Migration, ...]) -> type[CpeFile] | type[HagFile]:
    """Choose the schema; without version and role nothing else could be blamed sensibly."""
    issues = list(version_issues(tree, migrations))
    role = tree.root.get("role")
    if "role" not in tree.root:
        issues.append(tree.issue((), "role is missing; write `role: cpe` or `role: hag`"))
    elif not isinstance(role, str) or role not in ROLES:
        issues.append(tree.issue(("role",), f"{role!r} is not a role; allowed: {', '.join(ROLES)}"))
    if issues:
        raise ConfigError(tuple(issues))
    return ROLES[str(role)]


def _explain(tree: Tree, model: type[BaseModel], details: ErrorDetails) -> ConfigIssue:
    """Say a pydantic error in the words of the file."""
    path: Path = details["loc"]
    context = details.get("ctx", {})
    if details["type"] != "missing" and details["input"] is None:
        return tree.issue(path, "has no value; give it one or leave the key out")
    match details["type"]:
        case "extra_forbidden":
            known = list(_section(model, path[:-1]).model_fields)
            hint = did_you_mean(str(path[-1]), known)
            return tree.issue(path, f"unknown key{hint}; allowed: {', '.join(known)}")
        case "missing":
            field = _section(model, path[:-1]).model_fields[str(path[-1])]
            return tree.issue(path, "missing" + (f": {field.description}" if field.description else ""))
        case "value_error":
            return tree.issue(path, str(context["error"]))
        case "literal_error":
            text = str(details["input"])
            allowed = context["expected"].replace("'", "").replace(" or ", ", ")
            return tree.issue(
                path, f"{text!r} is not allowed{did_you_mean(text, allowed.split(', '))}; allowed: {allowed}"
            )
        case "int_parsing" | "int_type" | "int_from_float":
            return tree.issue(path, f"a whole number is wanted, not {_found(details['input'])}")
        case "greater_than_equal" | "less_than_equal":
            bound = "at least " + str(context["ge"]) if "ge" in context else "at most " + str(context["le"])
            return tree.issue(path, f"must be {bound}")
        case "too_short":
            return tree.issue(path, "at least one entry is wanted")
        case "too_long":
            return tree.issue(path, f"at most {context['max_length']} entries are allowed")
        case "tuple_type":
            return tree.issue(path, f"a list is wanted, such as `[{_found(details['input'])}]`")
        case "model_type" | "model_attributes_type":
            return tree.issue(path, f"`key: value` lines are wanted here, not {_found(details['input'])}")
        case "string_pattern_mismatch":
            return tree.issue(path, f"{details['input']!r} is not allowed here")
        case _:
            return tree.issue(path, f"a single value is wanted here, not {_found(details['input'])}")


def _is_echo(details: ErrorDetails) -> bool:
    """Tell whether a list is called too short only because its entries were refused, each with its own error."""
    return details["type"] == "too_short" and bool(details["input"])


def _found(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return str(value)


def _section(model: type[BaseModel], path: Path) -> type[BaseModel]:
    """Return the model that describes the mapping at `path`."""
    for part in path:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part].annotation) or model
    return model


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {tuple, Union, types.UnionType, Annotated}:
        for argument in get_args(annotation):
            found = _model_of(argument)
            if found is not None:
                return found
    return None


def _cpe(file: CpeFile) -> CpeIntent:
    return CpeIntent(
        lan_interfaces=file.lan.interfaces,
        uplinks=tuple(
            UplinkIntent(
                name=up.name,
                kind=up.kind,
                interface=up.interface or "",
                slot=slot,
                enabled=up.enabled,
                metered=up.metered,
                cost=up.cost,
                rate_down_bps=up.rate_down,
                rate_up_bps=up.rate_up,
                gateway4=up.gateway4,
                gateway6=up.gateway6,
                match=None if up.match is None else up.match.to_intent(),
                addressing=up.address,
                addresses=up.addresses,
                mtu=up.mtu,
                probing=up.probe,
                prefix6=up.prefix6,
            )
            for slot, up in enumerate(file.uplinks, start=1)
        ),
        gateways=tuple(
            GatewayIntent(
                gw.name,
                gw.addresses,
                gw.port,
                gw.probe_port,
                gw.customer or "",
                gw.key or b"",
                gw.control_port,
                gw.weight,
            )
            for gw in file.gateways
        ),
        rules=tuple(
            RuleIntent(
                name=rule.name,
                precedence=rule.precedence,
                traffic=_traffic(rule.traffic),
                mode=rule.steering.mode,
                uplinks=rule.steering.uplinks,
                standby=rule.steering.standby,
                weights=rule.steering.weights,
                sending=_sending(rule.steering.sending),
                quic=rule.steering.quic,
            )
            for rule in sorted(file.rules, key=lambda rule: rule.precedence)
        ),
        bypass=file.bypass,
        firewall=file.firewall.to_intent(),
        workers=file.workers,
        congestion_control=file.congestion_control,
        mptcp_scheduler=file.mptcp.scheduler,
        pool=file.pool.to_intent(),
        limits=file.limits.to_intent(),
        portal_check=file.portal_check.to_intent(),
        history=file.history.to_intent(),
        speedtest=file.speedtest.to_intent(),
        data_caps=tuple(cap.to_intent() for cap in file.data_caps),
        web=file.web.to_intent(),
        metrics=file.metrics.to_intent(),
        alerts=file.alerts.to_intent(),
    )


def _sending(section: SendingSection | None) -> SendingIntent | None:
    return None if section is None else SendingIntent(section.mode, section.uplinks)


def _traffic(traffic: TrafficSection) -> TrafficDescriptor:
    return TrafficDescriptor(
        sources=traffic.source,
        destinations=traffic.destination,
        destination_ports=traffic.destination_port,
        macs=traffic.source_mac,
        interfaces=traffic.source_interface,
        protocols=tuple(number for numbers in traffic.protocol for number in numbers),
        dscps=traffic.dscp,
        domains=traffic.domain,
        applications=traffic.application,
        times=traffic.time,
    )


def _hag(file: HagFile) -> HagIntent:
    return HagIntent(
        listen=file.listen.addresses,
        port=file.listen.port,
        probe_port=file.listen.probe_port,
        control_port=file.listen.control_port,
        customers=tuple(
            CustomerIntent(
                customer.name,
                customer.key,
                customer.sources,
                allow=customer.allow,
                deny=customer.deny,
                limits=customer.limits.to_intent(),
            )
            for customer in file.customers
        ),
        destinations=DestinationPolicy(
            allow=file.destinations.allow,
            deny=file.destinations.deny,
            server_mptcp=file.destinations.server_mptcp,
            server_mptcp_prefixes=file.destinations.server_mptcp_prefixes,
        ),
        workers=file.workers,
        congestion_control=file.congestion_control,
        mptcp_scheduler=file.mptcp.scheduler,
        limits=file.limits.to_intent(),
        registry_url=file.registry.url or "",
        egress=file.egress.to_intent(),
        bind_cookies=file.cookies.to_intent(),
        probing=file.listen.probing,
        web=file.web.to_intent(),
        history=file.history.to_intent(),
        metrics=file.metrics.to_intent(),
        alerts=file.alerts.to_intent(),
    )
