"""The command `privcam`: finds the verb, runs it, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 the verb's own "no", 2 a problem the user can act on, 3 a package is missing,
130 interrupted (the same command resumes). Deliberately not here: what any verb does (`hil/verbs/`).
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from hil.verbs import VERBS, load
from optics_sim.errors import PrivcamError

EXIT_PROBLEM, EXIT_MISSING_PACKAGE, EXIT_INTERRUPTED, EXIT_PIPE = 2, 3, 130, 141

_DISK_SAYS_NO = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_EXTRA_OF = {
    "torch": "design", "safetensors": "design", "tensorboard": "design", "matplotlib": "design", "tqdm": "design",
    "onnxruntime": "attack", "gdstk": "masks", "reportlab": "masks", "h5py": "capture", "fastapi": "agent",
    "starlette": "agent", "uvicorn": "agent", "httpx": "remote",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code of one command; `argv` is the words after `privcam`."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # a reader that has gone is noticed here, not while the interpreter closes
        return code
    except PrivcamError as error:
        return _fail(str(error), EXIT_PROBLEM)
    except ModuleNotFoundError as error:
        return _fail(_missing_package(error), EXIT_MISSING_PACKAGE)
    except KeyboardInterrupt:
        return _fail("interrupted; what is finished is kept, and the same command resumes from there", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as error:
        if error.errno not in _DISK_SAYS_NO:
            raise
        return _fail(f"{error}; what to do: make room, or choose a folder you may write to", EXIT_PROBLEM)


def _dispatch(words: list[str]) -> int:
    if words and words[0] in VERBS:
        arguments = _verb_parser(words[0]).parse_args(words[1:])
        return load(words[0]).run(arguments)
    _parser().parse_args(words or ["--help"])
    return 0


def _verb_parser(name: str) -> argparse.ArgumentParser:
    verb = load(name)
    parser = argparse.ArgumentParser(f"privcam {name}", description=verb.HELP)
    verb.add_arguments(parser)
    return parser


def _parser() -> argparse.ArgumentParser:
    """Returns the parser of everything that is not a verb: --help, --version and misspelt verbs."""
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {name:{width}}{_help(name)}" for name in VERBS)
    parser = argparse.ArgumentParser(
        "privcam", description=f"Cameras that see what happens and cannot see who.\n\nverbs:\n{verbs}",
        epilog="privcam VERB --help says more.", formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"privcam {version()}")
    parser.add_argument("verb", choices=list(VERBS), metavar="VERB", help="one of the verbs above")
    return parser


def _help(name: str) -> str:
    try:
        return load(name).HELP
    except ModuleNotFoundError as error:
        return f"(not usable in this install: {error.name} is missing)"


def version() -> str:
    """Returns the version of privcam that is installed."""
    try:
        return metadata.version("privcam")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _missing_package(error: ModuleNotFoundError) -> str:
    package = (error.name or "").split(".")[0]
    if package not in _EXTRA_OF:
        raise error
    return (f"this verb needs {package}, which is not installed; what to do: pip install 'privcam[{_EXTRA_OF[package]}]' "
            "(`privcam doctor` shows what else this machine lacks)")


def _fail(text: str, code: int) -> int:
    print(f"privcam: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
