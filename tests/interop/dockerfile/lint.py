"""Checks a Dockerfile where there is no Docker.

Every instruction is known, every copied file exists and reaches the builder through .dockerignore,
cargo finds a whole package in what reaches it, and the final stage runs as somebody other than root.
"""

import fnmatch
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dockerfile_parse import DockerfileParser

KNOWN = set(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR COMMENT".split()
)
CARGO_SECONDS = 30


def main(path):
    root = path.resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        copy_context(root, context)
        parser = DockerfileParser(path=folder)
        parser.content = path.read_text()
        faults = list(instruction_faults(parser.structure, context)) + list(package_faults(context))
    for fault in faults:
        print(f"{path}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def copy_context(root, context):
    """What .dockerignore lets through, at top level, as the builder would get it."""
    context.mkdir()
    lines = (root / ".dockerignore").read_text().splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for entry in root.iterdir():
        ignored = False
        for rule in rules:
            if fnmatch.fnmatch(entry.name, rule.lstrip("!")):
                ignored = not rule.startswith("!")
        if ignored:
            continue
        if entry.is_dir():
            shutil.copytree(entry, context / entry.name)
        else:
            shutil.copy(entry, context / entry.name)


def instruction_faults(structure, context):
    stages, user = [], "root"
    for step in structure:
        line, name, value = step["startline"] + 1, step["instruction"], step["value"]
        words = value.split()
        if name not in KNOWN:
            yield f"line {line}: unknown instruction {name}"
        if name == "FROM":
            user = "root"
            stages.append(words[2] if len(words) == 3 and words[1].upper() == "AS" else "")
        if name == "USER":
            user = value
        if name == "COPY":
            yield from copy_faults(line, words, stages, context)
    if len(stages) < 2:
        yield "the binary is not built in a stage of its own"
    if user in ("root", "0"):
        yield "the final stage runs as root"
    if not any(step["instruction"] == "HEALTHCHECK" for step in structure):
        yield "no HEALTHCHECK"


def copy_faults(line, words, stages, context):
    flags = [word for word in words if word.startswith("--")]
    sources = [word for word in words if not word.startswith("--")][:-1]
    origin = next((flag.split("=", 1)[1] for flag in flags if flag.startswith("--from=")), None)
    if origin is not None:
        if origin not in stages[:-1]:
            yield f"line {line}: no earlier stage {origin}"
        # Below the build's folder lie the context and what the build makes of it.
        sources = [
            source.removeprefix("/src/")
            for source in sources
            if source.startswith("/src/") and not source.startswith("/src/target/")
        ]
    for source in sources:
        if not (context / source).exists():
            yield f"line {line}: {source} does not reach the builder"


def package_faults(context):
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    run = subprocess.run(command, cwd=context, capture_output=True, text=True, timeout=CARGO_SECONDS)
    if run.returncode != 0:
        yield f"cargo finds no package in the build context: {run.stderr.strip()}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
