"""`hagw enrol`: become a customer of a gateway, with the code that its operator gave."""

from typing import Annotated

import typer

from hagw.cli.output import print_document
from hagw.control.places import config_file, state_dir
from hagw.errors import Refused


def enrol(
    gateway: Annotated[str, typer.Argument(metavar="GATEWAY", help="The gateway's name in the configuration.")],
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code, as `hagw customer add` printed it there.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Enrol at a gateway: name, key and the gateway's certificate are kept in the state directory."""
    import asyncio

    from hagw.channel.client import Way
    from hagw.channel.client import enrol as enrol_over
    from hagw.channel.code import parse_code
    from hagw.channel.credentials import credentials_file, encode_credentials, load_credentials
    from hagw.config.load import load_file
    from hagw.control.durable import Disk
    from hagw.model.intent import CpeIntent

    intent = load_file(config_file())
    if not isinstance(intent, CpeIntent):
        raise Refused("This machine is a gateway itself: its configuration says role: hag.")
    wanted = next((each for each in intent.gateways if each.name == gateway), None)
    if wanted is None:
        names = ", ".join(each.name for each in intent.gateways)
        raise Refused(f"The configuration has no gateway {gateway}; there are: {names}.")
    if wanted.key:
        raise Refused(f"The configuration has a key for {gateway}: take `customer` and `key` out of it first.")
    read = parse_code(code)
    ways = [Way("", None, str(address), wanted.control_port) for address in wanted.addresses]
    file = credentials_file(state_dir(), gateway)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".tried").touch()  # before the code is spent
        file.with_suffix(".tried").unlink()
        before = load_credentials(state_dir(), gateway)
        credentials = asyncio.run(enrol_over(ways, read))
        Disk().replace(file, encode_credentials(credentials))
        for other in intent.gateways:  # who knew us by the same device knows us no more, but by this one
            found = None if before is None or other.name == gateway else load_credentials(state_dir(), other.name)
            if before is not None and found is not None and found.device_key == before.device_key:
                Disk().remove(credentials_file(state_dir(), other.name))
    except OSError as why:
        raise Refused(f"{file} cannot be written: {why.strerror}.") from why
    if as_json:
        print_document({"schema": 1, "gateway": gateway, "customer": credentials.customer})
    else:
        print(f"Enrolled at {gateway} as {credentials.customer}.")
