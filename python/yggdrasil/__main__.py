"""`python -m yggdrasil` is the `yggdrasil` command."""

from yggdrasil.server.cli import main

main()
