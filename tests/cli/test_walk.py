"""benchmarks/walk_compress.py counts stays and returns as its definition says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "walk_compress.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("walk_compress", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_calls_in_one_module_are_one_stay_and_coming_back_is_a_return(script: ModuleType) -> None:
    found = script.counted(["a", "a", "b", "b", "b", "a", "c", "a"])
    assert found["path"] == ["a", "b", "a", "c", "a"]
    assert (found["stays"], found["returns"]) == (5, 2)
    assert found["modules"] == {"a": 3, "b": 1, "c": 1}


def test_only_calls_in_the_rooms_are_seen_and_not_those_of_imports(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "walked"
    for name in ("run", "learn"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "cli.py").write_text(
        "def main():\n    from walked.run import inner\n    return [inner.work(n) for n in range(2)]\n"
    )
    (package / "run" / "inner.py").write_text(
        "from walked.learn import far\ndef twice(n):\n    return far.double(n)\nKNOWN = twice(1)\n"
        "def work(n):\n    return twice(n)\n"
    )
    (package / "learn" / "far.py").write_text("def double(n):\n    return 2 * n\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import walked.cli  # type: ignore[import-not-found]

    before = sys.getprofile()
    with script.Walk(package, script.ROOMS) as seen:
        assert walked.cli.main() == [0, 2]
    assert sys.getprofile() is before is None
    called = [(module, code.co_name) for module, code, _ in seen.calls if code.co_name != "<listcomp>"]
    assert called == [("walked.cli", "main"), *2 * [("walked.run.inner", n) for n in ("work", "twice")]]
