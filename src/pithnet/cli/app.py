"""The command line. `--help` imports this module and the settings: torch waits until a command runs."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import version

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnknownCommandError,
    UnusedCliTokensError,
)

from pithnet.cli.files import bench, evaluate, export, inspect, report, unpack
from pithnet.cli.runs import TYPED, compress, demo, lab, plan, train
from pithnet.cli.whole_numbers import with_whole_numbers
from pithnet.errors import PithError, unknown

app = App(
    name="pithnet",
    help="Make trained neural networks small, and prove it. Every command has its own --help.",
    version=lambda: version("pithnet"),
    default_parameter=Parameter(negative=(), converter=with_whole_numbers),
    suppress_keyboard_interrupt=False,  # main says how to resume
)
app["--version"].help = "Show the version of pithnet and exit."
app["--help"].help = "Show this text and exit."
for command in (demo, train, plan, compress, evaluate, inspect, unpack, export, bench, report, lab):
    app.command(command)


def main(tokens: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 0, 2 for what the user can mend, 130 when stopped."""
    typed = sys.argv[1:] if tokens is None else tokens
    TYPED.set(typed)
    try:
        app(typed, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as e:
        return _fail(_usage(e))
    except PithError as e:
        return _fail(str(e))
    except BrokenPipeError:
        sys.stderr.close()  # who read our output has gone; Python would complain at exit
        return 1
    except OSError as e:
        return _fail(f"{e.filename}: {e.strerror}" if e.filename else str(e))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _usage(error: CycloptsError) -> str:
    """What is wrong with the options, in one line, and whose help to read."""
    tokens, argument = error.unused_tokens or [], error.argument
    found = " ".join(str(error).split())
    if isinstance(error, UnknownCommandError):
        found = unknown("command", tokens[0], [n for n in app if n[0] != "-"])
    elif isinstance(error, UnusedCliTokensError):
        found = f"unexpected: {shlex.join(tokens)}."
    elif isinstance(error, MissingArgumentError) and argument is not None and not argument.tokens:
        name = argument.name if argument.index is None else argument.name.lstrip("-").upper()
        found = f"{error.keyword} needs a value." if error.keyword else f"{name} is missing."
    return f"{found} See {' '.join(['pithnet', *(error.command_chain or ())])} --help."


def _fail(message: str) -> int:
    print(f"pithnet: {message}", file=sys.stderr)
    return 2
