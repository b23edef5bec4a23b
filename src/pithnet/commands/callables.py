"""Functions of the user's own, named on the command line as package.module:function."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pithnet.errors import PithError, nearest

_FORM = "package.module:function"


def call_named(option: str, text: str, error: type[PithError]) -> Any:
    """Imports a function or a class and calls it without arguments.

    The working directory comes first on the path that modules are imported from, and stays there: what the
    function does later may import too. The text must be one that the user typed, or typed when the run began
    that is being continued; no file of somebody else's may name a function.

    Args:
        option: The option that the text was given to, as messages name it, such as "--model".
        text: Package.module:function.
        error: The class to raise.

    Returns:
        What the call returned.

    Raises:
        error: The text has another form, the module cannot be imported or has no such attribute, or the
            attribute is not callable, needs arguments or fails. The message is one line.
    """
    said = f"{option} {text}"
    module, function = _parts(said, text, error)
    found = _attribute(said, _module(said, module, error), function, error)
    if not callable(found):
        raise error(
            f"{said}: {function} is a {type(found).__name__}, which cannot be called; name a function "
            "without arguments that returns it"
        )
    _require_no_arguments(said, function, found, error)
    try:
        return found()
    except (Exception, SystemExit) as e:  # whatever a user's function raises
        raise error(f"{said}: {function}() raised {_told(e)}") from e


def _parts(said: str, text: str, error: type[PithError]) -> tuple[str, str]:
    module, _, function = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        raise error(f"{said} is not of the form {_FORM}, such as nets.small:make")
    return module, function


def _module(said: str, name: str, error: type[PithError]) -> ModuleType:
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # a module that was written a moment ago is found, too
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as e:  # whatever a user's module raises
        raise error(
            f"{said}: the module {name} cannot be imported: {_told(e)}. Modules are looked for in the "
            f"working directory, {here}, and among the installed packages"
        ) from e


def _attribute(said: str, module: ModuleType, name: str, error: type[PithError]) -> Any:
    if not hasattr(module, name):
        known = [n for n, value in vars(module).items() if n[0] != "_" and not isinstance(value, ModuleType)]
        raise error(f"{said}: the module {module.__name__} has no {name!r}.{nearest(name, known)}")
    return getattr(module, name)


def _require_no_arguments(said: str, name: str, found: Callable[..., Any], error: type[PithError]) -> None:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return  # some that are written in C do not say what they take
    flexible = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in flexible]
    if needed:
        raise error(
            f"{said}: {name} needs arguments ({', '.join(needed)}); name a function without any that calls it"
        )


def _told(e: BaseException) -> str:
    """What was raised in a line, with the last place in the user's own files that it came through."""
    lines = str(e).strip().splitlines()
    first = f"{type(e).__name__}: {lines[0]}" if lines else type(e).__name__
    here = Path.cwd()
    places = [
        f" ({Path(frame.filename).relative_to(here)}, line {frame.lineno})"
        for frame in traceback.extract_tb(e.__traceback__)
        if Path(frame.filename).is_relative_to(here) and frame.filename != __file__
    ]
    return first + (places[-1] if places else "")
