"""The `yggdrasil` command, which `python -m yggdrasil` is, too."""

import sys


def main() -> None:
    """Runs the command, or says what it needs."""
    try:
        from yggdrasil.server.cli import main as run  # noqa: PLC0415 - the client alone is installed without it
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package == "yggdrasil":
            raise
        sys.exit(f"yggdrasil: {package} is not installed; the command needs `pip install 'yggdrasil[server]'`")
    run()


if __name__ == "__main__":
    main()
