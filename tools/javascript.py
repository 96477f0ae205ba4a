"""Check the JavaScript: the format that prettier writes, types as JSDoc names them, no line longer than 120 characters.

    python tools/javascript.py            check
    python tools/javascript.py --write    format first

The tools come from npm, in the versions of tools/package.json, into the folder that CAUSALCNN_NODE names
(~/.cache/causalcnn-ci/node by default), outside the tree. Where there is no Node the JavaScript is not checked; in CI
that is an error.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
NODE = Path(os.environ.get("CAUSALCNN_NODE") or CACHE / "causalcnn-ci" / "node").resolve()
SCRIPTS = ["src/causalcnn_book/**/*.js", "src/causalcnn_book/*.d.ts", "book/assets/*.js", "tools/*.mjs"]
LONGEST = 120


def installed() -> bool:
    """Bring the tools in their versions; say whether they are there."""
    if not shutil.which("node") or not shutil.which("npm"):
        return False
    wanted = (ROOT / "tools" / "package.json").read_text("utf8")
    record = NODE / "package.json"
    packages = [NODE / "node_modules" / name for name in json.loads(wanted)["dependencies"]]
    if record.exists() and record.read_text("utf8") == wanted and all(package.exists() for package in packages):
        return True
    NODE.mkdir(parents=True, exist_ok=True)
    record.write_text(wanted, "utf8")
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    return subprocess.call([shutil.which("npm") or "npm", "install", "--prefix", str(NODE), *quiet]) == 0


def tool(name: str, script: str, *arguments: str) -> int:
    """Run a package's script in the root of the tree; return its exit status."""
    return subprocess.call(["node", str(NODE / "node_modules" / name / script), *arguments], cwd=ROOT)


def types() -> int:
    """Check types; what scripts import from npm is found where it is installed."""
    modules = NODE / "node_modules"
    paths = {"typeRoots": [str(modules / "@types")], "types": ["node"], "paths": {"*": [str(modules / "*")]}}
    config = {"extends": str(ROOT / "jsconfig.json"), "compilerOptions": paths}
    (NODE / "tsconfig.json").write_text(json.dumps(config), "utf8")
    return tool("typescript", "bin/tsc", "--project", str(NODE / "tsconfig.json"))


def long_lines() -> list[str]:
    """Find the lines that no formatter breaks: strings, templates, comments, style sheets."""
    files = [
        path for pattern in [*SCRIPTS, "src/causalcnn_book/*.css", "book/assets/*.css"] for path in ROOT.glob(pattern)
    ]
    return [
        f"{path.relative_to(ROOT)}:{number}: {len(line)} characters; {LONGEST} are allowed"
        for path in sorted(files)
        for number, line in enumerate(path.read_text("utf8").splitlines(), 1)
        if len(line) > LONGEST
    ]


def main() -> int:
    """Check everything; return the exit status."""
    found = long_lines()
    print("\n".join(found), end="\n" if found else "")
    if not installed():
        print("The JavaScript was not checked: that needs Node with npm and, the first time, a network.")
        return 1 if found or os.environ.get("CI") else 0
    if "--write" in sys.argv[1:]:
        tool("prettier", "bin/prettier.cjs", "--log-level=warn", "--write", *SCRIPTS)
    return max(bool(found), tool("prettier", "bin/prettier.cjs", "--log-level=warn", "--check", *SCRIPTS), types())


if __name__ == "__main__":
    sys.exit(main())
