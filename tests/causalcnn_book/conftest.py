from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Engine:
    """The shipped ES module of a figure inside an embedded V8: a script, so only the `export` is left out."""

    def __init__(self, name: str) -> None:
        py_mini_racer = pytest.importorskip("py_mini_racer", reason="needs mini-racer (the extra 'dev')")
        pytest.importorskip("anywidget", reason="needs anywidget (the extra 'figures')")
        from causalcnn_book.script import HERE, module

        (path,) = HERE.rglob(f"{name}.js")
        self.v8 = py_mini_racer.MiniRacer()
        self.v8.eval(
            module(path.relative_to(HERE).with_suffix("").as_posix()).replace("export default", "var figure =")
        )

    def __call__(self, expression: str, **names: Any) -> Any:
        """The value of ``expression``, in which each of ``names`` is a constant."""
        given = "".join(f"const {name}={json.dumps(value)};" for name, value in names.items())
        return json.loads(self.v8.eval(f"(()=>{{{given}return JSON.stringify({expression})}})()"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Callable[[str], Engine]]:
    made: dict[str, Engine] = {}

    def start(name: str) -> Engine:
        if name not in made:
            made[name] = Engine(name)
        return made[name]

    yield start
    for one in made.values():
        one.v8.close()
