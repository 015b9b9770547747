"""`aosctl credentials`: the pair that may do everything.

The settings give it, or else it lies on the nodes, where it was put when the cluster was
founded. It is read there with the nodes' own credentials: whoever has none is told nothing,
wherever they connect from.
"""

from __future__ import annotations

import shlex

import click

from aosd.aosctl.call import Call, Command, pass_call
from aosd.aosctl.finding import settings_of
from aosd.model.node import Credentials


@click.command(cls=Command)
@click.option("--env", is_flag=True, help="Write it as commands for a shell to evaluate.")
@pass_call
def command(call: Call, env: bool) -> None:
    """Show the access key and the secret key that may do everything.

    Asks the nodes, not the daemon, and is to be given what the daemon is given: its environment,
    its flags, its file.
    """
    if env and call.json:
        raise click.UsageError("--json and --env exclude each other")
    settings = settings_of(call)
    pair = settings.root_pair
    if pair is None:
        from aosd.aosctl.keys import ask_keys, newest_pair

        pair = newest_pair(ask_keys(settings))
    if call.json:
        call.write({"access_key": pair.access_key, "secret_key": pair.secret_key})
    else:
        call.tell(*shown(pair, for_a_shell=env))


def shown(pair: Credentials, *, for_a_shell: bool) -> tuple[str, str]:
    """Lines for people, or commands for a shell."""
    access_key, secret_key = pair.access_key, pair.secret_key
    if for_a_shell:
        return (
            f"export AWS_ACCESS_KEY_ID={shlex.quote(access_key)}",
            f"export AWS_SECRET_ACCESS_KEY={shlex.quote(secret_key)}",
        )
    return f"access key: {access_key}", f"secret key: {secret_key}"
