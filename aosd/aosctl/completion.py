"""`aosctl completion`: what makes a shell complete commands, options and nodes' names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from aosd.aosctl.call import Call, Command, Failed, pass_call

_VARIABLE = "_AOSCTL_COMPLETE"


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_call
def command(call: Call, shell: str) -> None:
    r"""Print what makes a shell complete aosctl's words.

    \b
      bash:  eval "$(aosctl completion bash)"      in ~/.bashrc
      zsh:   eval "$(aosctl completion zsh)"       in ~/.zshrc, after compinit
      fish:  aosctl completion fish | source       in ~/.config/fish/config.fish
    """
    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise Failed(f"this version of click can't complete for {shell}")
    source = kind(root, {}, "aosctl", _VARIABLE).source()
    if call.json:
        call.write({"shell": shell, "source": source})
    else:
        click.echo(source)
